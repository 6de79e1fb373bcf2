package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandgate/sandgate/policies"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// TestAttachToATerminal shows its output as it was written, and leaves the typing to the
// stream that started the call.
func TestAttachToATerminal(t *testing.T) {
	d := daemontest.Start(t, "")
	call := daemontest.Bash("echo first; read -r x; echo \"second $x\"", daemontest.Profile("open"), daemontest.CallID("tty")).GetCall()
	k := talk(t, d, &sandgatev1.ExecuteStart{Call: call, Stdin: true, Terminal: &sandgatev1.Terminal{}})
	k.want("first\r\n")
	follower, err := clients(t, d, 1)[0].Attach(t.Context(), &sandgatev1.AttachRequest{CallId: "tty"})
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for !strings.Contains(got.String(), "first\r\n") {
		msg, err := follower.Recv()
		if err != nil {
			t.Fatal(err)
		}
		got.Write(msg.GetOutput().GetData())
	}
	k.say("line\n")
	for {
		msg, err := follower.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if res := msg.GetResult(); res != nil {
			if res.GetExitCode() != 0 {
				t.Errorf("ended with %v", res)
			}
			break
		}
		got.Write(msg.GetOutput().GetData())
	}
	if want := "first\r\nline\r\nsecond line\r\n"; got.String() != want {
		t.Errorf("the follower saw %q, want %q", got.String(), want)
	}
	if res, err := k.end(); err != nil || daemontest.Text(res.GetStdout()) != got.String() {
		t.Errorf("the result has %v, %v", res.GetStdout(), err)
	}
}

// TestPolicyDeniesTerminals by what it sees of the call.
func TestPolicyDeniesTerminals(t *testing.T) {
	daemontest.RequireRoot(t)
	dir := filepath.Join(shortDir(t), "policy")
	if err := os.CopyFS(dir, policies.FS); err != nil {
		t.Fatal(err)
	}
	rule := `package sandgate.profiles.open

# METADATA
# title: no-terminal
# description: Nobody types.
# custom:
#   rule: no-terminal
deny contains {
	"rule": "no-terminal",
	"message": "no terminals here",
	"severity": "low",
} if {
	input.call.terminal
}
`
	if err := os.WriteFile(filepath.Join(dir, "sandgate", "profiles", "open_terminal.rego"), []byte(rule), 0o600); err != nil {
		t.Fatal(err)
	}
	d := daemontest.Start(t, "pool: {idle: 1}\npolicy: {dir: "+dir+"}\n")
	for _, terminal := range []*sandgatev1.Terminal{nil, {}} {
		k := talk(t, d, &sandgatev1.ExecuteStart{Call: daemontest.Bash("true", daemontest.Profile("open")).GetCall(), Terminal: terminal})
		want := sandgatev1.Outcome_OUTCOME_EXITED
		if terminal != nil {
			want = sandgatev1.Outcome_OUTCOME_DENIED
		}
		if res, err := k.end(); err != nil || res.GetOutcome() != want || (terminal != nil) != strings.Contains(res.GetMessage(), "no terminals here") {
			t.Errorf("terminal %v: got %v %q, %v, want %v", terminal, res.GetOutcome(), res.GetMessage(), err, want)
		}
	}
}
