package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// stormPolicy is a revision whose rule, outcome and cage all follow from its
// number: every third one denies, the others set a variable in the cell.
func stormPolicy(n int) string {
	outcome := "allow"
	if n%3 == 0 {
		outcome = "deny"
	}
	return fmt.Sprintf(`package sandgate

default decision := {"outcome": "deny", "reasons": [{"rule": "rev-%[1]d", "message": "no tool"}]}

decision := {
	"outcome": %[2]q,
	"reasons": [{"rule": sprintf("rev-%%d", [number]), "message": "decided"}],
	"obligations": {"exec": {"env_set": {"REVISION": sprintf("rev-%%d", [number])}}},
} if {
	input.tool.name == "bash"
	input.session.profile == "open"
}

number := %[1]d

visible := {tool.name | some tool in input.tools}
`, n, outcome)
}

// storm is what happened under the reloads.
type storm struct {
	daemon  *daemontest.Daemon
	decided sync.Map // revision -> rule and outcome
	ran     atomic.Int64
	denied  atomic.Int64
	asked   atomic.Int64
	wrong   atomic.Int64
}

// judge holds a decision against those that its revision gave before.
func (s *storm) judge(d *sandgatev1.Decision) error {
	if d.GetPolicyRevision() == "" || len(d.GetReasons()) != 1 {
		return fmt.Errorf("the decision %v names no revision or not one reason", d)
	}
	var n int
	if _, err := fmt.Sscanf(d.GetReasons()[0].GetRule(), "rev-%d", &n); err != nil {
		return fmt.Errorf("the decision %v is of no revision: %w", d, err)
	}
	want := sandgatev1.DecisionOutcome_DECISION_OUTCOME_ALLOW
	if n%3 == 0 {
		want = sandgatev1.DecisionOutcome_DECISION_OUTCOME_DENY
	}
	known, seen := s.decided.LoadOrStore(d.GetPolicyRevision(), n)
	if (seen && known != n) || d.GetOutcome() != want {
		return fmt.Errorf("the revision %s decided %v, before as number %v", d.GetPolicyRevision(), d, known)
	}
	return nil
}

// execute makes a call; if it is allowed it tells from within the cell which
// revision's cage it is in.
func (s *storm) execute(t *testing.T, session string) error {
	resp, err := s.daemon.Tools.Execute(t.Context(), daemontest.Bash(`echo "$REVISION"`, daemontest.Profile("open"), daemontest.Session(session)))
	if err != nil {
		return err
	}
	r := resp.GetResult()
	if err := s.judge(r.GetDecision()); err != nil {
		return err
	}
	rule := r.GetDecision().GetReasons()[0].GetRule()
	switch {
	case r.GetDecision().GetOutcome() == sandgatev1.DecisionOutcome_DECISION_OUTCOME_DENY:
		if r.GetOutcome() != sandgatev1.Outcome_OUTCOME_DENIED || r.GetReceipt() != nil {
			return fmt.Errorf("denied by %s, and yet %v", rule, r)
		}
		s.denied.Add(1)
	case r.GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED || r.GetExitCode() != 0 || r.GetReceipt() == nil || daemontest.Text(r.GetStdout()) != rule+"\n":
		return fmt.Errorf("allowed by %s: got %v", rule, r)
	default:
		s.ran.Add(1)
	}
	return nil
}

func (s *storm) evaluate(t *testing.T, _ string) error {
	resp, err := s.daemon.Policy.Evaluate(t.Context(), &sandgatev1.PolicyServiceEvaluateRequest{
		InputJson: `{"schema": "sandgate.input/v1", "tool": {"name": "bash"}, "session": {"profile": "open"}, "call": {"tool": "bash", "args": {}}}`,
	})
	if err != nil {
		return err
	}
	s.asked.Add(1)
	return s.judge(resp.GetDecision())
}

// every calls at a pace until stop is closed.
func (s *storm) every(t *testing.T, pause time.Duration, stop <-chan struct{}, session string, call func(*testing.T, string) error) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		if err := call(t, session); err != nil {
			s.wrong.Add(1)
			t.Error(err)
		}
	}
}

// TestReloadStorm replaces the policy of a running daemon under calls, of which
// two thirds are allowed and run: none fails, each names one revision, has that
// revision's decision and runs in that revision's cage. It takes 20 revisions;
// with SANDGATE_STORM=1 it is 200 in 60 s under some 200 calls a second, a fifth of them
// executed and 160 decided only.
func TestReloadStorm(t *testing.T) {
	daemontest.RequireRoot(t)
	revisions, callers, each := 20, 2, 50*time.Millisecond
	pause := time.Duration(0)
	if os.Getenv("SANDGATE_STORM") != "" {
		revisions, callers, each, pause = 200, 8, 45*time.Millisecond, 300*time.Millisecond
	}
	dir := filepath.Join(shortDir(t), "policy")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	publishPolicy(t, dir, stormPolicy(1))
	s := &storm{daemon: daemontest.Start(t, "pool: {idle: 2}\npolicy: {dir: "+dir+"}\n")}
	for n := range callers { // their cells, before the clock runs
		if err := s.execute(t, fmt.Sprintf("storm-%d", n)); err != nil {
			t.Fatal(err)
		}
	}
	memory := s.daemon.ResidentBytes(t)
	stop, done, began := make(chan struct{}), sync.WaitGroup{}, time.Now()
	for n := range callers {
		done.Go(func() { s.every(t, 4*each, stop, fmt.Sprintf("storm-%d", n), s.execute) })
		done.Go(func() { s.every(t, each, stop, "", s.evaluate) })
	}
	for n := 2; n <= revisions+1; n++ {
		late := time.After(time.Until(began.Add(time.Duration(n-1) * pause)))
		publishPolicy(t, dir, stormPolicy(n))
		policyIs(t, s.daemon, func(p *sandgatev1.PolicyStatus) bool { return p.GetActivations() >= int64(n) })
		if pause > 0 {
			<-late // the pace of the measured storm
		}
	}
	took := time.Since(began)
	close(stop)
	done.Wait()
	seen := 0
	s.decided.Range(func(any, any) bool { seen++; return true })
	if s.ran.Load() == 0 || s.denied.Load() == 0 || s.asked.Load() == 0 || seen < 2 {
		t.Error("the storm was none: nothing ran, nothing was denied or only one revision decided")
	}
	total := s.ran.Load() + s.denied.Load() + s.asked.Load()
	t.Logf("%d revisions in %s, %d of them seen by calls; %d calls (%.0f/s): %d ran, %d denied, %d decided only; %d wrong; resident %d MiB, before %d",
		revisions, took.Round(time.Millisecond), seen, total, float64(total)/took.Seconds(), s.ran.Load(), s.denied.Load(), s.asked.Load(), s.wrong.Load(),
		s.daemon.ResidentBytes(t)>>20, memory>>20)
}
