package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
)

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
