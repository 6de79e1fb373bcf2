package gate

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gowebpki/jcs"
)

// digestByLibrary is what digestOf is defined as.
func digestByLibrary(t *testing.T, call *Call) string {
	t.Helper()
	stdin, env := call.StdinDigest, call.Env
	if call.Stdin != nil && stdin == "" {
		stdin = "streamed"
	}
	if env == nil {
		env = map[string]string{}
	}
	whole := map[string]any{
		"v": 1, "tool": call.Tool, "args": call.Args, "cwd": call.Cwd, "env": env, "stdin": stdin,
		"workspace": call.WorkspaceDir, "session": call.SessionID,
	}
	if call.Terminal != nil {
		whole["terminal"] = true
	}
	raw, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = jcs.Transform(raw); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func FuzzDigestIsTheCanonicalOne(f *testing.F) {
	f.Add("bash", `ls "a\b"`, "/workspace/ä", "A", "x\ty", "s", "/home/me")
	f.Add("t", "\x00\x1f\u007f\u2028<>&\U0001f600", "", "_Z9", "\r\n\b\f", "", "")
	f.Fuzz(func(t *testing.T, tool, arg, cwd, name, value, session, workspace string) {
		for _, s := range []string{tool, arg, cwd, name, value, session, workspace} {
			if !utf8.ValidString(s) {
				t.Skip("never gets so far")
			}
		}
		// JCS sorts by UTF-16 units; names of variables are ASCII by then.
		if strings.ContainsFunc(name, func(r rune) bool { return r > 127 }) {
			t.Skip("no name of a variable")
		}
		args, err := json.Marshal(map[string]string{"a": arg})
		if err != nil {
			t.Fatal(err)
		}
		if args, err = jcs.Transform(args); err != nil {
			t.Skip("has no canonical form")
		}
		call := &Call{Tool: tool, Args: args, Cwd: cwd, Env: map[string]string{name: value, "B": arg}, SessionID: session, WorkspaceDir: workspace}
		if len(value)%2 == 1 {
			call.Terminal = &Terminal{Term: value}
		}
		got, err := digestOf(call)
		if err != nil {
			t.Fatal(err)
		}
		if want := digestByLibrary(t, call); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}
