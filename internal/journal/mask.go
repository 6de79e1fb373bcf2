package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strings"
)

// masked stands for a token that was taken out.
const masked = "[masked]"

// tokenShapes are the shapes of well-known secrets. The first group, if there
// is one, is kept: it says what the secret was for.
var tokenShapes = []*regexp.Regexp{
	regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|$)`),
	regexp.MustCompile(`\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b`),
	regexp.MustCompile(`(?i)(aws_?secret_?access_?key["'\s:=]{1,5})[A-Za-z0-9/+=]{40}`),
	regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_[A-Za-z0-9_]{20,255})`),
	regexp.MustCompile(`\bglpat-[A-Za-z0-9_-]{16,}`),
	regexp.MustCompile(`\bxox[a-z]-[A-Za-z0-9-]{8,}`),
	regexp.MustCompile(`\bsk-[A-Za-z0-9_-]{16,}`),
	regexp.MustCompile(`\b[sr]k_(?:live|test)_[A-Za-z0-9]{10,}`),
	regexp.MustCompile(`\bAIza[A-Za-z0-9_-]{35}`),
	regexp.MustCompile(`\b(?:npm|hf|pypi)[_-][A-Za-z0-9_-]{30,}`),
	regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*`),
	regexp.MustCompile(`(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/-]{16,}=*`),
	regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@]+:)[^\s/@]+(?:@)`),
}

// hints are texts of which one is in everything that a shape can match, in
// lower case. They make the common case cheap.
var hints = [][]byte{
	[]byte("private key"), []byte("akia"), []byte("asia"), []byte("abia"), []byte("acca"), []byte("secret"), []byte("gh"), []byte("github_"),
	[]byte("glpat-"), []byte("xox"), []byte("sk-"), []byte("k_live"), []byte("k_test"), []byte("aiza"), []byte("npm"), []byte("hf"),
	[]byte("pypi"), []byte("eyj"), []byte("bearer"), []byte("basic"), []byte("://"),
}

// Mask takes well-known tokens out of a text: cloud and forge keys, private
// keys in PEM, bearer tokens, JWTs, passwords in URLs.
func Mask(s string) string {
	for i, re := range tokenShapes {
		with := masked
		if re.NumSubexp() > 0 {
			with = "${1}" + masked
		}
		if i == len(tokenShapes)-1 {
			with += "@"
		}
		s = re.ReplaceAllString(s, with)
	}
	return s
}

// MaskJSON does what Mask does to every string and key of a JSON document. It
// returns raw itself if there is nothing to do. What is not JSON comes back as a
// JSON string that says so.
func MaskJSON(raw []byte) json.RawMessage {
	lower := bytes.ToLower(raw)
	suspicious := bytes.Contains(lower, []byte(`\u00`))
	for i := 0; i < len(hints) && !suspicious; i++ {
		suspicious = bytes.Contains(lower, hints[i])
	}
	if !suspicious {
		return raw
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return json.RawMessage(`"[not JSON]"`)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(maskValue(v)); err != nil {
		return json.RawMessage(`"[not JSON]"`)
	}
	return bytes.TrimSpace(buf.Bytes())
}

func maskValue(v any) any {
	switch v := v.(type) {
	case string:
		return Mask(v)
	case []any:
		for i := range v {
			v[i] = maskValue(v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[Mask(k)] = maskValue(e)
		}
		return out
	}
	return v
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

// Shape is what the audit level "shape" keeps of a call's arguments: the type
// and size of each, no content.
func Shape(args json.RawMessage) map[string]any {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(args, &doc); err != nil {
		return map[string]any{"": map[string]any{"type": "invalid", "bytes": len(args)}}
	}
	out := make(map[string]any, len(doc))
	for k, v := range doc {
		out[Mask(k)] = map[string]any{"type": typeOf(v), "bytes": len(v)}
	}
	return out
}

func typeOf(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "invalid"
	}
	switch raw[0] {
	case '"':
		return "string"
	case '{':
		return "object"
	case '[':
		return "array"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "number"
}

// Bound returns raw if it has at most limit bytes, and otherwise a JSON object
// with its size, its SHA-256 and its masked beginning. The beginning is masked
// here, before it is cut, so that half a token cannot remain.
func Bound(raw json.RawMessage, limit int) json.RawMessage {
	if len(raw) <= limit {
		return raw
	}
	sum := sha256.Sum256(raw)
	// A window larger than what is kept: a token that it cuts in two is dropped.
	head := Mask(string(raw[:min(len(raw), 2*headBytes)]))
	head = head[:min(headBytes, max(0, len(head)-windowSlack))]
	head = strings.ToValidUTF8(head, "")
	out, err := json.Marshal(map[string]any{
		"truncated": true, "bytes": len(raw), "sha256": hex.EncodeToString(sum[:]), "head": head,
	})
	if err != nil {
		return json.RawMessage(`{"truncated":true}`)
	}
	return out
}

// headBytes is how much Bound keeps of what is too large.
const (
	headBytes   = 2 << 10
	windowSlack = 512
)
