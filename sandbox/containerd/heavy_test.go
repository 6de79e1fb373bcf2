package containerd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandgate/sandgate/sandbox/cgroup"
)

// TestHeavyIsWhoGoesOnComputing: each step is what a call used in the time of one look.
func TestHeavyIsWhoGoesOnComputing(t *testing.T) {
	repeat := func(n int, used time.Duration) []time.Duration {
		out := make([]time.Duration, n)
		for i := range out {
			out[i] = used
		}
		return out
	}
	const all, none = heavyLook, time.Duration(0)
	for _, c := range []struct {
		name  string
		steps []time.Duration
		heavy bool
	}{
		{"has just begun", []time.Duration{all}, false},
		{"computes", repeat(3, all), true},
		{"computes beside many others, with the least share", append(repeat(3, all), repeat(100, heavyLook/64)...), true},
		{"computed, and waits for a moment", append(repeat(3, all), repeat(restLooks-1, none)...), true},
		{"computed, and has rested", append(repeat(3, all), repeat(restLooks, none)...), false},
		{"computes again after a rest", append(append(repeat(3, all), repeat(restLooks, none)...), repeat(3, all)...), true},
		{"does nothing", repeat(100, none), false},
		{"works a little now and then", repeat(200, heavyLook/200), false},
	} {
		now, used := time.Now(), time.Duration(0)
		l := &load{}
		l.look(used, now)
		for _, step := range c.steps {
			now, used = now.Add(heavyLook), used+step
			l.look(used, now)
		}
		if l.heavy != c.heavy {
			t.Errorf("a call that %s: heavy is %t, want %t", c.name, l.heavy, c.heavy)
		}
	}
}

func TestWhatTheKernelDoesNotTellIsNotHeavy(t *testing.T) {
	l := &load{}
	for range 10 {
		if cores := l.look(-1, time.Now()); cores != 0 || l.heavy || l.known {
			t.Fatalf("got %v processors and %+v of a group whose usage is unknown", cores, l)
		}
	}
}

func TestHeavyCallUsesProcessors(t *testing.T) {
	now, l := time.Now(), &load{}
	cores := 0.0
	for i := range 6 {
		cores = l.look(time.Duration(i)*2*heavyLook, now.Add(time.Duration(i)*heavyLook))
	}
	if cores < 1.99 || cores > 2.01 {
		t.Errorf("got %v processors of a call that uses two", cores)
	}
	if cores = l.look(l.used+heavyLook/10, l.at.Add(heavyLook)); cores != 1 {
		t.Errorf("got %v processors of a heavy call that others leave little, want one", cores)
	}
}

// TestShareIsGivenBack: a cell has its share again before it serves another call, and one
// that has left is not touched any more.
func TestShareIsGivenBack(t *testing.T) {
	root := groupTree(t, "cgroup.controllers=cpu", "c/cpu.weight=100")
	groups, err := cgroup.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	weight := func(want string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(root, "c", "cpu.weight"))
		if err != nil || strings.TrimSpace(string(text)) != want {
			t.Errorf("weight %q, %v; want %s", text, err, want)
		}
	}
	h := &heavies{groups: groups, start: func(func()) {}}
	u := &running{c: &aCell{path: "/c"}, stage: &staging{group: groups.At("/c/call", 0)}}
	h.enter(u, time.Now().Add(-time.Minute))
	old, _ := h.old(time.Now())
	if old[u] == nil {
		t.Fatal("a call that has run for a minute is not looked at")
	}
	old[u].heavy = true
	h.weigh(old, true)
	weight("6")
	h.weigh(old, false)
	weight("100")
	h.weigh(old, true)
	h.leave(u)
	weight("100")
	old[u].weighed = false
	h.weigh(old, true) // by a look that was under way
	weight("100")
	if old, _ := h.old(time.Now()); len(old) != 0 {
		t.Error("a call that has left is looked at")
	}
}

// TestNextCallOfACellThatComputed: heavy calls one after another, each of which ends before
// it is known well, are held to be heavy from their beginning; a short one ends that.
func TestNextCallOfACellThatComputed(t *testing.T) {
	root := groupTree(t, "cgroup.controllers=cpu", "c/cpu.weight=100")
	groups, err := cgroup.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	h := &heavies{groups: groups, start: func(func()) {}}
	c := &aCell{path: "/c"}
	now := time.Now()
	enter := func() (u *running, light bool) {
		u = &running{c: c, stage: &staging{group: groups.At("/c/call", 0)}}
		h.enter(u, now)
		_, light = h.old(now)
		return u, light
	}
	looks := func(u *running, used time.Duration) {
		for range 6 {
			now = now.Add(heavyLook)
			old, _ := h.old(now)
			if l := old[u]; l != nil {
				l.look(l.used+used, now)
			}
			h.weigh(old, true)
		}
	}
	u, light := enter()
	if h.calls[u].heavy || !light {
		t.Error("the first call of a cell is held to be heavy")
	}
	looks(u, heavyLook)
	h.leave(u)
	for range 2 {
		u, light = enter()
		if l := h.calls[u]; !l.heavy || !l.weighed || light {
			t.Errorf("after a heavy call: %+v, light %t; want the next one held to be heavy, with its share", l, light)
		}
		looks(u, heavyLook)
		h.leave(u)
	}
	u, _ = enter()
	h.leave(u)
	if u, light = enter(); h.calls[u].heavy || !light {
		t.Error("after a short call the next is held to be heavy")
	}
	looks(u, heavyLook)
	h.leave(u)
	now = now.Add(restLooks * heavyLook)
	if u, _ = enter(); h.calls[u].heavy {
		t.Error("after a pause the next call is held to be heavy")
	}
}

func TestYoungCallsAreNotLookedAt(t *testing.T) {
	started := 0
	h := &heavies{start: func(func()) { started++ }}
	now := time.Now()
	for range 3 {
		u := &running{c: &aCell{}, stage: &staging{group: &cgroup.Group{}}}
		h.enter(u, now)
		if got, _ := h.old(now.Add(heavyLook / 2)); len(got) != 0 {
			t.Errorf("%d calls are looked at, want none so young", len(got))
		}
		h.leave(u)
		h.leave(u)
	}
	if started != 1 {
		t.Errorf("the loop was started %d times for calls one after another, want once", started)
	}
}
