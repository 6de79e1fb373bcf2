package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sandgate/sandgate/policies"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// transactionPolicy has a profile whose calls are transactions, and one whose are not.
const transactionPolicy = `package sandgate.profiles.careful

allow contains {"rule": "all", "message": "what is changed is decided on"}

obligations := {"sandbox": {"workspace": "transaction"}}

effects_bounds := {"max_file_bytes": 1000000}

deny_effects contains {"rule": "no-secrets", "message": sprintf("%q looks like a secret", [change.path])} if {
	some change in input.changes
	endswith(change.path, ".pem")
}
`

// startCareful starts a daemon with transactionPolicy, and names a directory that may
// be bound.
func startCareful(t testing.TB) (d *daemontest.Daemon, bound string) {
	t.Helper()
	daemontest.RequireRoot(t)
	dir := filepath.Join(t.TempDir(), "policy")
	if err := os.CopyFS(dir, policies.FS); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sandgate", "careful.rego"), []byte(transactionPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	bound = t.TempDir()
	if err := os.Chmod(bound, 0o755); err != nil {
		t.Fatal(err)
	}
	return daemontest.Start(t, "pool: {idle: 1}\npolicy: {dir: "+dir+"}\n"+
		"callers: [{match: {uid: 0}, profiles: [careful, open], workspace_dirs: ["+bound+"], admin: true}]\n"), bound
}

// TestTransactionalCalls runs them through a daemon: what policy allows is in the
// workspace, what it does not leaves the workspace as it was, byte for byte.
func TestTransactionalCalls(t *testing.T) {
	d, bound := startCareful(t)
	session, directory := daemontest.Session("tx"), daemontest.WorkspaceDir(bound)
	for _, where := range []struct {
		name, looking string // the profile of a session is one and the same
		in            daemontest.Option
	}{{"session", "careful", session}, {"directory", "open", directory}} {
		look := func() string {
			t.Helper()
			r := d.Execute(t, daemontest.Bash("find . -type f | sort | xargs -r sha256sum; ls -lAR --full-time", daemontest.Profile(where.looking), where.in))
			return daemontest.Text(r.GetStdout())
		}
		for _, tt := range []struct {
			name, command    string
			state            sandgatev1.EffectsState
			rule             string
			created, deleted []string
			code             int32
		}{
			{name: "commit", command: "mkdir -p a; echo 1 >a/one; echo 2 >two", state: sandgatev1.EffectsState_EFFECTS_STATE_COMMITTED, rule: "effects-allowed", created: []string{"a", "a/one", "two"}},
			{name: "commit again", command: "echo more >>a/one; rm two; mv a b", state: sandgatev1.EffectsState_EFFECTS_STATE_COMMITTED, rule: "effects-allowed", created: []string{"b", "b/one"}, deleted: []string{"a", "a/one", "two"}},
			{name: "nothing", command: "cat b/one", state: sandgatev1.EffectsState_EFFECTS_STATE_NONE},
			{name: "hook", command: "mkdir -p .git/hooks; echo x >.git/hooks/pre-commit; echo y >ok", state: sandgatev1.EffectsState_EFFECTS_STATE_DROPPED, rule: "effects-protected-path", created: []string{".git", ".git/hooks", ".git/hooks/pre-commit", "ok"}},
			{name: "own rule", command: "rm -r b; echo k >k.pem", state: sandgatev1.EffectsState_EFFECTS_STATE_DROPPED, rule: "no-secrets", created: []string{"k.pem"}, deleted: []string{"b", "b/one"}},
			{name: "own bound", command: "head -c 1000001 /dev/zero >b/one", state: sandgatev1.EffectsState_EFFECTS_STATE_DROPPED, rule: "effects-file-size"},
			{name: "link outside", command: "ln -s /etc/passwd p", state: sandgatev1.EffectsState_EFFECTS_STATE_DROPPED, rule: "effects-link-outside", created: []string{"p"}},
			{name: "fifo", command: "mkfifo f", state: sandgatev1.EffectsState_EFFECTS_STATE_DROPPED, rule: "daemon:effects-unfit", created: []string{"f"}},
			{name: "failed", command: "echo half >half; exit 3", state: sandgatev1.EffectsState_EFFECTS_STATE_DROPPED, rule: "effects-failed-program", created: []string{"half"}, code: 3},
		} {
			t.Run(where.name+"/"+tt.name, func(t *testing.T) {
				before := look()
				r := d.Execute(t, daemontest.Bash(tt.command, daemontest.Profile("careful"), where.in))
				e := r.GetEffects()
				if r.GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED || r.GetExitCode() != tt.code || e.GetState() != tt.state {
					t.Fatalf("got %s %d, effects %v: %s %s", r.GetOutcome(), r.GetExitCode(), e, r.GetMessage(), daemontest.Text(r.GetStderr()))
				}
				if tt.rule != "" && !slices.ContainsFunc(e.GetReasons(), func(r *sandgatev1.Reason) bool { return r.GetRule() == tt.rule }) {
					t.Errorf("got %v, want the rule %s", e.GetReasons(), tt.rule)
				}
				if !slices.Equal(r.GetChanges().GetCreated(), tt.created) || !slices.Equal(r.GetChanges().GetDeleted(), tt.deleted) {
					t.Errorf("got the changes %v", r.GetChanges())
				}
				dropped := tt.state == sandgatev1.EffectsState_EFFECTS_STATE_DROPPED
				if dropped != (r.GetIsError() && strings.Contains(r.GetMessage(), "dropped")) || dropped == (e.GetDigest() != "") && tt.state != sandgatev1.EffectsState_EFFECTS_STATE_NONE {
					t.Errorf("got is_error %v, digest %q: %s", r.GetIsError(), e.GetDigest(), r.GetMessage())
				}
				after := look()
				if committed := tt.state == sandgatev1.EffectsState_EFFECTS_STATE_COMMITTED; committed == (before == after) {
					t.Errorf("the workspace was\n%s\nand is\n%s", before, after)
				}
				if !strings.Contains(r.GetReceipt().GetWorkspace(), ":transaction") || r.GetReceipt().GetEnforced()["workspace_disk_bytes"] == 0 {
					t.Errorf("receipt: %q %v", r.GetReceipt().GetWorkspace(), r.GetReceipt().GetEnforced())
				}
			})
		}
	}
	for _, place := range []string{bound, filepath.Join(d.DataDir, "sessions")} {
		if left, err := filepath.Glob(filepath.Join(place, ".sandgate-stage-*")); err != nil || len(left) > 0 {
			t.Errorf("%q is left (%v)", left, err)
		}
		if left, err := filepath.Glob(filepath.Join(place, "*", ".sandgate-stage-*")); err != nil || len(left) > 0 {
			t.Errorf("%q is left (%v)", left, err)
		}
	}
}

// TestChangesOfPlainCalls are told unless the host does not want them: over gRPC, and by
// the command in words and as JSON.
func TestChangesOfPlainCalls(t *testing.T) {
	d, bound := startCareful(t)
	in := daemontest.WorkspaceDir(bound)
	call := daemontest.Bash("echo 1 >a; echo 2 >b", daemontest.Profile("open"), in)
	call.NoChanges = true
	if r := d.Execute(t, call); r.GetChanges() != nil || r.GetChangesUnknown() != sandgatev1.ChangesUnknown_CHANGES_UNKNOWN_NOT_WANTED {
		t.Errorf("not wanted: got %v, %v", r.GetChanges(), r.GetChangesUnknown())
	}
	c := d.Execute(t, daemontest.Bash("echo more >>a; rm b; mkdir c; echo 3 >c/d", daemontest.Profile("open"), in)).GetChanges()
	if c == nil || !slices.Equal(c.GetCreated(), []string{"c", "c/d"}) || !slices.Equal(c.GetModified(), []string{"a"}) || !slices.Equal(c.GetDeleted(), []string{"b"}) {
		t.Errorf("got %v", c)
	}
	call = daemontest.Bash("cat a", daemontest.Profile("open"), in)
	call.WantChanges = true
	if c := d.Execute(t, call).GetChanges(); c == nil || len(c.GetCreated())+len(c.GetModified())+len(c.GetDeleted()) > 0 {
		t.Errorf("nothing was changed: got %v", c)
	}
	told := "sandgate: changed: +e ~a -c/d\n"
	if _, errOut, code := d.Sandgate(t, "", "call", "bash", "-p", "open", "-w", bound, "-a", "command=echo >e; echo >>a; rm c/d"); code != 0 || errOut != told {
		t.Errorf("in words: got %q (%d), want %q", errOut, code, told)
	}
	if out, errOut, _ := d.Sandgate(t, "", "call", "bash", "-p", "open", "-s", "new", "--json", "-a", "command=echo >f"); !strings.Contains(out, `"f"`) {
		t.Errorf("as JSON: got %q, %q", out, errOut)
	}
	if _, errOut, _ := d.Sandgate(t, "", "call", "bash", "-p", "open", "-w", bound, "-q", "-a", "command=echo >g"); errOut != "" {
		t.Errorf("quietly: got %q", errOut)
	}
}

// TestChangesOfLargeWorkspaces are told from some call on, or from one that demands it.
func TestChangesOfLargeWorkspaces(t *testing.T) {
	d, bound := startCareful(t)
	for i := range 3000 {
		if err := os.WriteFile(filepath.Join(bound, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in, open := daemontest.WorkspaceDir(bound), daemontest.Profile("open")
	first := d.Execute(t, daemontest.Bash("rm 1", open, in))
	if first.GetChanges() != nil || first.GetChangesUnknown() != sandgatev1.ChangesUnknown_CHANGES_UNKNOWN_TOO_LARGE {
		t.Errorf("too large to look at in passing: got %v, %v", first.GetChanges(), first.GetChangesUnknown())
	}
	demand := daemontest.Bash("rm 2", open, in)
	demand.WantChanges = true
	if r := d.Execute(t, demand); !slices.Equal(r.GetChanges().GetDeleted(), []string{"2"}) {
		t.Errorf("demanded: got %v, %v", r.GetChanges(), r.GetChangesUnknown())
	}
	if r := d.Execute(t, daemontest.Bash("rm 3", open, in)); !slices.Equal(r.GetChanges().GetDeleted(), []string{"3"}) {
		t.Errorf("known from then on: got %v, %v", r.GetChanges(), r.GetChangesUnknown())
	}
}
