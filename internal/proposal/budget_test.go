package proposal_test

import (
	"strings"
	"testing"
)

// TestADecisionStaysSmall bounds what the facts and the decision of a call
// allocate, which is in step with their time (about 0.12 us each where a core is
// free) and does not depend on the machine. The bounds leave room for the race
// detector, which adds up to a half; the log shows what it is.
func TestADecisionStaysSmall(t *testing.T) {
	bb := newBench(t)
	for _, tt := range []struct {
		profile, tool, args string
		most                float64
	}{
		{"open", "bash", `{"command":"true"}`, 1_150},
		{"readonly", "bash", `{"command":"true"}`, 1_400},
		{"workspace", "bash", `{"command":"true"}`, 1_550},
		{"readonly", "bash", `{"command":"git status --short"}`, 2_350},
		{"workspace", "bash", `{"command":"go build ./..."}`, 2_300},
		{"workspace", "bash", `{"command":"` + strings.Repeat("ls src; ", 49) + `ls"}`, 17_500},
		{"readonly", "read_file", `{"path":"src/a.go"}`, 1_300},
	} {
		tool, args, digest := bb.prepare(t, tt.tool, tt.args)
		got := testing.AllocsPerRun(20, func() {
			if d := bb.engine.Decide(t.Context(), bb.input(t, tool, args, digest, tt.profile)); d.Reasons == nil {
				t.Fatal(d)
			}
		})
		t.Logf("%s %.40s: %.0f allocations", tt.profile, tt.args, got)
		if got > tt.most {
			t.Errorf("%s %.40s: got %.0f allocations, want at most %.0f", tt.profile, tt.args, got, tt.most)
		}
	}
}
