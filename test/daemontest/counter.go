package daemontest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sandgate/sandgate/sandbox/containerd"
)

// counted is one thing that is counted, and by how much it may be more than
// before without being a leak.
type counted struct {
	name  string
	slack int64
	why   string // of the slack
}

// figures are in the order in which they are told.
var figures = []counted{
	{name: "cells"},
	{name: "call cgroups"},
	{name: "cgroup directories"},
	{name: "shims"},
	{name: "inits"},
	{name: "guests"},
	{name: "zombies"},
	{name: "processes"},
	{name: "network namespaces"},
	{name: "mounts"},
	{name: "containers"},
	{name: "tasks"},
	{name: "snapshots"},
	{name: "leases"},
	{name: "files in the run directory"},
	{name: "files open in sandgated"},
	{name: "files open in containerd", slack: 4, why: "connections of shims that come and go"},
	{name: "files open in shims", slack: 2, why: "a cell on its way"},
	{name: "threads of sandgated", slack: 16, why: "the Go runtime keeps threads that once waited in the kernel"},
	{name: "goroutines", slack: 4, why: "timers and requests of the count itself"},
	{name: "disk in KiB, without journal", slack: 2048, why: "containerd's database grows by pages"},
	{name: "resident KiB of sandgated", slack: 64 << 10, why: "the heap's shape, and what is known of finished calls"},
}

// Snapshot counts what a daemon has on the machine; a figure that cannot be had
// is not in it.
type Snapshot map[string]int64

// More lists what now has beyond before and the slack.
func (before Snapshot) More(now Snapshot) (found []string) {
	for _, f := range figures {
		was, had := before[f.name]
		is, has := now[f.name]
		switch {
		case had && has && is > was+f.slack:
			found = append(found, fmt.Sprintf("%s: %d, were %d", f.name, is, was))
		case had != has:
			found = append(found, fmt.Sprintf("%s: counted only once", f.name))
		}
	}
	return found
}

// Table shows two snapshots side by side.
func (before Snapshot) Table(now Snapshot) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-30s %10s %10s %8s\n", "", "before", "after", "slack")
	for _, f := range figures {
		if _, ok := now[f.name]; ok {
			fmt.Fprintf(&b, "%-30s %10d %10d %8d\n", f.name, before[f.name], now[f.name], f.slack)
		}
	}
	return b.String()
}

// Columns shows several snapshots side by side, a title each, and what slack a figure has.
func Columns(titles []string, snapshots ...Snapshot) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-30s", "")
	for _, title := range titles {
		fmt.Fprintf(&b, " %10s", title)
	}
	fmt.Fprintf(&b, " %8s\n", "slack")
	for _, f := range figures {
		fmt.Fprintf(&b, "%-30s", f.name)
		for _, s := range snapshots {
			if n, ok := s[f.name]; ok {
				fmt.Fprintf(&b, " %10d", n)
			} else {
				fmt.Fprintf(&b, " %10s", "-")
			}
		}
		fmt.Fprintf(&b, " %8d\n", f.slack)
	}
	return b.String()
}

// Counter counts for one daemon.
type Counter struct {
	// Daemon is whose things are counted.
	Daemon *Daemon
	// Files are those of the last count in the run directory, by path without ids.
	Files map[string]int64

	instance string // under this name everything of the daemon is
	metrics  string // address of its metrics; empty: none
	ctr      string
}

// NewCounter returns a counter; metrics is the address of the daemon's metrics, empty
// for none.
func NewCounter(d *Daemon, metrics string) (*Counter, error) {
	bin, err := BinDir()
	if err != nil {
		return nil, err
	}
	instance := "sandgate-" + containerd.InstanceOf(filepath.Join(d.DataDir, "containerd"))
	return &Counter{Daemon: d, instance: instance, metrics: metrics, ctr: filepath.Join(bin, "ctr")}, nil
}

// Count takes a snapshot. An error may mean that something ended while it was counted.
func (c *Counter) Count(ctx context.Context) (Snapshot, error) {
	f := c.Daemon.Footprint()
	s := Snapshot{
		"cells": int64(f.Cells), "call cgroups": int64(f.CallGroups), "shims": int64(f.Shims), "inits": int64(f.Inits),
		"guests": int64(f.Guests), "network namespaces": int64(f.NetNS), "mounts": int64(f.Mounts),
		"cgroup directories": c.Cgroups(), "files in the run directory": 0,
	}
	c.Files = c.RunFiles()
	for _, n := range c.Files {
		s["files in the run directory"] += n
	}
	c.processes(s)
	return s, errors.Join(c.containers(ctx, s), c.disk(s), c.goroutines(ctx, s))
}

// Cgroups counts the daemon's groups in all hierarchies of both versions.
func (c *Counter) Cgroups() (n int64) {
	roots, _ := filepath.Glob("/sys/fs/cgroup/*/" + c.instance)
	for _, root := range append(roots, "/sys/fs/cgroup/"+c.instance) {
		_ = filepath.WalkDir(root, func(_ string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				n++
			}
			return nil
		})
	}
	return n
}

// ids are the parts of paths that are another for every cell and shim.
var ids = regexp.MustCompile(`c?[0-9a-f]{16,}`)

// RunFiles counts what is in the daemon's run directory, by path without ids.
func (c *Counter) RunFiles() map[string]int64 {
	dir := "/run/" + c.instance
	found := map[string]int64{}
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if rel, rerr := filepath.Rel(dir, path); err == nil && rerr == nil {
			found[ids.ReplaceAllString(rel, "ID")]++
		}
		return nil
	})
	return found
}

// processes counts what descends from the daemon, what is in its cgroups and
// its shims, and looks into the daemon's own programs.
func (c *Counter) processes(s Snapshot) {
	parents := map[int]int{}
	mine := map[int]bool{c.Daemon.PID(): true}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		dir := "/proc/" + e.Name()
		stat, err := os.ReadFile(dir + "/stat") //nolint:gosec // of /proc
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		var state string
		var parent int
		if _, err := fmt.Sscan(rest, &state, &parent); err != nil {
			continue
		}
		parents[pid] = parent
		cmdline, _ := os.ReadFile(dir + "/cmdline") //nolint:gosec // of /proc
		groups, _ := os.ReadFile(dir + "/cgroup")   //nolint:gosec // of /proc
		shim := strings.Contains(string(cmdline), c.instance) && strings.Contains(filepath.Base(strings.Split(string(cmdline), "\x00")[0]), "shim")
		if shim || strings.Contains(string(groups), "/"+c.instance+"/") || strings.Contains(string(groups), "/"+c.instance+"\n") {
			mine[pid] = true
		}
		if shim {
			s["files open in shims"] += openFiles(pid)
		}
		if state == "Z" && (mine[pid] || mine[parent]) {
			s["zombies"]++
		}
	}
	for changed := true; changed; {
		changed = false
		for pid, parent := range parents {
			if mine[parent] && !mine[pid] {
				mine[pid], changed = true, true
			}
		}
	}
	s["zombies"] += 0
	s["files open in shims"] += 0
	s["processes"] = int64(len(mine))
	s["files open in sandgated"] = openFiles(c.Daemon.PID())
	for pid := range mine {
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && filepath.Base(exe) == "containerd" {
			s["files open in containerd"] = openFiles(pid)
		}
	}
	if tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", c.Daemon.PID())); err == nil {
		s["threads of sandgated"] = int64(len(tasks))
	}
	if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.Daemon.PID())); err == nil {
		var size, resident int64
		if _, err := fmt.Sscan(string(data), &size, &resident); err == nil {
			s["resident KiB of sandgated"] = resident * int64(os.Getpagesize()) >> 10
		}
	}
}

// openFiles counts the open files of a process.
func openFiles(pid int) int64 {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return int64(len(entries))
}

// containers counts what the daemon's containerd knows, in all its namespaces.
func (c *Counter) containers(ctx context.Context, s Snapshot) error {
	socket := c.Daemon.ContainerdSocket()
	if socket == "" {
		return errors.New("the daemon's containerd was not found")
	}
	ctr := func(args ...string) ([]string, error) {
		out, err := exec.CommandContext(ctx, c.ctr, append([]string{"-a", socket}, args...)...).Output() //nolint:gosec // the pinned ctr
		if err != nil {
			return nil, fmt.Errorf("ctr %v: %w", args, err)
		}
		return strings.Fields(string(out)), nil
	}
	namespaces, err := ctr("namespaces", "ls", "-q")
	if err != nil {
		return err
	}
	for name, args := range map[string][]string{
		"containers": {"containers", "ls", "-q"}, "tasks": {"tasks", "ls", "-q"}, "leases": {"leases", "ls", "-q"},
	} {
		s[name] = 0
		for _, ns := range namespaces {
			ids, err := ctr(append([]string{"-n", ns}, args...)...)
			if err != nil {
				return err
			}
			s[name] += int64(len(ids))
		}
	}
	s["snapshots"] = 0
	for _, ns := range namespaces {
		out, err := exec.CommandContext(ctx, c.ctr, "-a", socket, "-n", ns, "snapshots", "ls").Output() //nolint:gosec // the pinned ctr
		if err != nil {
			return fmt.Errorf("ctr snapshots ls: %w", err)
		}
		s["snapshots"] += int64(strings.Count(string(out), "\n") - 1) // a heading
	}
	return nil
}

// disk adds up what the daemon's directory takes, but for the journal, which is
// there to grow.
func (c *Counter) disk(s Snapshot) error {
	var bytes int64
	err := filepath.WalkDir(c.Daemon.DataDir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case e.IsDir() && path == filepath.Join(c.Daemon.DataDir, "journal"):
			return fs.SkipDir
		}
		info, err := e.Info()
		if err == nil {
			bytes += info.Size()
		}
		return nil
	})
	s["disk in KiB, without journal"] = bytes >> 10
	return err
}

// goroutines asks the daemon's metrics, if it has them.
func (c *Counter) goroutines(ctx context.Context, s Snapshot) error {
	if c.metrics == "" {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.metrics+"/metrics", http.NoBody)
	if err != nil {
		return err
	}
	req.Close = true // the count must not keep a connection that it would count
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("read metrics: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read metrics: %w", err)
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, "go_goroutines "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				return fmt.Errorf("read metrics: go_goroutines: %w", err)
			}
			s["goroutines"] = int64(n)
			return nil
		}
	}
	return errors.New("the metrics have no go_goroutines")
}

// Rest waits until many snapshots in a row are alike in what may not differ, so
// that the daemon has done what it does behind calls.
func (c *Counter) Rest(t testing.TB, within time.Duration) Snapshot {
	t.Helper()
	var last Snapshot
	const steady = 20 // looks, longer than the sweep of idle cells is apart
	same := 0
	ok := Eventually(within, func() bool {
		time.Sleep(150 * time.Millisecond)
		now, err := c.Count(t.Context())
		if err != nil {
			return false // something ended while it was counted
		}
		alike := last != nil && now["guests"] == 0
		for _, f := range figures {
			if f.slack == 0 && last[f.name] != now[f.name] {
				alike = false
			}
		}
		last = now
		if same++; !alike {
			same = 0
		}
		return same >= steady
	})
	if !ok {
		t.Fatalf("the daemon does not come to rest within %v: %v", within, last)
	}
	return last
}
