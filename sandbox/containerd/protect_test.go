package containerd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cgroup"
)

// groupTree writes files below a root that stands for /sys/fs/cgroup.
func groupTree(t *testing.T, files ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range files {
		path, text, _ := strings.Cut(name, "=")
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func protectorAt(t *testing.T, root string) protector {
	t.Helper()
	want, err := Protection{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	groups, err := cgroup.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return protector{want: want, root: root, version: groups.Version(), cells: "/cells", service: "/cells-service", groups: groups}
}

func TestWeightsAreWrittenOnBothKinds(t *testing.T) {
	for name, root := range map[string]string{
		"v1": groupTree(t, "pids/cgroup.procs", "cpu/cgroup.procs", "cpu/cells/cpu.shares", "blkio/cells/blkio.bfq.weight"),
		"v2": groupTree(t, "cgroup.controllers=cpu io memory pids", "cells/cpu.weight", "cells/io.weight=default 100"),
	} {
		p := protectorAt(t, root)
		if c := p.cpu(); !c.Binds || !strings.Contains(c.Detail, "weight 50 ") {
			t.Errorf("%s: got %+v, want weight 50 of processor time", name, c)
		}
		if c := p.disk(); !c.Binds || !strings.Contains(c.Detail, "weight 50 ") {
			t.Errorf("%s: got %+v, want weight 50 of disk time", name, c)
		}
	}
}

func TestWhatCannotBeProtectedIsReported(t *testing.T) {
	p := protectorAt(t, groupTree(t, "cgroup.controllers=memory"))
	for _, c := range []sandbox.Control{p.cpu(), p.disk(), p.memory(), p.pids(), p.own(1)} {
		if c.Binds || c.Detail == "" || c.Remedy == "" {
			if c.Name == "service_cpu_weight" && ownGroup("") != "/" {
				continue // whoever started this test has given it a group
			}
			t.Errorf("got %+v, want it not to bind, with a reason and a remedy", c)
		}
	}
}

// TestRequiredProtectionThatIsNotThereRefusesCalls: asked for, it must not be left out.
func TestRequiredProtectionThatIsNotThereRefusesCalls(t *testing.T) {
	p := protectorAt(t, groupTree(t, "cgroup.controllers=memory"))
	r := &Runtime{controls: p.bound()}
	if err := r.required(); err != nil {
		t.Errorf("got %v, want what is not asked for only reported", err)
	}
	p.want.Required = true
	r.controls = p.bound()
	err := r.required()
	for _, name := range []string{"cells_cpu_weight", "cells_memory_bytes", "cells_pids"} {
		if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want a refusal that names %s", err, name)
		}
	}
	if err != nil && strings.Contains(err.Error(), "cells_io_weight") {
		t.Errorf("got %v, want disk time never required", err)
	}
	p.want.MemoryBytes = -1
	for _, c := range p.bound() {
		if c.Name == "cells_memory_bytes" {
			t.Errorf("got %+v without a bound asked for", c)
		}
	}
}

func TestCellsLeaveMemoryToOthers(t *testing.T) {
	const gib = int64(1) << 30
	for all, want := range map[int64]int64{32 * gib: 28 * gib, 2 * gib: 3 * gib / 2, gib / 2: gib / 4} {
		if got := cellsMemory(all); got != want {
			t.Errorf("of %d: got %d, want %d", all, got, want)
		}
	}
	p := protectorAt(t, groupTree(t, "cgroup.controllers=memory", "memory.max=1073741824"))
	if got := p.ownMemory(); got != gib {
		t.Errorf("in a group of 1 GiB: got %d", got)
	}
}

func TestCellsAreKilledBeforeTheDaemon(t *testing.T) {
	for own, want := range map[int64]int64{-999: 500, -500: 500, 0: 500, 300: 800, 900: 1000} {
		if got := oomScore(own); got != want {
			t.Errorf("daemon at %d: cells at %d, want %d", own, got, want)
		}
	}
	spec := &specs.Spec{Process: &specs.Process{}}
	shieldSpec(spec)
	if spec.Process.OOMScoreAdj == nil || *spec.Process.OOMScoreAdj < 500 {
		t.Errorf("got %v, want a score for the kernel", spec.Process.OOMScoreAdj)
	}
}

func TestProtectionIsChecked(t *testing.T) {
	for _, p := range []Protection{{CellsWeight: -1}, {CellsWeight: 10001}, {ServiceWeight: -3}} {
		if _, err := (Config{DataDir: "/x", Protection: p}).withDefaults(); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%+v: got %v, want an invalid argument", p, err)
		}
	}
	if c := finding("x", "", "", errdefs.ErrNotFound); c.Binds || c.Detail == "" {
		t.Errorf("got %+v of a failure", c)
	}
}

func TestNumbersOfTheKernelAreRead(t *testing.T) {
	root := groupTree(t, "plain=42", "default=default 100\n8:0 50", "max=max", "empty=")
	for name, want := range map[string]int64{"plain": 42, "default": 100} {
		if got, err := readNumber(filepath.Join(root, name)); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", name, got, err, want)
		}
	}
	for _, name := range []string{"max", "empty", "none"} {
		if got, err := readNumber(filepath.Join(root, name)); err == nil {
			t.Errorf("%s: got %d, want an error", name, got)
		}
	}
}
