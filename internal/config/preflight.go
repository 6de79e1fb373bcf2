package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// dialTimeout bounds the question whether somebody serves the socket.
const dialTimeout = time.Second

// Preflight asks the machine whether a daemon with this configuration could
// start: directories are there and writable, the group exists, socket and port
// are free. It leaves nothing behind. All that is wrong is in the error.
func (c *Config) Preflight() error {
	errs := []error{
		creatable("data_dir", c.DataDir),
		creatable("journal.path", filepath.Dir(c.Journal.Path)),
		creatable("listen.unix.path", filepath.Dir(c.Listen.Unix.Path)),
		SocketFree("listen.unix.path", c.Listen.Unix.Path),
	}
	for _, d := range []struct{ key, path string }{
		{"policy.dir", c.Policy.Dir}, {"containerd.bin_dir", c.Containerd.BinDir}, {"tools.dir", c.Tools.Dir},
	} {
		if d.path != "" {
			errs = append(errs, readableDir(d.key, d.path))
		}
	}
	if _, err := c.Listen.Unix.GroupID(); err != nil {
		errs = append(errs, err)
	}
	if c.Containerd.Address != "" {
		if st, err := os.Stat(c.Containerd.Address); err != nil || st.Mode().Type() != fs.ModeSocket {
			errs = append(errs, fmt.Errorf("containerd.address: %s is no socket: start containerd, or leave the key out for a private one", c.Containerd.Address))
		}
	}
	if c.Listen.TCP.Address != "" {
		errs = append(errs, portFree("listen.tcp.address", c.Listen.TCP.Address))
	}
	if path, ok := c.Metrics.Socket(); ok {
		errs = append(errs, creatable("metrics.address", filepath.Dir(path)), SocketFree("metrics.address", path))
	} else if c.Metrics.Address != "" {
		errs = append(errs, portFree("metrics.address", c.Metrics.Address))
	}
	return errors.Join(errs...)
}

// GroupID returns the number of the configured group, or -1 when none is configured.
func (u Unix) GroupID() (int, error) {
	if u.Group == "" {
		return -1, nil
	}
	if id, err := strconv.Atoi(u.Group); err == nil && id >= 0 {
		return id, nil
	}
	g, err := user.LookupGroup(u.Group)
	if err != nil {
		return 0, fmt.Errorf("listen.unix.group: %q: there is no such group", u.Group)
	}
	id, err := strconv.Atoi(g.Gid)
	if err != nil {
		return 0, fmt.Errorf("listen.unix.group: %q has the id %q: want a number", u.Group, g.Gid)
	}
	return id, nil
}

// FileMode returns Mode as permission bits; Validate has seen that it is octal.
func (u Unix) FileMode() (fs.FileMode, error) {
	mode, err := strconv.ParseUint(u.Mode, 8, 32)
	if err != nil {
		return 0, fmt.Errorf("listen.unix.mode: %w", err)
	}
	return fs.FileMode(mode) & fs.ModePerm, nil
}

// SocketFree reports an error when something else than a stale socket is at
// path, or when a process serves it; key is what names it in the configuration.
func SocketFree(key, path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if st.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s: %s exists and is no socket: remove it or choose another path", key, path)
	}
	conn, err := net.DialTimeout("unix", path, dialTimeout)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err == nil {
		_ = conn.Close()
	}
	return fmt.Errorf("%s: %s is served by a running process: stop that daemon or choose another path", key, path)
}

// creatable reports whether a directory is there and writable or could be made,
// by making and removing one: the permission bits alone do not tell it.
func creatable(key, dir string) error {
	for at := dir; ; at = filepath.Dir(at) {
		st, err := os.Stat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && at != "/":
			continue
		case err != nil:
			return fmt.Errorf("%s: %w", key, err)
		case !st.IsDir():
			return fmt.Errorf("%s: %s is no directory", key, at)
		}
		probe, err := os.MkdirTemp(at, ".sandgate-probe-")
		if err == nil {
			err = os.Remove(probe)
		}
		switch {
		case err == nil:
		case at == dir:
			return fmt.Errorf("%s: %s is not writable for uid %d: %w", key, dir, os.Getuid(), err)
		default:
			return fmt.Errorf("%s: %s cannot be made: %s is not writable for uid %d: %w", key, dir, at, os.Getuid(), err)
		}
		return nil
	}
}

func readableDir(key, dir string) error {
	entries, err := os.Open(dir) //nolint:gosec // the operator names his own directory
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	defer entries.Close() //nolint:errcheck // only read
	if st, err := entries.Stat(); err != nil || !st.IsDir() {
		return fmt.Errorf("%s: %s is no directory", key, dir)
	}
	return nil
}

func portFree(key, addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return l.Close()
}
