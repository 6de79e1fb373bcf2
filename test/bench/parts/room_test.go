package parts

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestACallFollowsOneOfItsSessionOnce has two sessions of which each sends its next call
// when the last one has ended, and a third one that waits since before.
func TestACallFollowsOneOfItsSessionOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(1)
		var got []string
		enter := func(session string) *place {
			p := r.enter(session)
			got = append(got, session)
			return p
		}
		begin := func(session string) chan *place {
			out := make(chan *place, 1)
			go func() { out <- enter(session) }()
			synctest.Wait()
			return out
		}
		first := enter("a")
		b := begin("b")
		c := begin("c")
		r.leave(first) // b is in, and the next of a goes ahead of c
		inB := <-b
		a := begin("a")
		r.leave(inB)
		inA := <-a
		a = begin("a") // it was ahead once: behind c
		b = begin("b") // ahead of c
		r.leave(inA)
		r.leave(<-b)
		time.Sleep(2 * followWithin) // nothing of what ended follows any more
		b = begin("b")
		r.leave(<-c)
		r.leave(<-a)
		r.leave(<-b)
		if diff := cmp.Diff([]string{"a", "b", "a", "b", "c", "a", "b"}, got); diff != "" {
			t.Errorf("order: -want +got:\n%s", diff)
		}
		if r.free != 1 || len(r.waiting) != 0 {
			t.Errorf("%d free and %d waiting at the end, want 1 and 0", r.free, len(r.waiting))
		}
	})
}
