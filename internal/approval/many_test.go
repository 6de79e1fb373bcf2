package approval_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/policy"
)

// TestTenThousandQuestions: one caller has so many open, all have so many, however many
// ask at once, and also after a restart; who is refused is told why.
func TestTenThousandQuestions(t *testing.T) {
	b := newBench(t, nil)
	ask := func(caller, id string) error {
		asked := b.asking(id, policy.AskTerms{})
		asked.Caller = caller
		_, err := b.Ask(t.Context(), asked, nil)
		return err
	}
	var open, refused atomic.Int64
	var all sync.WaitGroup
	flood := func(caller string, n int) {
		for i := range n {
			switch err := ask(caller, fmt.Sprintf("c%d", i)); {
			case err == nil:
				open.Add(1)
			case errdefs.IsResourceExhausted(err) && strings.Contains(err.Error(), "the most is 1000 and 100: try again when some are answered"):
				refused.Add(1)
			default:
				t.Errorf("got %v", err)
			}
		}
	}
	for range 8 { // one caller, eight at a time
		all.Go(func() { flood("flood", 500) })
	}
	all.Wait()
	if got := open.Load(); got != approval.DefaultMaxLivePerCaller {
		t.Errorf("one caller has %d open, want %d", got, approval.DefaultMaxLivePerCaller)
	}
	for i := range 12 {
		all.Go(func() { flood(fmt.Sprintf("caller%d", i), 500) })
	}
	all.Wait()
	if o, r := open.Load(), refused.Load(); o != approval.DefaultMaxLive || o+r != 10_000 {
		t.Errorf("%d are open and %d were refused, want %d of 10000", o, r, approval.DefaultMaxLive)
	}
	b.restart(t)
	if err := ask("another", "c1"); !errdefs.IsResourceExhausted(err) {
		t.Errorf("after a restart: got %v, want ResourceExhausted", err)
	}
	b.clock.Add(601) // those are over
	if err := ask("another", "c1"); err != nil {
		t.Errorf("when all have expired: %v", err)
	}
	list, err := b.List(t.Context(), func(a *approval.Approval) bool { return a.State.Live() })
	if err != nil || len(list) != 1 {
		t.Errorf("%d are open then, %v, want 1", len(list), err)
	}
}

// TestAPlaceIsGivenBack: a question that could not be recorded takes no place.
func TestAPlaceIsGivenBack(t *testing.T) {
	b := newBench(t, func(c *approval.Config) { c.MaxLive, c.MaxLivePerCaller = 1, 1 })
	b.tape.err = errdefs.ErrUnavailable
	for range 3 {
		if _, err := b.Ask(t.Context(), b.asking("c1", policy.AskTerms{}), nil); !errdefs.IsUnavailable(err) {
			t.Fatalf("got %v, want Unavailable", err)
		}
	}
	b.tape.err = nil
	b.ask(t, "c1", policy.AskTerms{})
}
