package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// numbered is a policy that denies every call by a rule that names its number,
// unless expr holds.
func numbered(n int, expr string) string {
	return fmt.Sprintf(`package sandgate

default decision := {"outcome": "deny", "reasons": [{"rule": "rev-%[1]d", "message": "denied"}]}

decision := {"outcome": "deny", "reasons": [{"rule": "hostile", "message": "denied"}]} if {
	input.session.profile == "open"
	%[2]s
}

visible := {tool.name | some tool in input.tools}
`, n, expr)
}

func publishPolicy(t *testing.T, dir, text string) {
	t.Helper()
	next := filepath.Join(dir, ".next")
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(dir, "main.rego")); err != nil {
		t.Fatal(err)
	}
}

// policyIs waits until the daemon's policy is as wanted.
func policyIs(t *testing.T, d *daemontest.Daemon, want func(*sandgatev1.PolicyStatus) bool) *sandgatev1.PolicyStatus {
	t.Helper()
	var s *sandgatev1.PolicyStatus
	if !daemontest.Eventually(30*time.Second, func() bool {
		resp, err := d.Policy.GetStatus(t.Context(), &sandgatev1.GetStatusRequest{})
		s = resp.GetStatus()
		return err == nil && want(s)
	}) {
		t.Fatalf("the policy stays %v", s)
	}
	return s
}

// TestWatchedPolicyUnderCalls replaces a watched policy under a running daemon
// and calls: each answer names one revision and has its decision. Then policies
// come that do not end or are not to be taken, and the daemon stays well.
func TestWatchedPolicyUnderCalls(t *testing.T) {
	daemontest.RequireRoot(t)
	dir := filepath.Join(shortDir(t), "policy")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	publishPolicy(t, dir, numbered(0, "false"))
	d := daemontest.Start(t, "pool: {idle: 1}\npolicy: {dir: "+dir+"}\n")
	var decided sync.Map // revision -> rule
	call := func(ctx context.Context) (revision, rule string, err error) {
		resp, err := d.Tools.Execute(ctx, daemontest.Bash("true", daemontest.Profile("open")))
		decision := resp.GetResult().GetDecision()
		if err != nil || len(decision.GetReasons()) == 0 {
			return "", "", fmt.Errorf("got %v: %w", resp, err)
		}
		return decision.GetPolicyRevision(), decision.GetReasons()[0].GetRule(), nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for ctx.Err() == nil {
				revision, rule, err := call(t.Context())
				known, seen := decided.LoadOrStore(revision, rule)
				if err != nil || (seen && known != rule) {
					t.Errorf("revision %s decided by %s, before by %v: %v", revision, rule, known, err)
				}
			}
		})
	}
	for n := 1; n <= 20; n++ {
		publishPolicy(t, dir, numbered(n, "false"))
		policyIs(t, d, func(s *sandgatev1.PolicyStatus) bool { return s.GetActivations() > int64(n) })
	}
	cancel()
	callers.Wait()

	for name, expr := range map[string]string{
		"a loop":       "count([1 | some a in numbers.range(1, 20000); some b in numbers.range(1, 20000); a * b > 0]) > 0",
		"much memory":  "count({[a, b] | some a in numbers.range(1, 5000); some b in numbers.range(1, 5000)}) > 0",
		"doubled text": "f := concat(\"\", [\"%999999d\" | some i in numbers.range(1, 900)])\n\tcount(sprintf(f, numbers.range(1, 900))) > 0",
	} {
		before := policyIs(t, d, func(*sandgatev1.PolicyStatus) bool { return true }).GetActivations()
		publishPolicy(t, dir, numbered(100, expr))
		policyIs(t, d, func(s *sandgatev1.PolicyStatus) bool { return s.GetActivations() > before })
		if _, rule, err := call(t.Context()); err != nil || !strings.HasPrefix(rule, "daemon:") {
			t.Errorf("%s: decided by %q, %v; want a deny of the daemon's own", name, rule, err)
		}
	}
	publishPolicy(t, dir, numbered(200, `http.send({"method": "get", "url": "http://127.0.0.1"})`))
	s := policyIs(t, d, func(s *sandgatev1.PolicyStatus) bool { return len(s.GetErrors()) > 0 })
	if !strings.Contains(s.GetErrors()[0], "http.send is not available") || s.GetRefusals() == 0 {
		t.Errorf("a forbidden built-in: got %v", s)
	}
	publishPolicy(t, dir, numbered(201, "false"))
	policyIs(t, d, func(s *sandgatev1.PolicyStatus) bool { return len(s.GetErrors()) == 0 })
	if _, rule, err := call(t.Context()); err != nil || rule != "rev-201" {
		t.Errorf("after hostile policies: decided by %q, %v", rule, err)
	}
}
