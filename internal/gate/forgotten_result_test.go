package gate_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

// TestSentAgainAfterLong: a call whose output was dropped tells that and what it was, one
// of which nothing is kept is refused; neither runs again, also after a restart.
func TestSentAgainAfterLong(t *testing.T) {
	dir := t.TempDir()
	few := func(c *gate.Config) { c.Memory = gate.Memory{Calls: 3, OutputBytes: 1000} }
	b := newBench(t, dir, exits(3, strings.Repeat("x", 1000)), few)
	check := func() {
		t.Helper()
		for _, id := range []string{"c2", "c3"} { // known, but not whole
			res := b.do(t, bash(id, "date"))
			if !res.Replayed || res.ChangesUnknown != gate.ChangesForgotten || res.Changes != nil || res.ExitCode != 3 ||
				res.Stdout.TotalBytes != 1000 || len(res.Stdout.Head) != 0 || !res.Stdout.Truncated() {
				t.Errorf("%s: got %+v, want what came of it without output and changes", id, res)
			}
		}
		for _, id := range []string{"c0", "c1"} {
			if _, err := b.Execute(t.Context(), bash(id, "date"), nil); !errdefs.IsAlreadyExists(err) || !strings.Contains(err.Error(), "no longer kept") {
				t.Errorf("%s: got %v, want that it ran and is not kept", id, err)
			}
			if _, err := b.Attach(t.Context(), alice, id, 0, 0, newFollower()); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "no longer kept") {
				t.Errorf("attached to %s: got %v, want that it is not kept", id, err)
			}
		}
	}
	for i := range 5 {
		b.do(t, bash(fmt.Sprintf("c%d", i), "date"))
	}
	check()
	if n := len(b.runtime.Calls()); n != 5 {
		t.Errorf("%d runs of 5 calls", n)
	}
	if err := b.journal.Close(); err != nil {
		t.Fatal(err)
	}
	b = newBench(t, dir, exits(0, ""), func(c *gate.Config) { few(c); c.Memory.OutputBytes = 1 })
	check()
	if n := len(b.runtime.Calls()); n != 0 {
		t.Errorf("%d ran again", n)
	}
	other := bash("c0", "date")
	other.Caller = bob
	if res := b.do(t, other); res.Replayed || string(res.Outcome) != string(sandboxtest.Exit(0, "").Outcome) {
		t.Errorf("another caller's id: %+v", res)
	}
}
