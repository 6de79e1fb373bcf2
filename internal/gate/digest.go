package gate

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/containerd/errdefs"
)

// digestOf names what would run: "sha256:" over the canonical JSON (RFC 8785) of
// tool, arguments, working directory, environment, stdin, whether there is a terminal,
// workspace and session.
// Args must be canonical. The rest is put together in the order of that form.
//
// Left out are the caller (ids are each caller's own), agent and profile (they
// bear on the decision, not on what runs; the decision records them) and the
// timeout (a call that is sent again with another one is still the same call).
// A stdin that is streamed is not known beforehand; its digest is "streamed",
// so that such a call is never the same as one whose stdin is known.
func digestOf(call *Call) (string, error) {
	stdin := call.StdinDigest
	if call.Stdin != nil && stdin == "" {
		stdin = "streamed"
	}
	raw := make([]byte, 0, 256+len(call.Args))
	raw = append(append(raw, `{"args":`...), call.Args...) // in canonical form already
	raw = appendString(append(raw, `,"cwd":`...), call.Cwd)
	raw = append(raw, `,"env":{`...)
	for i, name := range sortedKeys(call.Env) {
		if i > 0 {
			raw = append(raw, ',')
		}
		raw = appendString(append(appendString(raw, name), ':'), call.Env[name])
	}
	raw = appendString(append(raw, `},"session":`...), call.SessionID)
	raw = appendString(append(raw, `,"stdin":`...), stdin)
	if call.Terminal != nil {
		raw = append(raw, `,"terminal":true`...)
	}
	raw = appendString(append(raw, `,"tool":`...), call.Tool)
	raw = appendString(append(raw, `,"v":1,"workspace":`...), call.WorkspaceDir)
	raw = append(raw, '}')
	if !utf8.Valid(raw) {
		return "", fmt.Errorf("digest of the call: want UTF-8 text: %w", errdefs.ErrInvalidArgument)
	}
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// appendString appends s as RFC 8785 writes a string.
func appendString(b []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		case c == '\b':
			b = append(b, `\b`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\f':
			b = append(b, `\f`...)
		case c == '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(b, '"')
}

// opaqueKey names something of a caller without telling what: the parts cannot
// be put together to mean another list of parts.
func opaqueKey(parts ...string) string {
	raw := make([]byte, 0, 128)
	for _, p := range parts {
		raw = append(strconv.AppendInt(raw, int64(len(p)), 10), ':')
		raw = append(append(raw, p...), '/')
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16])
}
