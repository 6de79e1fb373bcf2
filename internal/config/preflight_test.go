package config

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func goodConfig(t *testing.T) Config {
	t.Helper()
	c, err := Load("", Overrides{DataDir: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPreflightLeavesNothingBehind(t *testing.T) {
	c := goodConfig(t)
	if err := c.Preflight(); err != nil {
		t.Fatalf("got %v, want nil", err)
	}
	if _, err := os.Stat(c.DataDir); !os.IsNotExist(err) {
		t.Errorf("data directory: got %v, want it not made", err)
	}
}

func TestPreflightNamesWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*testing.T, *Config)
		want   []string
	}{
		{"missing policy directory", func(_ *testing.T, c *Config) { c.Policy.Dir = "/does/not/exist" }, []string{"policy.dir", "/does/not/exist"}},
		{"policy file", func(_ *testing.T, c *Config) { c.Policy.Dir = file }, []string{"policy.dir", "no directory"}},
		{"missing tools directory", func(_ *testing.T, c *Config) { c.Tools.Dir = "/none" }, []string{"tools.dir"}},
		{"data directory is a file", func(_ *testing.T, c *Config) { c.DataDir = file }, []string{"data_dir", "no directory"}},
		{"data directory under a file", func(_ *testing.T, c *Config) { c.DataDir = file + "/x" }, []string{"data_dir"}},
		{"unwritable data directory", func(_ *testing.T, c *Config) { c.DataDir = "/proc/sandgate" }, []string{"data_dir", "/proc"}},
		{"socket path is a file", func(_ *testing.T, c *Config) { c.Listen.Unix.Path = file }, []string{"listen.unix.path", "no socket"}},
		{"unknown group", func(_ *testing.T, c *Config) { c.Listen.Unix.Group = "no-such-group-x" }, []string{"listen.unix.group"}},
		{"no containerd", func(_ *testing.T, c *Config) { c.Containerd.Address = "/none.sock" }, []string{"containerd.address"}},
		{"served socket", func(t *testing.T, c *Config) {
			c.Listen.Unix.Path = filepath.Join(t.TempDir(), "s")
			l, err := net.Listen("unix", c.Listen.Unix.Path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
		}, []string{"listen.unix.path", "served"}},
		{"used port", func(t *testing.T, c *Config) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			c.Listen.TCP.Address = l.Addr().String()
		}, []string{"listen.tcp.address", "in use"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := goodConfig(t)
			tt.change(t, &c)
			err := c.Preflight()
			if err == nil {
				t.Fatal("got no error")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("got %q, want %q in it", err, w)
				}
			}
		})
	}
}

func TestPreflightAcceptsStaleSocket(t *testing.T) {
	c := goodConfig(t)
	c.Listen.Unix.Path = filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: c.Listen.Unix.Path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Preflight(); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}
