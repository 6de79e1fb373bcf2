package journal

import (
	"bytes"
	"encoding/json"
	"regexp"

	"github.com/sandgate/sandgate/internal/redact"
)

// masked stands for a token that was taken out.
const masked = redact.Masked

// Mask takes well-known tokens out of a text, see [redact.Mask].
func Mask(s string) string { return redact.Mask(s) }

// MaskJSON does what Mask does to every string and key of a JSON document. It
// returns raw itself if there is nothing to do. What is not JSON and has
// something to mask comes back as a JSON string that says so.
func MaskJSON(raw []byte) json.RawMessage {
	if bytes.IndexByte(raw, '\\') < 0 && !redact.Suspicious(raw) { // nor is anything in it
		return raw
	}
	var out []byte // nil while nothing was masked
	done := 0      // bytes of raw that are in out
	for i := 0; i < len(raw); {
		start := bytes.IndexByte(raw[i:], '"')
		if start < 0 {
			break
		}
		start += i
		end, escaped := endOfString(raw, start)
		i = end
		text, changed := maskLiteral(raw[start:end], escaped)
		if changed {
			out = append(append(out, raw[done:start]...), text...)
			done = end
		}
	}
	if out == nil {
		return raw
	}
	out = append(out, raw[done:]...)
	if !json.Valid(out) {
		return json.RawMessage(`"[not JSON]"`)
	}
	return out
}

// endOfString returns where the string ends that begins at the quote at start,
// and whether it has escapes. A string without an end goes to the end of raw.
func endOfString(raw []byte, start int) (end int, escaped bool) {
	for i := start + 1; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			return i + 1, escaped
		}
	}
	return len(raw), escaped
}

// maskLiteral masks one string of a document, which it gets and returns with
// quotes and escapes.
func maskLiteral(literal []byte, escaped bool) ([]byte, bool) {
	if !escaped && !redact.Suspicious(literal) {
		return nil, false
	}
	var text string
	if err := json.Unmarshal(literal, &text); err != nil {
		return []byte(`"[not JSON]`), true // without its end, so that the whole is found to be no JSON
	}
	clean := Mask(text)
	if clean == text {
		return nil, false
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(clean); err != nil {
		return []byte(`"[not JSON]"`), true
	}
	return bytes.TrimSpace(buf.Bytes()), true
}

var secretName = regexp.MustCompile(`(?i)(pass(word|wd|phrase)?|secret|token|api_?key|access_?key|private_?key|credential|auth|cookie|session)`)

// MaskEnv returns the environment as it may be written down: the values of
// variables whose name speaks of a secret are masked whole, the others as with Mask.
func MaskEnv(env map[string]string) map[string]string {
	if len(env) == 0 {
		return nil
	}
	out := make(map[string]string, len(env))
	for k, v := range env {
		if secretName.MatchString(k) && v != "" {
			out[k] = masked
			continue
		}
		out[k] = Mask(v)
	}
	return out
}
