package e2e

import (
	"fmt"
	"testing"
	"time"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// BenchmarkTransaction measures what it costs that a call of 1,000 changed files is a
// transaction: the same program with and without, in turn, in one run. The overhead
// is the difference, reported in milliseconds; the target is under 100. Waiting for a
// cell is left out: short calls in a row wait for it longer than long ones.
func BenchmarkTransaction(b *testing.B) {
	d, bound := startCareful(b)
	const program = `mkdir -p d$ROUND; cd d$ROUND; for i in {1..1000}; do echo "$ROUND" >f$i; done`
	run := func(profile string, round int) time.Duration {
		call := daemontest.Bash(program, daemontest.Profile(profile), daemontest.WorkspaceDir(bound))
		call.Call.Env = map[string]string{"ROUND": fmt.Sprint(round)}
		r := d.Execute(b, call)
		took := r.GetDuration().GetTotal().AsDuration() - r.GetDuration().GetQueue().AsDuration()
		if r.GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED || r.GetExitCode() != 0 {
			b.Fatalf("got %s: %s", r.GetOutcome(), r.GetMessage())
		}
		if e := r.GetEffects(); profile == "careful" && e.GetState() != sandgatev1.EffectsState_EFFECTS_STATE_COMMITTED {
			b.Fatalf("got %v", e)
		}
		return took
	}
	run("open", 0)
	run("careful", 1)
	var plain, transaction time.Duration
	round := 2
	for b.Loop() {
		plain += run("open", round)
		transaction += run("careful", round+1)
		round += 2
	}
	n := float64(b.N) * float64(time.Millisecond)
	b.ReportMetric(float64(plain)/n, "plain-ms")
	b.ReportMetric(float64(transaction)/n, "transaction-ms")
	b.ReportMetric(float64(transaction-plain)/n, "overhead-ms")
	b.ReportMetric(float64(transaction)/float64(plain), "ratio")
}
