package containerd

import (
	"testing"
	"time"

	"github.com/sandgate/sandgate/sandbox"
)

// veiledClass is that of a call in gVisor with a directory, or none.
func veiledClass(dir string) class {
	return class{image: sandbox.HostImage, isolation: sandbox.IsolationGVisor, dir: workspace{Workspace: sandbox.Workspace{HostDir: dir}}}
}

// attachDir does what a call does to a cell that it is the first one of.
func attachDir(c *aCell, cl class) { c.attached = &cl.dir }

// TestVeiledCellsAreMadeAheadOfDirectories: once a session had a cell, there is one
// more for the next, whatever its directory; and none any more when no session has one.
func TestVeiledCellsAreMadeAheadOfDirectories(t *testing.T) {
	change := func(_ *poolConfig, m *fakeMaker) { m.makeTakes = 500 * time.Millisecond }
	testPool(t, change, func(t *testing.T, p *pool, _ *fakeMaker) {
		p.warmUp()
		time.Sleep(time.Second)
		single := get(t, p, veiledClass("").made(), "", "x") // as the probe of gVisor
		p.release(single, false)
		time.Sleep(5 * time.Second)
		of := p.classes[veiledClass("").made()]
		if len(of.fresh) != 0 {
			t.Errorf("%d cells made ahead before any session, want none", len(of.fresh))
		}
		dry := of.count.Dry
		for i, key := range []string{"a", "b", "c"} {
			c := get(t, p, veiledClass("/"+key), key, "x")
			attachDir(c, veiledClass("/"+key))
			if i > 0 && of.count.Dry != dry+1 {
				t.Errorf("session %s waited for a cell, its %d before: %+v", key, i, of.count)
			}
			giveBack(p, c, true)
			time.Sleep(5 * time.Second)
			p.check(t)
			if len(of.fresh) != 1 {
				t.Errorf("after session %s: %d cells made ahead, want one", key, len(of.fresh))
			}
		}
		if len(p.classes) != 2 { // with the one of runc
			t.Errorf("%d classes, want one for all directories", len(p.classes))
		}
		for range 3 {
			time.Sleep(p.cfg.idleTimeout + time.Second)
			p.sweep(time.Now())
		}
		if got := len(of.fresh) + of.kept; got != 0 {
			t.Errorf("%d cells long after the last call, want none", got)
		}
	})
}

// TestVeiledCellServesItsDirectoryOnly: not the same key with another one, whether it
// comes later or waits, nor anybody if its call did not run.
func TestVeiledCellServesItsDirectoryOnly(t *testing.T) {
	change := func(cfg *poolConfig, _ *fakeMaker) { cfg.floor, cfg.maxCells = 0, 2 }
	testPool(t, change, func(t *testing.T, p *pool, _ *fakeMaker) {
		a := get(t, p, veiledClass("/a"), "k", "x")
		attachDir(a, veiledClass("/a"))
		giveBack(p, a, true)
		b := get(t, p, veiledClass("/b"), "k", "x")
		if a == b {
			t.Fatal("a cell with /a served a call for /b")
		}
		attachDir(b, veiledClass("/b"))
		if got := get(t, p, veiledClass("/a"), "k", "x"); got != a {
			t.Error("the key's cell with the directory was passed over")
		}
		waits := make(chan *aCell, 1)
		go func() { waits <- get(t, p, veiledClass("/c"), "k", "x") }()
		time.Sleep(time.Second)
		giveBack(p, a, true) // of the same key, but not for who waits: it makes room
		p.check(t)
		c := <-waits
		if c == a || c == b {
			t.Error("a cell with another directory was given to a call that waited for one")
		}
		attachDir(c, veiledClass("/c"))
		p.unclaim(c)
		p.check(t)
		if d := get(t, p, veiledClass("/d"), "other", "x"); d == a || d == b || d == c {
			t.Error("a cell that has a directory already was given to another key")
		} else {
			giveBack(p, d, true)
		}
		giveBack(p, b, true)
	})
}
