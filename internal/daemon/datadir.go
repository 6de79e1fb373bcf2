package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Names in the data directory.
const (
	lockFile      = "lock"
	sessionsDir   = "sessions"
	containerdDir = "containerd"
)

func (d *Daemon) path(name string) string { return filepath.Join(d.cfg.DataDir, name) }

// takeDataDir makes the data directory and takes it for this process alone.
func (d *Daemon) takeDataDir() error {
	gid, err := d.cfg.Listen.Unix.GroupID()
	if err != nil {
		return err
	}
	if err := makeDataDir(d.cfg.DataDir, gid); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	for _, dir := range []string{filepath.Dir(d.cfg.Journal.Path), filepath.Dir(d.cfg.SocketPath())} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	lock, err := os.OpenFile(d.path(lockFile), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(lock.Name()) // only for the message
		_ = lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("data_dir: %s is used by a running daemon (pid %s): stop it or choose another directory",
				d.cfg.DataDir, strings.TrimSpace(string(holder)))
		}
		return fmt.Errorf("data_dir: lock %s: %w", lock.Name(), err)
	}
	d.later("data directory", func(context.Context) error { return lock.Close() })
	if err := lock.Truncate(0); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	if _, err := lock.WriteAt([]byte(fmt.Sprintln(os.Getpid())), 0); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	return nil
}

// makeDataDir makes the directory with mode 0750 if it is missing, and gives it
// to the group that may reach the socket in it. What is inside is for the
// daemon alone.
func makeDataDir(dir string, gid int) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // parents of ours are like any other directory
		return err
	}
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if gid < 0 {
		return nil
	}
	if err := os.Chown(dir, -1, gid); err != nil {
		return err
	}
	return os.Chmod(dir, 0o750) //nolint:gosec // the group has to reach the socket
}
