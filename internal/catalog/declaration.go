package catalog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"
)

// declaration is the file format. The documentation of the fields is at Tool.
type declaration struct {
	Name        string          `json:"name"`
	Title       string          `json:"title"`
	Description string          `json:"description"`
	InputSchema json.RawMessage `json:"input_schema"`
	Annotations Annotations     `json:"annotations"`
	Effects     []string        `json:"effects"`
	Risk        string          `json:"risk"`
	Image       string          `json:"image"`
	Exec        execution       `json:"exec"`
	Defaults    Defaults        `json:"defaults"`
	Facts       Facts           `json:"facts"`
}

// execution says how a call becomes a program.
type execution struct {
	// Argv are the items; the first must be a literal.
	Argv []argvItem `json:"argv"`
	// Env are fixed variables, "NAME=value".
	Env []string `json:"env"`
	// Stdin is "call" (the call's own stdin, the default) or "args" (the
	// arguments as one JSON document).
	Stdin string `json:"stdin"`
	// TimeoutArg names an integer argument in milliseconds that shortens the deadline.
	TimeoutArg string `json:"timeout_arg"`
}

const (
	stdinCall = "call"
	stdinArgs = "args"
)

// argvItem is a literal (a YAML string), an argument ({arg: NAME}) or the path
// of sandgate-init ({init: true}).
type argvItem struct {
	Literal string
	// Arg is the argument whose value becomes one item. Absent: the item (and
	// its flag) is left out. An array becomes one item per element, if Spread.
	Arg string
	// Flag is put before the value; of a boolean argument it is the whole item
	// and appears only for true.
	Flag   string
	Spread bool
	Init   bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *argvItem) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '"' {
		return json.Unmarshal(raw, &a.Literal)
	}
	var ref struct {
		Arg    string `json:"arg"`
		Flag   string `json:"flag"`
		Spread bool   `json:"spread"`
		Init   bool   `json:"init"`
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&ref); err != nil {
		return fmt.Errorf("argv item: want a string, {arg: NAME} or {init: true}: %w", err)
	}
	if (ref.Arg == "") == !ref.Init {
		return errors.New("argv item: want exactly one of arg and init")
	}
	a.Arg, a.Flag, a.Spread, a.Init = ref.Arg, ref.Flag, ref.Spread, ref.Init
	return nil
}

var (
	nameForm   = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)
	effectForm = regexp.MustCompile(`^[a-z][a-z0-9_.:-]{0,63}$`)
	envForm    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=[^\x00]*$`)
	risks      = []string{"low", "medium", "high", "critical"}
	pathOps    = []PathOp{PathRead, PathWrite, PathList, PathDelete}
)

func parseDeclaration(raw []byte, source, initPath string) (Tool, error) {
	var d declaration
	if err := yaml.UnmarshalStrict(raw, &d); err != nil {
		return Tool{}, fmt.Errorf("decode: %w", err)
	}
	schema, props, err := compileSchema(d.Name, d.InputSchema)
	if err != nil {
		return Tool{}, fmt.Errorf("input_schema: %w", err)
	}
	if err := d.check(props); err != nil {
		return Tool{}, err
	}
	for i := range d.Exec.Argv {
		if d.Exec.Argv[i].Init {
			d.Exec.Argv[i] = argvItem{Literal: initPath}
		}
	}
	digest, err := d.digest(source)
	if err != nil {
		return Tool{}, err
	}
	return Tool{
		Name: d.Name, Digest: digest, Title: d.Title, Description: strings.TrimSpace(d.Description), InputSchema: d.InputSchema,
		Annotations: d.Annotations, Effects: d.Effects, Risk: d.Risk, Source: source, Image: d.Image,
		Defaults: d.Defaults, Facts: d.Facts, exec: d.Exec, schema: schema, maxArgs: DefaultMaxArgsBytes,
	}, nil
}

// digest names all that the declaration says, in whatever form it was written.
func (d *declaration) digest(source string) (string, error) {
	raw, err := json.Marshal(struct {
		Source      string
		Declaration *declaration
	}{source, d})
	if err != nil {
		return "", fmt.Errorf("encode: %w", err)
	}
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

func (d *declaration) check(props []string) error {
	if !nameForm.MatchString(d.Name) {
		return fmt.Errorf("name %q: want %s", d.Name, nameForm)
	}
	if strings.TrimSpace(d.Description) == "" {
		return errors.New("description is missing: want a text that tells a model when and how to use the tool")
	}
	if len(d.Effects) == 0 {
		return errors.New(`effects are missing: want at least one, such as "read" or "execute"`)
	}
	for _, e := range d.Effects {
		if !effectForm.MatchString(e) {
			return fmt.Errorf("effect %q: want %s", e, effectForm)
		}
	}
	if !slices.Contains(risks, d.Risk) {
		return fmt.Errorf("risk %q: want one of %s", d.Risk, strings.Join(risks, ", "))
	}
	if err := d.Defaults.check(); err != nil {
		return err
	}
	if err := d.Facts.check(props); err != nil {
		return err
	}
	return d.Exec.check(props)
}

func (e *execution) check(props []string) error {
	if e.Stdin == "" {
		e.Stdin = stdinCall
	}
	if e.Stdin != stdinCall && e.Stdin != stdinArgs {
		return fmt.Errorf("exec.stdin %q: want %q or %q", e.Stdin, stdinCall, stdinArgs)
	}
	if len(e.Argv) == 0 {
		return errors.New("exec.argv is missing: want a program and its arguments")
	}
	if first := e.Argv[0]; first.Arg != "" || (first.Literal == "" && !first.Init) {
		return errors.New("exec.argv[0]: want a literal: the model must not choose the program")
	}
	for i, item := range e.Argv {
		if item.Arg != "" && !slices.Contains(props, item.Arg) {
			return fmt.Errorf("exec.argv[%d]: input_schema has no property %q", i, item.Arg)
		}
		if strings.ContainsRune(item.Literal+item.Flag, 0) {
			return fmt.Errorf("exec.argv[%d] contains a NUL byte", i)
		}
	}
	for i, v := range e.Env {
		if !envForm.MatchString(v) {
			return fmt.Errorf("exec.env[%d]: want NAME=value", i)
		}
	}
	if e.TimeoutArg != "" && !slices.Contains(props, e.TimeoutArg) {
		return fmt.Errorf("exec.timeout_arg: input_schema has no property %q", e.TimeoutArg)
	}
	return nil
}

func (f *Facts) check(props []string) error {
	for _, a := range []struct{ key, arg string }{{"shell", f.ShellArg}, {"python", f.PythonArg}} {
		if a.arg != "" && !slices.Contains(props, a.arg) {
			return fmt.Errorf("facts.%s: input_schema has no property %q", a.key, a.arg)
		}
	}
	for i, p := range f.Paths {
		if !slices.Contains(props, p.Arg) {
			return fmt.Errorf("facts.paths[%d]: input_schema has no property %q", i, p.Arg)
		}
		if !slices.Contains(pathOps, p.Op) {
			return fmt.Errorf("facts.paths[%d].op %q: want read, write, list or delete", i, p.Op)
		}
	}
	return nil
}

func (d *Defaults) check() error {
	for _, f := range []struct {
		name string
		v    int64
	}{
		{"wall_time_ms", d.WallTimeMs},
		{"cpu_millis", d.CPUMillis},
		{"memory_bytes", d.MemoryBytes},
		{"pids", d.Pids},
		{"output_bytes", d.OutputBytes},
		{"disk_bytes", d.DiskBytes},
		{"file_bytes", d.FileBytes},
		{"open_files", d.OpenFiles},
	} {
		if f.v < 0 {
			return fmt.Errorf("defaults.%s is %d: want 0 (the daemon's default) or more", f.name, f.v)
		}
	}
	return nil
}

// compileSchema compiles the schema and returns it with the names of its properties.
func compileSchema(name string, raw json.RawMessage) (*jsonschema.Schema, []string, error) {
	if len(raw) == 0 {
		return nil, nil, errors.New("is missing: want a JSON Schema of type object")
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, nil, err
	}
	obj, ok := doc.(map[string]any)
	if !ok || obj["type"] != "object" {
		return nil, nil, errors.New(`want an object schema ("type": "object")`)
	}
	if obj["additionalProperties"] != false {
		return nil, nil, errors.New(`want "additionalProperties": false, so that a misspelt argument is refused`)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	url := "sandgate:///" + name
	if err := c.AddResource(url, doc); err != nil {
		return nil, nil, err
	}
	schema, err := c.Compile(url)
	if err != nil {
		return nil, nil, err
	}
	props, _ := obj["properties"].(map[string]any)
	var names []string
	for n := range props {
		names = append(names, n)
	}
	slices.Sort(names)
	return schema, names, nil
}

// noLoader refuses references to other documents: a declaration is whole, and
// nothing is read from disk or network because of it.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("reference to %s: a schema cannot refer to other documents", url)
}
