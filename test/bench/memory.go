package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sandgate/sandgate/sandbox/containerd"
	"github.com/sandgate/sandgate/test/bench/report"
)

// process is one process of a daemon's instance and its memory.
type process struct {
	kind     string // "init", "stage", "shim", …
	pssBytes int64
}

// instance names everything on the machine that belongs to the daemon.
func (t *target) instance() string {
	return "sandgate-" + containerd.InstanceOf(filepath.Join(t.DataDir, "containerd"))
}

// cellProcesses are the processes in the daemon's cells and their shims.
func (t *target) cellProcesses() ([]process, error) {
	instance := t.instance()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("read processes: %w", err)
	}
	var out []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		kind := kindOf(pid, instance)
		if kind == "" {
			continue
		}
		pss, err := pssOf(pid)
		if err != nil {
			continue // it ended meanwhile
		}
		out = append(out, process{kind, pss})
	}
	return out, nil
}

// kindOf tells what a process is to the instance; empty when it is nothing.
func kindOf(pid int, instance string) string {
	dir := "/proc/" + strconv.Itoa(pid)
	cmdline, err := os.ReadFile(dir + "/cmdline") //nolint:gosec // of the kernel
	if err != nil {
		return ""
	}
	argv := strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
	if strings.Contains(filepath.Base(argv[0]), "shim") && strings.Contains(string(cmdline), instance) {
		return "share of shim"
	}
	groups, err := os.ReadFile(dir + "/cgroup") //nolint:gosec // of the kernel
	if err != nil || !strings.Contains(string(groups), "/"+instance+"/") {
		return ""
	}
	if len(argv) > 1 {
		return argv[1] // the face of sandgate-init: stage, holder
	}
	if strings.Contains(argv[0], "init") {
		return "init"
	}
	return filepath.Base(argv[0])
}

// pssOf is the resident memory of a process, what it shares divided by how many
// share it.
func pssOf(pid int) (int64, error) {
	var kib int64
	if _, err := fmt.Sscan(fieldOf(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss"), &kib); err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	return kib << 10, nil
}

// cellMemory tells what each of the cells that wait takes.
func (b *bench) cellMemory(t *target) error {
	processes, err := t.cellProcesses()
	if err != nil {
		return err
	}
	cells := t.Footprint().Cells
	if cells == 0 {
		return errors.New("memory of idle cells: the daemon has none")
	}
	m := report.Memory{Name: report.MemoryCell, Amount: cells, How: "PSS of its processes, shims divided by the cells"}
	at := map[string]int{}
	for _, p := range processes {
		if _, ok := at[p.kind]; !ok {
			at[p.kind] = len(m.Parts)
			m.Parts = append(m.Parts, report.Part{Name: p.kind})
		}
		m.Parts[at[p.kind]].Bytes += p.pssBytes
	}
	for i := range m.Parts {
		m.Parts[i].Bytes /= int64(cells)
		m.Bytes += m.Parts[i].Bytes
	}
	if len(m.Parts) == 0 {
		return fmt.Errorf("memory of idle cells: no process of %s was found", t.instance())
	}
	b.out.Memory = append(b.out.Memory, m)
	return nil
}

// daemonMemory tells what the daemon itself takes while it has sessions.
func (b *bench) daemonMemory(t *target, sessions int) error {
	for _, m := range []struct {
		name, how string
		after     time.Duration
	}{
		{report.MemoryWorking, "right after a client's calls", 0},
		{report.MemoryDaemon, fmt.Sprintf("%v after them", b.size.rest), b.size.rest},
	} {
		select {
		case <-time.After(m.after):
		case <-b.ctx.Done():
			return context.Cause(b.ctx)
		}
		resident, err := residentOf(t.PID())
		if err != nil {
			return err
		}
		b.out.Memory = append(b.out.Memory, report.Memory{
			Name: m.name, Amount: sessions, Bytes: resident, After: m.after,
			How: fmt.Sprintf("RSS of its process, %s; %d cells were kept", m.how, t.Footprint().Cells),
		})
	}
	return nil
}

func residentOf(pid int) (int64, error) {
	var kib int64
	if _, err := fmt.Sscan(fieldOf(fmt.Sprintf("/proc/%d/status", pid), "VmRSS"), &kib); err != nil {
		return 0, fmt.Errorf("read the daemon's memory: %w", err)
	}
	return kib << 10, nil
}
