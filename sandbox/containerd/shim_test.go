package containerd

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sandgate/sandgate/sandbox"
)

// shimState is a directory as containerd has one, with these cells in it.
func shimState(t *testing.T, cells map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for id, text := range cells {
		if err := os.MkdirAll(filepath.Join(dir, id), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, id, "bootstrap.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCellsShareShimsUpToTheBound(t *testing.T) {
	s := newShims(shimState(t, map[string]string{"a": `{"version":3,"protocol":"ttrpc","address":"unix:///s"}`}), 3)
	first := s.join(sandbox.IsolationRunc)
	if first.address != "" {
		t.Errorf("the first cell of a group got address %q, want it to start the shim", first.address)
	}
	if other := s.join(sandbox.IsolationRunc); other.group == first.group {
		t.Error("a second cell joined a shim that is not there yet")
	}
	s.joined(first.group, "a", true)
	for i := range 2 {
		if at := s.join(sandbox.IsolationRunc); at.group != first.group || at.address != "ttrpc+unix:///s" {
			t.Errorf("cell %d: got %+v, want the first group's shim", i+2, at)
		}
	}
	if at := s.join(sandbox.IsolationRunc); at.group == first.group {
		t.Error("a fourth cell joined, want at most three")
	}
	if at := s.join(sandbox.IsolationGVisor); at.group == first.group {
		t.Error("a cell of another isolation joined")
	}
}

func TestShimThatFailedGetsNoMore(t *testing.T) {
	s := newShims(shimState(t, map[string]string{"a": `{"version":3,"protocol":"ttrpc","address":"unix:///s"}`, "b": "{}"}), 5)
	g := s.join(sandbox.IsolationRunc).group
	s.joined(g, "a", true)
	at := s.join(sandbox.IsolationRunc)
	s.joined(at.group, "x", false)
	if again := s.join(sandbox.IsolationRunc); again.group == g {
		t.Error("a cell joined the group in which one could not be made")
	}
	if got := s.addressOf("b") + s.addressOf("none"); got != "" {
		t.Errorf("address %q of a task that tells none", got)
	}
}

// TestShimOutlivesWhoJoins: the last cell of a group waits with its end for one
// that is just being put in, since the shim ends with its last cell.
func TestShimOutlivesWhoJoins(t *testing.T) {
	s := newShims(shimState(t, map[string]string{"a": `{"version":3,"protocol":"ttrpc","address":"unix:///s"}`}), 5)
	g := s.join(sandbox.IsolationRunc).group
	s.joined(g, "a", true)
	joining := s.join(sandbox.IsolationRunc)
	if joining.group != g {
		t.Fatal("did not join")
	}
	left := make(chan struct{})
	go func() {
		s.leave(g)
		close(left)
	}()
	for s.leavingOf(g) == 0 {
		time.Sleep(time.Millisecond) // polls a condition, does not stand for it
	}
	select {
	case <-left:
		t.Error("the last cell left while another was joining")
	default:
	}
	if other := s.join(sandbox.IsolationRunc); other.group == g {
		t.Error("a cell joined a group whose last cell is leaving")
	}
	s.joined(g, "b", true)
	<-left
	s.left(g, true)
}

func (s *shims) leavingOf(g *shimGroup) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return g.leaving
}

// TestShimGroupsHoldUnderRace: whatever the order, a group has never more than its
// bound, and all end.
func TestShimGroupsHoldUnderRace(t *testing.T) {
	const bound = 4
	s := newShims("", bound)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker))) //nolint:gosec // a test's order
			var mine []*shimGroup
			for range 500 {
				if ctx.Err() != nil {
					t.Error("stuck")
					return
				}
				if len(mine) > 0 && random.IntN(2) == 0 {
					g := mine[0]
					mine = mine[1:]
					s.leave(g)
					s.check(t, g, bound)
					s.left(g, true)
					continue
				}
				at := s.join(sandbox.IsolationRunc)
				ok := random.IntN(10) > 0
				s.joined(at.group, "none", ok)
				if ok {
					mine = append(mine, at.group)
				}
			}
			for _, g := range mine {
				s.leave(g)
				s.left(g, true)
			}
		})
	}
	wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.groups) != 0 {
		t.Errorf("%d groups left, want none", len(s.groups))
	}
}

func (s *shims) check(t *testing.T, g *shimGroup, bound int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.cells+g.joining > bound || g.cells < g.leaving {
		t.Errorf("group has %d cells, %d leaving, %d joining", g.cells, g.leaving, g.joining)
	}
}
