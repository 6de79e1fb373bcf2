package source

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandgate/sandgate/internal/policy"
)

// TestReloadStorm replaces the policy again and again under calls: none fails,
// each names one revision and has that revision's decision. It runs 40 revisions
// as fast as they come into force; SANDGATE_STORM=1 runs 200 in 60 s under 200
// calls a second.
func TestReloadStorm(t *testing.T) {
	revisions, every, pause := 40, time.Duration(0), time.Millisecond
	if os.Getenv("SANDGATE_STORM") != "" {
		revisions, every, pause = 200, 300*time.Millisecond, 20*time.Millisecond // four callers
	}
	dir := t.TempDir()
	publish := func(n int) {
		write(t, filepath.Join(dir, ".new"), storming(n))
		if err := os.Rename(filepath.Join(dir, ".new"), filepath.Join(dir, "main.rego")); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, ".manifest"), []byte(`{"revision": "storm"}`))
	publish(0)
	f := start(t, Config{Dir: dir})
	f.wait(t, "rev-0", false)

	var decided sync.Map // revision -> rule
	decided.Store(f.engine.Status().Revision, "rev-0")
	var calls, mixed atomic.Int64
	stop, done := make(chan struct{}), sync.WaitGroup{}
	for range 4 {
		done.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				in := policy.Input{}
				in.Tool.Name, in.Session.Profile = "bash", "storm"
				d := f.engine.Decide(t.Context(), in)
				calls.Add(1)
				rule, outcome := d.Reasons[0].Rule, policy.Allow
				if strings.HasSuffix(rule, "1") || strings.HasSuffix(rule, "3") || strings.HasSuffix(rule, "5") {
					outcome = policy.Deny
				}
				known, seen := decided.LoadOrStore(d.Revision, rule)
				if d.Revision == "" || (seen && known != rule) || d.Outcome != outcome {
					mixed.Add(1)
					t.Errorf("revision %s decided %s by %s, before by %v", d.Revision, d.Outcome, rule, known)
				}
			}
		})
	}
	for n := 1; n <= revisions; n++ {
		publish(n)
		f.wait(t, fmt.Sprintf("rev-%d", n), false)
		if every > 0 {
			time.Sleep(every - 50*time.Millisecond) // the pace of the measured storm, not a synchronisation
		}
	}
	close(stop)
	done.Wait()
	rules := map[any]bool{}
	decided.Range(func(_, rule any) bool {
		if rules[rule] {
			t.Errorf("two revisions decided by %v", rule)
		}
		rules[rule] = true
		return true
	})
	if f.State().Activations != int64(revisions)+1 || calls.Load() == 0 {
		t.Errorf("%d activations and %d calls, want %d activations", f.State().Activations, calls.Load(), revisions+1)
	}
	t.Logf("%d revisions, %d calls, %d mixed", revisions, calls.Load(), mixed.Load())
}

// storming is a policy whose rule, outcome and helpers all follow from a number.
func storming(n int) []byte {
	outcome := "allow"
	if r := n % 10; r == 1 || r == 3 || r == 5 {
		outcome = "deny"
	}
	return []byte(fmt.Sprintf(`package sandgate

default decision := {"outcome": "deny", "reasons": [{"rule": "rev-%[1]d", "message": "no tool"}]}

decision := {"outcome": %[2]q, "reasons": [{"rule": sprintf("rev-%%d", [number]), "message": "decided"}]} if {
	input.tool.name == "bash"
	input.session.profile == "storm"
}

number := %[1]d

visible := set()
`, n, outcome))
}
