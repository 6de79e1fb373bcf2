package logging

import (
	"encoding/json"
	"slices"

	"go.uber.org/zap/zapcore"
)

// maxLoggedNames bounds how many names a redacting type writes.
const maxLoggedNames = 64

// Env is the environment of a call; the log gets the names and never a value.
type Env map[string]string

// MarshalLogArray implements zapcore.ArrayMarshaler.
func (e Env) MarshalLogArray(enc zapcore.ArrayEncoder) error {
	for i, name := range sortedKeys(e) {
		if i == maxLoggedNames {
			enc.AppendString("…")
			break
		}
		enc.AppendString(name)
	}
	return nil
}

// Args are the arguments of a call as JSON text; the log gets their names and
// sizes in bytes and never a value. What is no JSON object is told by its size.
type Args json.RawMessage

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (a Args) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(a, &object); err != nil {
		enc.AddInt("invalid_bytes", len(a))
		return nil
	}
	for i, name := range sortedKeys(object) {
		if i == maxLoggedNames {
			enc.AddInt("more", len(object)-i)
			break
		}
		enc.AddInt(name+"_bytes", len(object[name]))
	}
	return nil
}

// Secret is text that must not be logged; the log gets whether it is set.
type Secret string

// String never tells the text, so that %v and %s are safe too.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[redacted]"
}

// GoString makes %#v safe.
func (s Secret) GoString() string { return s.String() }

// MarshalText makes JSON and zap's reflection safe.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
