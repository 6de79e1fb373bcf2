package gate_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
)

func mustCatalog(t *testing.T) *catalog.Catalog {
	t.Helper()
	c, err := catalog.New(catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBadInputNamesTheField(t *testing.T) {
	size := func(n int64) *int64 { return &n }
	tests := []struct {
		name string
		edit func(*gate.Call)
		want string
	}{
		{"call id", func(c *gate.Call) { c.ID = "a b" }, "call_id is not valid: want 1 to 128 characters of [A-Za-z0-9._-]"},
		{"call id is a path", func(c *gate.Call) { c.ID = ".." }, "call_id is not valid"},
		{"call id too long", func(c *gate.Call) { c.ID = strings.Repeat("x", 129) }, "call_id is not valid"},
		{"session id", func(c *gate.Call) { c.SessionID = "../x" }, `session id "../x": want only [A-Za-z0-9._-]`},
		{"argument type", func(c *gate.Call) { c.Args = json.RawMessage(`{"command":1}`) }, `argument "command" is a number: want a string`},
		{"no arguments", func(c *gate.Call) { c.Args = nil }, `argument "command" is missing: want a string`},
		{"number without a canonical form", func(c *gate.Call) { c.Args = json.RawMessage(`{"command":"x","timeout_ms":1e999}`) }, "is a number that is too large or too long"},
		{"cwd NUL", func(c *gate.Call) { c.Cwd = "a\x00" }, "cwd is too long or not plain text"},
		{"cwd UTF-8", func(c *gate.Call) { c.Cwd = "\xff" }, "cwd is too long or not plain text"},
		{"cwd dots", func(c *gate.Call) { c.Cwd = "a/../../etc" }, `cwd has ".." in it`},
		{"cwd length", func(c *gate.Call) { c.Cwd = strings.Repeat("x", 5000) }, "cwd is too long"},
		{"env name", func(c *gate.Call) { c.Env = map[string]string{"A B": "1"} }, `env["A B"] is no name of a variable`},
		{"env function", func(c *gate.Call) { c.Env = map[string]string{"BASH_FUNC_ls%%": "() { :; }"} }, `is no name of a variable`},
		{"env reserved", func(c *gate.Call) { c.Env = map[string]string{"SANDGATE_X": "1"} }, `env["SANDGATE_X"] is reserved`},
		{"env NUL", func(c *gate.Call) { c.Env = map[string]string{"A": "\x00"} }, `env["A"] has a value with a NUL byte`},
		{"env size", func(c *gate.Call) { c.Env = map[string]string{"A": strings.Repeat("x", 200000)} }, `env is 200003 bytes: want at most 131072`},
		{"timeout", func(c *gate.Call) { c.Timeout = -time.Second }, "timeout is negative"},
		{"stdin of a tool that takes none", func(c *gate.Call) {
			c.Tool, c.Args, c.Stdin = "read_file", json.RawMessage(`{"path":"a"}`), strings.NewReader("x")
		}, "stdin is given, but the tool read_file takes none"},
		{"stdin digest", func(c *gate.Call) { c.Stdin, c.StdinDigest = strings.NewReader("x"), "md5:1" }, "stdin digest is not valid"},
		{"stdin missing", func(c *gate.Call) { c.StdinBytes = size(3) }, "stdin is announced but missing"},
		{"agent", func(c *gate.Call) { c.Agent.Name = strings.Repeat("x", 300) }, "agent.name is too long"},
		{"workspace", func(c *gate.Call) { c.WorkspaceDir = "relative" }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, t.TempDir(), nil, nil)
			call := bash("c1", "true")
			tt.edit(&call)
			_, err := b.Execute(t.Context(), call, nil)
			if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an invalid argument with %q", err, tt.want)
			}
			if _, eerr := b.Evaluate(t.Context(), call, true); !errdefs.IsInvalidArgument(eerr) {
				t.Errorf("Evaluate: got %v", eerr)
			}
			if len(b.runtime.Calls()) != 0 || len(b.records(t)) != 0 {
				t.Error("something ran or was recorded")
			}
		})
	}
}

func TestUnknownToolAndCaller(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, nil)
	call := bash("c1", "true")
	call.Tool = "Bash"
	var ue *catalog.UnknownToolError
	if _, err := b.Execute(t.Context(), call, nil); !errors.As(err, &ue) || !errdefs.IsNotFound(err) {
		t.Errorf("unknown tool: got %v", err)
	}
	call = bash("c1", "true")
	call.Caller = gate.Caller{}
	if _, err := b.Execute(t.Context(), call, nil); !errdefs.IsUnauthorized(err) {
		t.Errorf("no caller: got %v", err)
	}
}

func TestProfiles(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, nil)
	use := func(caller gate.Caller, profile, session string) (string, error) {
		call := bash("", "true")
		call.Caller, call.Profile, call.SessionID = caller, profile, session
		_, err := b.Execute(t.Context(), call, nil)
		if err != nil {
			return "", err
		}
		return b.policy.last(t).Session.Profile, nil
	}
	if got, err := use(alice, "", ""); err != nil || got != "workspace" {
		t.Errorf("default: got %q %v", got, err)
	}
	if got, err := use(alice, "readonly", "s"); err != nil || got != "readonly" {
		t.Errorf("chosen: got %q %v", got, err)
	}
	if got, err := use(alice, "", "s"); err != nil || got != "readonly" {
		t.Errorf("the session's: got %q %v", got, err)
	}
	if _, err := use(alice, "workspace", "s"); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("another than the session's: got %v", err)
	}
	if _, err := use(alice, "open", ""); !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), "readonly, workspace") {
		t.Errorf("not the caller's: got %v", err)
	}
	if _, err := use(bob, "workspace", ""); !errdefs.IsPermissionDenied(err) {
		t.Errorf("another caller's: got %v", err)
	}
	if _, err := b.ListTools(t.Context(), bob, "open"); !errdefs.IsPermissionDenied(err) {
		t.Errorf("list with a profile that is not the caller's: got %v", err)
	}
}

func TestWorkspaceDir(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	project, secret := filepath.Join(root, "ok", "project"), filepath.Join(root, "secret")
	for _, d := range []string{project, secret} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc", filepath.Join(project, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(root, "ok", "escape")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "ok", "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	permit := func(_ gate.Caller, dir string) error {
		if strings.HasPrefix(dir, filepath.Join(root, "ok")+"/") {
			return nil
		}
		return errors.New("not below a permitted directory")
	}
	b := newBench(t, t.TempDir(), nil, func(c *gate.Config) { c.WorkspaceDirs = permit })
	bind := func(dir string) error {
		call := gate.Call{Caller: alice, Tool: "read_file", Args: json.RawMessage(`{"path":"link/passwd"}`), WorkspaceDir: dir}
		_, err := b.Execute(t.Context(), call, nil)
		return err
	}
	if err := bind(project + "/."); err != nil {
		t.Fatal(err)
	}
	got := b.runtime.Calls()[0].Workspace
	if got.HostDir != project || !got.KeepOwner {
		t.Errorf("workspace: %+v", got)
	}
	f := b.policy.last(t).Call.Files[0]
	if f.InWorkspace != nil && *f.InWorkspace {
		t.Errorf("facts of a path through a symlink to /etc: %+v", f)
	}
	for dir, is := range map[string]func(error) bool{
		secret:                             errdefs.IsPermissionDenied,
		project + "/../../secret":          errdefs.IsPermissionDenied,
		filepath.Join(root, "ok/escape"):   errdefs.IsPermissionDenied,
		filepath.Join(root, "ok/missing"):  errdefs.IsFailedPrecondition,
		filepath.Join(root, "nosuch", "x"): errdefs.IsPermissionDenied,
		file:                               errdefs.IsFailedPrecondition,
	} {
		if err := bind(dir); !is(err) {
			t.Errorf("%s: got %v", dir, err)
		}
	}
	none := newBench(t, t.TempDir(), nil, nil)
	call := bash("", "true")
	call.WorkspaceDir = project
	if _, err := none.Execute(t.Context(), call, nil); !errdefs.IsPermissionDenied(err) {
		t.Errorf("nothing is permitted: got %v", err)
	}
}

func TestEvaluateHasNoEffects(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, nil)
	b.policy.decide = func(policy.Input) policy.Decision { return policy.Decision{Outcome: policy.Ask} }
	call := bash("c1", "rm x")
	call.SessionID = "s"
	ev, err := b.Evaluate(t.Context(), call, true)
	if err != nil {
		t.Fatal(err)
	}
	var in policy.Input
	if err := json.Unmarshal(ev.Input, &in); err != nil {
		t.Fatal(err)
	}
	if ev.CallID != "c1" || ev.Digest == "" || ev.Decision.Outcome != policy.Ask || in.Call.Digest != ev.Digest || in.Call.Shell == nil || in.Session.ID != "s" {
		t.Errorf("evaluation: %+v", ev)
	}
	if _, ok, err := b.sessions.Peek(alice.ID, "s"); ok || err != nil {
		t.Errorf("it made the session: %t %v", ok, err)
	}
	if _, err := b.GetCall(t.Context(), alice, "c1"); !errdefs.IsNotFound(err) {
		t.Errorf("it took the id: %v", err)
	}
	if len(b.runtime.Calls()) != 0 || len(b.records(t)) != 0 {
		t.Error("something ran or was recorded")
	}
}

func TestListToolsShowsWhatPolicyShows(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, nil)
	b.policy.hide = []string{"bash", "python", "write_file", "edit_file"}
	tools, err := b.ListTools(t.Context(), alice, "")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range tools {
		names = append(names, tool.Name)
	}
	if got := strings.Join(names, " "); got != "glob grep list_dir read_file" {
		t.Errorf("got %s", got)
	}
}

func TestCloseSession(t *testing.T) {
	dir := t.TempDir()
	b := newBench(t, dir, nil, nil)
	call := bash("c1", "true")
	call.SessionID = "s"
	b.do(t, call)
	key := b.runtime.Calls()[0].ReuseKey
	if err := b.CloseSession(t.Context(), bob, bob.ID, "s", false); !errdefs.IsNotFound(err) {
		t.Errorf("another caller's: got %v", err)
	}
	if err := b.CloseSession(t.Context(), alice, alice.ID, "s", false); err != nil {
		t.Fatal(err)
	}
	ended := b.runtime.Ended()
	if len(ended) == 0 || ended[len(ended)-1] != key {
		t.Errorf("ended cells of %v, want %s", ended, key)
	}
	if _, err := os.Stat(b.sessions.WorkspaceDir(alice.ID, "s")); !os.IsNotExist(err) {
		t.Errorf("workspace: %v", err)
	}
	if err := b.journal.Close(); err != nil {
		t.Fatal(err)
	}
	// The end outlives a restart.
	if _, ok, err := newBench(t, dir, nil, nil).sessions.Peek(alice.ID, "s"); ok || !errdefs.IsFailedPrecondition(err) {
		t.Errorf("after a restart the session is back: %t %v", ok, err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := gate.New(t.Context(), gate.Config{}); err == nil || !strings.Contains(err.Error(), "Catalog") {
		t.Errorf("empty config: got %v", err)
	}
	b := newBench(t, t.TempDir(), nil, nil)
	cfg := gate.Config{
		Catalog: mustCatalog(t), Policy: b.policy, Runtime: b.runtime, Journal: b.broken, Sessions: b.sessions,
		Profiles: func(gate.Caller) gate.Profiles { return gate.Profiles{} }, Defaults: defaults(),
	}
	cfg.Defaults.Pids = 0
	if _, err := gate.New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "pids") {
		t.Errorf("a limit left open: got %v", err)
	}
}

func FuzzEvaluate(f *testing.F) {
	f.Add("bash", []byte(`{"command":"ls"}`), "sub", "A", "1", "s")
	f.Add("read_file", []byte(`{"path":"../x"}`), "/etc", "SANDGATE_A", "\x00", "..")
	f.Add("grep", []byte(`{"pattern":"x","path":"/\ud83d\ude00"}`), "a/./b", "", "", "")
	b := newBench(f, f.TempDir(), nil, nil)
	f.Fuzz(func(t *testing.T, tool string, args []byte, cwd, name, value, sessionID string) {
		call := gate.Call{Caller: alice, Tool: tool, Args: args, Cwd: cwd, SessionID: sessionID, Env: map[string]string{name: value}}
		ev, err := b.Evaluate(t.Context(), call, true)
		if err != nil {
			if !errdefs.IsInvalidArgument(err) && !errdefs.IsNotFound(err) {
				t.Fatalf("got %v, want a class that blames the input", err)
			}
			return
		}
		if !json.Valid(ev.Input) || !strings.HasPrefix(ev.Digest, "sha256:") {
			t.Fatalf("evaluation: %+v", ev)
		}
	})
}
