package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// parse reads the JSON text and refuses what a decoder forgives and what means
// different things to different readers: duplicate keys, NUL characters, lone
// surrogates, deep nesting, more than one document. Numbers stay as they are
// written (json.Number).
func (t Tool) parse(args []byte) (any, error) {
	if lone, at := loneSurrogate(args); lone {
		return nil, t.wrong("", fmt.Sprintf("hold half a surrogate pair at byte %d", at), `a whole pair such as "\ud83d\ude00"`)
	}
	w := tokenWalk{dec: json.NewDecoder(bytes.NewReader(args)), tool: t}
	w.dec.UseNumber()
	doc, err := w.value("", 0)
	if err != nil {
		if ae, ok := errors.AsType[*ArgumentError](err); ok {
			return nil, ae
		}
		return nil, t.wrong("", "are not JSON ("+strings.TrimPrefix(err.Error(), "json: ")+")", "one JSON object")
	}
	if _, err := w.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, t.wrong("", "go on after the end of the object", "one JSON object")
	}
	return doc, nil
}

type tokenWalk struct {
	dec  *json.Decoder
	tool Tool
}

func (w *tokenWalk) value(field string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, w.tool.wrong(field, fmt.Sprintf("is nested deeper than %d", maxDepth), "")
	}
	tok, err := w.dec.Token()
	if err != nil {
		return nil, err
	}
	switch tok := tok.(type) {
	case string:
		return tok, w.text(field, tok)
	case json.Number:
		return tok, w.number(field, tok.String())
	case json.Delim:
		if tok == '[' {
			return w.array(field, depth)
		}
		return w.object(field, depth)
	}
	return tok, nil // true, false or null
}

func (w *tokenWalk) array(field string, depth int) (any, error) {
	list := []any{}
	for i := 0; w.dec.More(); i++ {
		item, err := w.value(field+"["+strconv.Itoa(i)+"]", depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	_, err := w.dec.Token()
	return list, err
}

func (w *tokenWalk) object(field string, depth int) (any, error) {
	doc := map[string]any{}
	for w.dec.More() {
		tok, err := w.dec.Token()
		if err != nil {
			return nil, err
		}
		key, ok := tok.(string)
		if !ok {
			return nil, fmt.Errorf("key is %v", tok)
		}
		name := joinField(field, key)
		if err := w.text(name, key); err != nil {
			return nil, err
		}
		if _, twice := doc[key]; twice {
			return nil, w.tool.wrong(name, "is given twice", "each argument once")
		}
		if doc[key], err = w.value(name, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := w.dec.Token()
	return doc, err
}

// number refuses what is no finite double before anybody computes with it: a
// few bytes such as 1e999999999 would otherwise become a number of megabytes.
func (w *tokenWalk) number(field, text string) error {
	_, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	_, err := strconv.ParseFloat(text, 64)
	if err != nil || len(text) > 64 || len(strings.TrimLeft(exponent, "+-0")) > 3 {
		return w.tool.wrong(field, "is a number that is too large or too long", "a finite double")
	}
	return nil
}

func (w *tokenWalk) text(field, s string) error {
	if strings.ContainsRune(s, 0) {
		return w.tool.wrong(strings.ReplaceAll(field, "\x00", `\0`), "contains a NUL character", "text without NUL")
	}
	return nil
}

// loneSurrogate finds a \uD8xx escape without its other half. Go's decoder turns
// it into U+FFFD, other decoders keep it: the policy and the tool could read
// different texts.
func loneSurrogate(b []byte) (bool, int) {
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		hi, ok := escaped(b[i:])
		switch {
		case !ok:
			i++ // a two-byte escape such as \\ or \"
		case hi >= 0xd800 && hi < 0xdc00:
			lo, ok := escaped(b[i+6:])
			if !ok || lo < 0xdc00 || lo > 0xdfff {
				return true, i
			}
			i += 11
		case hi >= 0xdc00 && hi <= 0xdfff:
			return true, i
		default:
			i += 5
		}
	}
	return false, 0
}

func escaped(b []byte) (uint64, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(b[2:6]), 16, 32)
	return v, err == nil
}

func fieldName(location []string) string {
	field := ""
	for _, part := range location {
		if _, err := strconv.Atoi(part); err == nil && field != "" {
			field += "[" + part + "]"
			continue
		}
		field = joinField(field, part)
	}
	return field
}

func joinField(parent, name string) string {
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "") + "…"
	}
	if parent == "" {
		return name
	}
	return parent + "." + name
}

func jsonType(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case []any:
		return "an array"
	}
	return "an object"
}

func article(s string) string {
	switch {
	case s == "" || strings.HasPrefix(s, "null"):
		return s
	case strings.ContainsRune("aeiou", rune(s[0])):
		return "an " + s
	}
	return "a " + s
}

func brief(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return "a value"
	}
	if len(raw) > 80 {
		return strings.ToValidUTF8(string(raw[:80]), "") + "…"
	}
	return string(raw)
}

func briefList(vs []any) string {
	texts := make([]string, 0, len(vs))
	for _, v := range vs {
		texts = append(texts, brief(v))
	}
	return strings.Join(texts, ", ")
}
