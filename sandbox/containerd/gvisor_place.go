package containerd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox"
)

// gVisor hands each system call of a program over to a thread of its own. Where the
// two are on different processors, both are woken and slept each time, and most of a
// short call is that. So a cell in gVisor is on one processor from its start, which
// is also what its own scheduler then reckons with. A call that may use more than one
// processor gets a cell of another class, which is on all.

const (
	// oneProcessor is the cpu limit up to which a call needs no second one.
	oneProcessor = 1000
	// placeName is what sandgate-shim is called by where it is to put an OCI runtime
	// on a processor, with the processor's number behind; placeRuntime links to the
	// runtime from there. cmd/sandgate-shim knows both.
	placeName    = "on-cpu-"
	placeRuntime = "runtime"
)

// places tells which veiled cell is on which processor. It is safe for concurrent
// use, and its zero value has no cell.
type places struct {
	mu    sync.Mutex
	links string // directory of the programs that start gVisor on a processor; empty before the first
	free  unix.CPUSet
	cells map[*aCell]int
}

// isWide tells whether a call needs a cell that is on all processors.
func isWide(call *sandbox.Call) bool {
	return call.Isolation == sandbox.IsolationGVisor && call.Limits.CPUMillis > oneProcessor
}

// place returns the program to start a cell's OCI runtime with: for a cell in gVisor
// one that does so on the processor that has the fewest of them, of its own class first. Without sandgate-shim
// or a second processor it is the runtime itself, which costs time only.
func (r *Runtime) place(c *aCell, runtime string) string {
	if !c.class.veiled() || c.class.wide {
		return runtime
	}
	p := &r.places
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.prepare(r.cfg, runtime); err != nil {
		r.log.Debug("gVisor runs on all processors", "cell_id", c.id, "error", err)
		return runtime
	}
	used := map[int]int{}
	for other, at := range p.cells {
		used[at]++
		if other.class == c.class { // they serve the same calls in turn
			used[at] += len(p.cells)
		}
	}
	best := -1
	for i, left := 0, p.free.Count(); left > 0; i++ {
		if !p.free.IsSet(i) {
			continue
		}
		left--
		if best < 0 || used[i] < used[best] {
			best = i
		}
	}
	p.cells[c] = best
	return filepath.Join(p.links, placeName+strconv.Itoa(best))
}

// unplace forgets where a cell was. It is safe to repeat.
func (r *Runtime) unplace(c *aCell) {
	r.places.mu.Lock()
	defer r.places.mu.Unlock()
	delete(r.places.cells, c)
}

// prepare makes a name of sandgate-shim for each processor that the daemon may use;
// p.mu is held.
func (p *places) prepare(cfg Config, runtime string) error {
	if p.links != "" {
		return nil
	}
	if err := unix.SchedGetaffinity(0, &p.free); err != nil {
		return fmt.Errorf("ask for processors: %w", err)
	}
	if p.free.Count() < 2 {
		return errors.New("there is one processor")
	}
	placer, err := cfg.findBinary(shimDeleter)
	if err != nil {
		return err
	}
	dir := filepath.Join(cfg.RunDir, "place")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	links := map[string]string{placeRuntime: runtime}
	for i, left := 0, p.free.Count(); left > 0; i++ {
		if p.free.IsSet(i) {
			links[placeName+strconv.Itoa(i)] = placer
			left--
		}
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("link to %s: %w", target, err)
		}
	}
	p.links, p.cells = dir, map[*aCell]int{}
	return nil
}
