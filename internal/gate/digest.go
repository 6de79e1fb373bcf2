package gate

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/gowebpki/jcs"
)

// canonical returns the JSON text in the form of RFC 8785 (JCS).
func canonical(raw json.RawMessage) (json.RawMessage, error) {
	return jcs.Transform(raw)
}

// digestOf names what would run: "sha256:" over the canonical JSON of tool,
// arguments, working directory, environment, stdin, workspace and session.
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
	env := call.Env
	if env == nil {
		env = map[string]string{}
	}
	raw, err := json.Marshal(struct {
		Version   int               `json:"v"`
		Tool      string            `json:"tool"`
		Args      json.RawMessage   `json:"args"`
		Cwd       string            `json:"cwd"`
		Env       map[string]string `json:"env"`
		Stdin     string            `json:"stdin"`
		Workspace string            `json:"workspace"`
		Session   string            `json:"session"`
	}{1, call.Tool, call.Args, call.Cwd, env, stdin, call.WorkspaceDir, call.SessionID})
	if err != nil {
		return "", fmt.Errorf("digest of the call: %w", err)
	}
	if raw, err = jcs.Transform(raw); err != nil {
		return "", fmt.Errorf("digest of the call: %w", err)
	}
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// opaqueKey names something of a caller without telling what: the parts cannot
// be put together to mean another list of parts.
func opaqueKey(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s/", len(p), p) // a hash never fails
	}
	return hex.EncodeToString(h.Sum(nil))[:32]
}
