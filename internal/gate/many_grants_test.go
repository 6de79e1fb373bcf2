package gate_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/grant"
)

// TestTwentyUsesAmong64 calls at once: exactly twenty run without asking, and after a
// restart none more does.
func TestTwentyUsesAmong64(t *testing.T) {
	b := newAsking(t)
	b.grantable = true
	call := func(id string) gate.Call {
		c := bash(id, "git commit -m "+id)
		c.WorkspaceDir = b.ws
		return c
	}
	a := b.ask(t, call("c"))
	if _, err := b.Approve(t.Context(), bob, a.ID, a.Binding, "", &grant.Terms{Uses: 20}); err != nil {
		t.Fatal(err)
	}
	b.do(t, call("c"))
	var ran, asked atomic.Int64
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			switch res := b.do(t, call(fmt.Sprintf("p%d", i))); res.Outcome {
			case exited:
				ran.Add(1)
			case askedAgain:
				asked.Add(1)
			default:
				t.Errorf("got %s (%s)", res.Outcome, res.Message)
			}
		})
	}
	all.Wait()
	if ran.Load() != 20 || asked.Load() != 44 || len(b.runtime.Calls()) != 21 {
		t.Errorf("%d ran by the grant and %d were asked about, %d ran at all: want 20, 44 and 21", ran.Load(), asked.Load(), len(b.runtime.Calls()))
	}
	b.start(t)
	b.want(t, call("later"), askedAgain, "unsure", 0)
}
