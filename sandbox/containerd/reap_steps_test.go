package containerd_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/sandbox"
)

// TestWhatIsLeftBehindEndsInTheStepReap: the program's own time is that until its own end,
// for a result's RunTime it is all that the tree takes.
func TestWhatIsLeftBehindEndsInTheStepReap(t *testing.T) {
	t.Run("runc", func(t *testing.T) { leftBehind(t, start(t, testConfig(t)), bashCall) })
	t.Run("gVisor", func(t *testing.T) { leftBehind(t, start(t, gvisorConfig(t)), gvisorCall) })
}

func leftBehind(t *testing.T, r sandbox.Runtime, as func(string) sandbox.Call) {
	t.Helper()
	run := func(script string) (own, reap time.Duration, res sandbox.Result) {
		t.Helper()
		call := as(script)
		call.Limits.Pids = 200
		call.Ready = func(context.Context) error { return nil }
		began := time.Now()
		res, err := r.Run(t.Context(), call)
		took := time.Since(began)
		if err != nil || res.Outcome != sandbox.OutcomeExited {
			t.Fatalf("got %s, %v", res.Outcome, err)
		}
		var sum time.Duration
		var names []string
		for _, s := range res.Steps {
			sum += s.Took
			names = append(names, s.Name)
			switch s.Name {
			case "run":
				own = s.Took
			case "reap":
				reap = s.Took
			}
		}
		want := []string{"claim", "limits", "workspace", "ready", "start", "run", "reap", "collect"}
		if diff := cmp.Diff(want, names); diff != "" || slices.ContainsFunc(res.Steps, func(s sandbox.Step) bool { return s.Took < 0 }) {
			t.Errorf("steps %+v (-want +got):\n%s", res.Steps, diff)
		}
		if sum > took || took > 100*time.Millisecond && sum < took*9/10 || own <= 0 || reap <= 0 || own > res.RunTime {
			t.Errorf("steps %+v are %v of %v, a run time of %v among it: want all of it, and no more of its own", res.Steps, sum, took, res.RunTime)
		}
		return own, reap, res
	}
	least := time.Hour
	for range 3 {
		_, reap, _ := run("true")
		least = min(least, reap)
	}
	own, reap, res := run("for i in {1..80}; do sleep 1000 & done; sleep 0.2")
	buried := res.RunTime - own
	if res.Usage.BackgroundKilled != 80 || own < 200*time.Millisecond || buried <= 0 || reap < 2*least {
		t.Errorf("left %d; ran %v of its own, %v longer until all was gone; reaped for %v, where nothing is left for %v",
			res.Usage.BackgroundKilled, own, buried, reap, least)
	}
	t.Logf("ran %v of its own, was reaped for %v; where nothing is left, for %v", own, reap, least)
}
