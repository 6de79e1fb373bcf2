package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gowebpki/jcs"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

const (
	// maxArgvItemBytes is the kernel's MAX_ARG_STRLEN less the closing NUL.
	maxArgvItemBytes = 128<<10 - 1
	maxDepth         = 64
)

// Validate checks the arguments of a call: one JSON object in valid UTF-8
// without duplicate keys or NUL characters, within the size bound, as the
// schema wants it, and fit for an argv. The error is an *ArgumentError about
// the first thing that is wrong.
func (t Tool) Validate(args json.RawMessage) error {
	doc, err := t.decode(args)
	if err != nil {
		return err
	}
	if err := t.schema.Validate(doc); err != nil {
		return t.schemaError(err)
	}
	_, err = t.argv(doc)
	return err
}

// Accept validates the arguments and returns them in their canonical form (RFC
// 8785) with the program that this form means. It is Validate, the canonical
// form and Command of it, without doing the same work twice.
func (t Tool) Accept(args json.RawMessage) (json.RawMessage, Command, error) {
	doc, err := t.decode(args)
	if err != nil {
		return nil, Command{}, err
	}
	if err := t.schema.Validate(doc); err != nil {
		return nil, Command{}, t.schemaError(err)
	}
	canonical, err := jcs.Transform(args)
	if err != nil {
		return nil, Command{}, t.wrong("", fmt.Sprintf("have no canonical form (%v)", err), "plain JSON")
	}
	if !canonicalNumbers(doc) { // they become others, so that all is to be checked again
		if _, err := t.argv(doc); err != nil {
			return nil, Command{}, err
		}
		cmd, err := t.Command(canonical)
		return canonical, cmd, err
	}
	cmd, err := t.command(doc, canonical)
	return canonical, cmd, err
}

// canonicalNumbers tells whether all numbers below v are sure to be written as
// they would be in canonical form: integers that a double holds exactly.
func canonicalNumbers(v any) bool {
	switch v := v.(type) {
	case json.Number:
		n, err := strconv.ParseInt(string(v), 10, 64)
		return err == nil && n > -1<<53 && n < 1<<53 && strconv.FormatInt(n, 10) == string(v)
	case []any:
		return !slices.ContainsFunc(v, func(item any) bool { return !canonicalNumbers(item) })
	case map[string]any:
		for _, item := range v {
			if !canonicalNumbers(item) {
				return false
			}
		}
	}
	return true
}

// Command returns the program that the arguments mean. It validates first: the
// errors are those of Validate.
func (t Tool) Command(args json.RawMessage) (Command, error) {
	doc, err := t.decode(args)
	if err != nil {
		return Command{}, err
	}
	if err := t.schema.Validate(doc); err != nil {
		return Command{}, t.schemaError(err)
	}
	return t.command(doc, args)
}

// command makes the program of a valid document, which args are the text of.
func (t Tool) command(doc map[string]any, args json.RawMessage) (Command, error) {
	argv, err := t.argv(doc)
	if err != nil {
		return Command{}, err
	}
	cmd := Command{Argv: argv, Env: slices.Clone(t.exec.Env)}
	if t.exec.Stdin == stdinArgs {
		cmd.Stdin, cmd.StdinIsArgs = slices.Clone(args), true
	}
	if v, ok := doc[t.exec.TimeoutArg]; ok && t.exec.TimeoutArg != "" {
		ms, ok := wholeNumber(v)
		if !ok || ms < 1 {
			return Command{}, t.wrong(t.exec.TimeoutArg, "is no whole number of milliseconds", "at least 1")
		}
		cmd.Timeout = time.Duration(min(ms, int64(time.Hour/time.Millisecond)*24*365)) * time.Millisecond
	}
	return cmd, nil
}

// decode checks the JSON text itself and returns the object.
func (t Tool) decode(args json.RawMessage) (map[string]any, error) {
	if len(args) > t.maxArgs {
		return nil, t.wrong("", fmt.Sprintf("are %d bytes", len(args)), fmt.Sprintf("at most %d", t.maxArgs))
	}
	if len(bytes.TrimSpace(args)) == 0 {
		return nil, t.wrong("", "are empty", "a JSON object, {} for none")
	}
	if !utf8.Valid(args) {
		return nil, t.wrong("", fmt.Sprintf("are not valid UTF-8 at byte %d", invalidAt(args)), "a JSON object in UTF-8")
	}
	v, err := t.parse(args)
	if err != nil {
		return nil, err
	}
	doc, ok := v.(map[string]any)
	if !ok {
		return nil, t.wrong("", "are "+jsonType(v), "a JSON object")
	}
	return doc, nil
}

func invalidAt(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(b)
}

// argv puts the arguments into the declared items.
func (t Tool) argv(doc map[string]any) ([]string, error) {
	var out []string
	for _, item := range t.exec.Argv {
		if item.Arg == "" {
			out = append(out, item.Literal)
			continue
		}
		v, ok := doc[item.Arg]
		if !ok || v == nil {
			continue
		}
		if b, isBool := v.(bool); isBool && item.Flag != "" {
			if b {
				out = append(out, item.Flag)
			}
			continue
		}
		values := []any{v}
		if list, isList := v.([]any); isList && item.Spread {
			values = list
		}
		for i, one := range values {
			text, ok := scalarText(one)
			if !ok {
				return nil, t.wrong(item.Arg, "is "+jsonType(one), "a string, number or boolean")
			}
			if len(text) > maxArgvItemBytes {
				return nil, t.wrong(item.Arg, fmt.Sprintf("is %d bytes", len(text)),
					fmt.Sprintf("at most %d: put long content into a file first and name the file", maxArgvItemBytes))
			}
			if item.Flag != "" && i == 0 {
				out = append(out, item.Flag)
			}
			out = append(out, text)
		}
	}
	return out, nil
}

func scalarText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

func wholeNumber(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	if i, err := n.Int64(); err == nil {
		return i, true
	}
	r, ok := new(big.Rat).SetString(n.String())
	if !ok || !r.IsInt() || !r.Num().IsInt64() {
		return 0, false
	}
	return r.Num().Int64(), true
}

func (t Tool) wrong(field, problem, want string) *ArgumentError {
	return &ArgumentError{Tool: t.Name, Field: field, Problem: problem, Want: want}
}

// schemaError turns the validator's tree into its first leaf, by field.
func (t Tool) schemaError(err error) error {
	var ve *jsonschema.ValidationError
	if !errors.As(err, &ve) {
		return t.wrong("", "cannot be checked ("+err.Error()+")", "")
	}
	var leaves []*jsonschema.ValidationError
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(e.Causes) == 0 {
			leaves = append(leaves, e)
			return
		}
		for _, c := range e.Causes {
			walk(c)
		}
	}
	walk(ve)
	found := make([]*ArgumentError, 0, len(leaves))
	for _, l := range leaves {
		found = append(found, t.leafError(l))
	}
	slices.SortStableFunc(found, func(a, b *ArgumentError) int { return strings.Compare(a.Error(), b.Error()) })
	return found[0]
}

func (t Tool) leafError(e *jsonschema.ValidationError) *ArgumentError {
	field := fieldName(e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		missing := slices.Clone(k.Missing)
		slices.Sort(missing)
		return t.wrong(joinField(field, missing[0]), "is missing", t.wantOf(missing[0], field))
	case *kind.AdditionalProperties:
		extra := slices.Clone(k.Properties)
		slices.Sort(extra)
		return t.wrong(joinField(field, extra[0]), "is unknown", "only "+strings.Join(t.properties(), ", "))
	case *kind.Type:
		return t.wrong(field, "is "+article(k.Got), article(strings.Join(k.Want, " or ")))
	case *kind.Enum:
		return t.wrong(field, fmt.Sprintf("is %s", brief(k.Got)), "one of "+briefList(k.Want))
	case *kind.MaxLength:
		return t.wrong(field, fmt.Sprintf("has %d characters", k.Got), fmt.Sprintf("at most %d", k.Want))
	case *kind.MinLength:
		return t.wrong(field, fmt.Sprintf("has %d characters", k.Got), fmt.Sprintf("at least %d", k.Want))
	}
	return t.wrong(field, "is not valid ("+e.ErrorKind.LocalizedString(message.NewPrinter(language.English))+")", "")
}

// properties are the names that the schema takes, sorted.
func (t Tool) properties() []string {
	names := make([]string, 0, len(t.schema.Properties))
	for n := range t.schema.Properties {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (t Tool) wantOf(name, parent string) string {
	if p := t.schema.Properties[name]; parent == "" && p != nil && p.Types != nil {
		return article(strings.Join(p.Types.ToStrings(), " or "))
	}
	return ""
}
