package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/loader"

	"github.com/sandgate/sandgate/policies"
)

// TestPlainOPALoadsTheLibrary loads it as `opa test policies/` does: with every
// JSON and YAML file as data.
func TestPlainOPALoadsTheLibrary(t *testing.T) {
	loaded, err := loader.NewFileLoader().Filtered([]string{"../../policies"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded.Modules) < 50 || loaded.Documents["sandgate"] == nil {
		t.Errorf("got %d modules and %d documents: is this the library?", len(loaded.Modules), len(loaded.Documents))
	}
}

func TestLibraryIsFormatted(t *testing.T) {
	err := fs.WalkDir(policies.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".rego") {
			return err
		}
		src, err := policies.FS.ReadFile(name)
		if err != nil {
			return err
		}
		want, err := format.SourceWithOpts(name, src, format.Opts{RegoVersion: ast.RegoV1})
		if err != nil {
			return err
		}
		if !bytes.Equal(src, want) {
			t.Errorf("%s is not formatted: run opa fmt -w policies", name)
		}
		for i, line := range strings.Split(string(src), "\n") {
			if len([]rune(line)) > 160 {
				t.Errorf("%s:%d has %d characters", name, i+1, len(line))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestEveryRuleIDIsDocumented: a rule id that a decision can name has METADATA
// with a title, a description and that very id, so that explain can tell it.
func TestEveryRuleIDIsDocumented(t *testing.T) {
	src, err := readSources("")
	if err != nil {
		t.Fatal(err)
	}
	mods, err := src.modules(capabilities(), false)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for file, mod := range mods {
		set, errs := ast.BuildAnnotationSet([]*ast.Module{mod})
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		for _, rule := range mod.Rules {
			for _, id := range literalRuleIDs(rule) {
				seen++
				if rule.Default {
					continue
				}
				documented := slices.ContainsFunc(set.GetRuleScope(rule), func(a *ast.Annotations) bool {
					return a.Custom["rule"] == id && a.Title != "" && a.Description != ""
				})
				if !documented {
					t.Errorf("%s:%d: the rule id %q has no METADATA with title, description and custom.rule: %s",
						file, rule.Location.Row, id, id)
				}
			}
		}
	}
	if seen < 15 {
		t.Errorf("found %d rule ids: are they looked for in the right place?", seen)
	}
}

func TestNoRuleReadsItsMetadata(t *testing.T) {
	// rego.metadata.rule() made every deny vanish in a prototype.
	src, err := readSources("")
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range src.files {
		if strings.Contains(string(body), "rego.metadata.") {
			t.Errorf("%s reads rego.metadata: write the rule id literally into the object", name)
		}
	}
}

// schemaDoc is as much of JSON Schema as the schemas of the library use.
type schemaDoc struct {
	Type                 string                `json:"type"`
	Ref                  string                `json:"$ref"`
	Properties           map[string]*schemaDoc `json:"properties"`
	Items                *schemaDoc            `json:"items"`
	Required             []string              `json:"required"`
	AdditionalProperties json.RawMessage       `json:"additionalProperties"`
	Definitions          map[string]*schemaDoc `json:"definitions"`
}

func readSchema(t *testing.T, name string) *schemaDoc {
	t.Helper()
	raw, err := policies.FS.ReadFile("schemas/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var doc schemaDoc
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	return &doc
}

// TestSchemasDescribeTheDocuments compares the schemas that authors are checked
// against with the Go types that are really encoded and decoded.
func TestSchemasDescribeTheDocuments(t *testing.T) {
	for name, typ := range map[string]reflect.Type{
		"input.json": reflect.TypeFor[Input](), "decision/decision.json": reflect.TypeFor[answer](),
	} {
		root := readSchema(t, name)
		for _, difference := range compareSchema(root, root, typ, strings.TrimSuffix(path.Base(name), ".json")) {
			t.Error(difference)
		}
	}
}

func compareSchema(root, doc *schemaDoc, typ reflect.Type, at string) []string {
	if doc.Ref != "" {
		doc = root.Definitions[strings.TrimPrefix(doc.Ref, "#/definitions/")]
	}
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	want := map[reflect.Kind]string{
		reflect.String: "string", reflect.Bool: "boolean", reflect.Int: "integer", reflect.Int64: "integer",
		reflect.Slice: "array", reflect.Map: "object", reflect.Struct: "object",
	}[typ.Kind()]
	if typ == reflect.TypeFor[json.RawMessage]() {
		want = "object"
	}
	if doc.Type != want {
		return []string{fmt.Sprintf("%s: the schema says %q, %s is %q", at, doc.Type, typ, want)}
	}
	switch {
	case typ == reflect.TypeFor[json.RawMessage]():
		return nil
	case typ.Kind() == reflect.Slice:
		return compareSchema(root, doc.Items, typ.Elem(), at+"[]")
	case typ.Kind() == reflect.Struct:
		return compareFields(root, doc, typ, at)
	}
	return nil
}

func compareFields(root, doc *schemaDoc, typ reflect.Type, at string) []string {
	var differences []string
	if string(doc.AdditionalProperties) != "false" {
		differences = append(differences, at+": additionalProperties is not false, so that a misspelt key passes")
	}
	fields := map[string]reflect.StructField{}
	for _, f := range reflect.VisibleFields(typ) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && !f.Anonymous && name != "-" {
			fields[name] = f
		}
	}
	if at == "input.sandbox.ceiling" {
		delete(fields, "mounts") // a ceiling has none: its workspace bounds them
	}
	for name, f := range fields {
		property := doc.Properties[name]
		if property == nil {
			differences = append(differences, fmt.Sprintf("%s.%s is not in the schema", at, name))
			continue
		}
		optional := strings.Contains(f.Tag.Get("json"), ",omit")
		if optional && slices.Contains(doc.Required, name) {
			differences = append(differences, fmt.Sprintf("%s.%s can be absent, but the schema requires it", at, name))
		}
		differences = append(differences, compareSchema(root, property, f.Type, at+"."+name)...)
	}
	for name := range doc.Properties {
		if _, known := fields[name]; !known {
			differences = append(differences, fmt.Sprintf("%s.%s is in the schema, but %s has no such field", at, name, typ))
		}
	}
	return differences
}

func TestExplainTellsWhereARuleIsWritten(t *testing.T) {
	e := newEngine(t, Config{})
	raw, err := json.Marshal(e.Complete(input("locked")))
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.Explain(t.Context(), raw, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Rules) != 1 || got.Rules[0].Rule != "locked" || got.Rules[0].Effect != "deny" || len(got.Rules[0].Sources) != 1 {
		t.Fatalf("got %+v", got.Rules)
	}
	source := got.Rules[0].Sources[0]
	if source.File != "policies/sandgate/profiles/locked.rego" || source.Line < 5 || source.Description != "Every call is denied." ||
		source.Package != "data.sandgate.profiles.locked" {
		t.Errorf("source: got %+v", source)
	}
	if !strings.Contains(got.Trace, "data.sandgate.profiles.locked.deny") {
		t.Errorf("trace: got %.300s", got.Trace)
	}
	if got, err := e.Explain(t.Context(), []byte("[]"), false); err == nil {
		t.Errorf("of a list: got %+v, want an error", got)
	}
}

func TestExplainTellsWarningsAndShadow(t *testing.T) {
	e := engineOf(t, `{"outcome": "allow", "reasons": [{"rule": "r", "message": "m"}],
		"warnings": [{"rule": "w", "message": "m"}], "shadow": [{"rule": "s", "would": "deny"}]}`, Config{})
	raw, err := json.Marshal(e.Complete(input("test")))
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.Explain(t.Context(), raw, false)
	if err != nil {
		t.Fatal(err)
	}
	effects := map[string]string{}
	for _, r := range got.Rules {
		effects[r.Rule] = r.Effect
		if len(r.Sources) != 1 || r.Sources[0].Line == 0 {
			t.Errorf("%s: got sources %+v", r.Rule, r.Sources)
		}
	}
	if want := map[string]string{"r": "allow", "w": "warn", "s": "shadow"}; !reflect.DeepEqual(effects, want) {
		t.Errorf("got %v, want %v", effects, want)
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, profile := range []string{"open", "locked"} {
		b.Run(profile, func(b *testing.B) {
			e, err := New(b.Context(), Config{})
			if err != nil {
				b.Fatal(err)
			}
			in := e.Complete(input(profile))
			b.ReportAllocs()
			for b.Loop() {
				if d := e.Decide(b.Context(), in); strings.HasPrefix(d.Reasons[0].Rule, reservedPrefix) {
					b.Fatal(d)
				}
			}
		})
	}
}
