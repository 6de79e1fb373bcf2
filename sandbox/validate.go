package sandbox

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/containerd/errdefs"
)

// Bounds of what Validate accepts.
const (
	maxIDBytes     = 128
	minMemoryBytes = 4 << 20
	maxArgvBytes   = 960 << 10 // argv and env together; a message to a cell and the kernel take a little more
)

// Validate reports what is wrong with the call, wrapping
// errdefs.ErrInvalidArgument. Every Runtime checks with it before anything else.
func (c *Call) Validate() error {
	if err := validateID(c.ID); err != nil {
		return invalid("call id %q: %v", c.ID, err)
	}
	switch c.Isolation {
	case "", IsolationRunc, IsolationGVisor:
	default:
		return invalid("isolation %q: want %q or %q", c.Isolation, IsolationRunc, IsolationGVisor)
	}
	switch c.Reuse {
	case "", ReuseNever:
	case ReuseSession, ReuseCaller:
		if c.ReuseKey == "" {
			return invalid("reuse %q needs a reuse key", c.Reuse)
		}
	default:
		return invalid("reuse %q: want %q, %q or %q", c.Reuse, ReuseNever, ReuseSession, ReuseCaller)
	}
	if err := c.validateProgram(); err != nil {
		return err
	}
	if d := c.Workspace.HostDir; d != "" && (!path.IsAbs(d) || path.Clean(d) != d || strings.ContainsRune(d, 0)) {
		return invalid("workspace directory %q: want a clean absolute path", d)
	}
	if c.Workspace.Transaction && c.Workspace.ReadOnly {
		return invalid("the workspace is read-only and transactional: want one of the two")
	}
	if err := validateMounts(c.Mounts); err != nil {
		return err
	}
	return c.Limits.validate()
}

func (c *Call) validateProgram() error {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return invalid("argv is empty: want a program and its arguments")
	}
	total := 0
	for i, a := range c.Argv {
		if strings.ContainsRune(a, 0) {
			return invalid("argv[%d] contains a NUL byte", i)
		}
		total += len(a) + 1
	}
	for i, e := range c.Env {
		key, _, ok := strings.Cut(e, "=")
		if !ok || key == "" || strings.ContainsRune(e, 0) {
			return invalid("env[%d]: want NAME=value without NUL bytes", i)
		}
		total += len(e) + 1
	}
	if total > maxArgvBytes {
		return invalid("argv and env are %d bytes: at most %d", total, maxArgvBytes)
	}
	if c.Cwd != "" && (!path.IsAbs(c.Cwd) || strings.ContainsRune(c.Cwd, 0)) {
		return invalid("cwd %q: want an absolute path inside the cell", c.Cwd)
	}
	return nil
}

func (l *Limits) validate() error {
	for _, f := range []struct {
		name string
		got  int64
		min  int64
	}{
		{"wall_time_ms", int64(l.WallTime / time.Millisecond), 1},
		{"cpu_millis", l.CPUMillis, 1},
		{"memory_bytes", l.MemoryBytes, minMemoryBytes},
		{"pids", l.Pids, 1},
		{"output_bytes", l.OutputBytes, 1},
		{"output_total_bytes", l.OutputTotalBytes, 0},
		{"disk_bytes", l.DiskBytes, 1},
		{"file_bytes", l.FileBytes, 0},
		{"open_files", l.OpenFiles, 0},
	} {
		if f.got < f.min {
			return invalid("limit %s is %d: want at least %d", f.name, f.got, f.min)
		}
	}
	return nil
}

func validateID(id string) error {
	if id == "" || len(id) > maxIDBytes {
		return fmt.Errorf("want 1 to %d characters", maxIDBytes)
	}
	for _, r := range id {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)
		if !ok {
			return fmt.Errorf("want only [A-Za-z0-9._-]")
		}
	}
	if id == "." || id == ".." {
		return fmt.Errorf("want a name, not a path element")
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errdefs.ErrInvalidArgument)...)
}
