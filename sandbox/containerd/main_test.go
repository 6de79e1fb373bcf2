package containerd_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/containerd"
)

// binDir has containerd, its shim, runc and sandgate-init; set by TestMain when
// root tests are asked for.
var binDir string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if os.Getenv("SANDGATE_ROOT_TESTS") != "1" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("/tmp", "sg-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	if err := collectBinaries(dir); err != nil {
		fmt.Fprintln(os.Stderr, "root tests:", err)
		return 1
	}
	binDir = dir
	return m.Run()
}

// collectBinaries links the runtimes into dir and builds the tree's own: a test
// must not run older ones.
func collectBinaries(dir string) error {
	root, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	from := os.Getenv("SANDGATE_BIN_DIR")
	if from == "" {
		from = filepath.Join(root, "bin")
	}
	for _, name := range []string{"containerd", "containerd-shim-runc-v2", "runc", "runsc"} {
		if err := os.Symlink(filepath.Join(from, name), filepath.Join(dir, name)); err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("%w: run make runtimes, or set SANDGATE_BIN_DIR", err)
		}
	}
	// A guest is too slow to build; who gives a directory means what is in it, and
	// may have no sandgate-shim.
	if os.Getenv("SANDGATE_BIN_DIR") != "" || os.Getenv("SANDGATE_CGROUP2_GUEST") != "" {
		if _, err := os.Stat(filepath.Join(from, "sandgate-shim")); err == nil {
			if err := os.Symlink(filepath.Join(from, "sandgate-shim"), filepath.Join(dir, "sandgate-shim")); err != nil {
				return err
			}
		}
		return os.Symlink(filepath.Join(from, "sandgate-init"), filepath.Join(dir, "sandgate-init"))
	}
	build := exec.Command("go", "build", "-o", dir+"/", "./cmd/sandgate-init", "./cmd/sandgate-shim")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build sandgate-init: %w: %s", err, out)
	}
	return nil
}

func requireRoot(tb testing.TB) {
	tb.Helper()
	if os.Getenv("SANDGATE_ROOT_TESTS") != "1" {
		tb.Skip("needs root and containerd: set SANDGATE_ROOT_TESTS=1")
	}
}

// testConfig is a sandbox of its own, small and short-lived.
func testConfig(tb testing.TB) containerd.Config {
	tb.Helper()
	cfg := containerd.Config{
		DataDir: tb.TempDir(), BinDir: binDir, PoolSize: 2, MaxCells: 12,
		Logger: slog.New(slog.NewTextHandler(&tbWriter{tb: tb}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if os.Getenv("SANDGATE_CGROUP2_GUEST") != "" {
		cfg.PoolSize = 1 // to make and to remove a cell takes seconds under emulation
	}
	return cfg
}

type tbWriter struct{ tb testing.TB }

func (w *tbWriter) Write(p []byte) (int, error) {
	w.tb.Logf("%s", p)
	return len(p), nil
}

// start runs a Runtime until the test ends, and waits until it is ready.
func start(tb testing.TB, cfg containerd.Config) *containerd.Runtime {
	tb.Helper()
	requireRoot(tb)
	r, err := containerd.New(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	waitReady(tb, r)
	return r
}

func waitReady(tb testing.TB, r sandbox.Runtime) {
	tb.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := r.Ready(tb.Context())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("not ready: %v", err)
		}
		time.Sleep(10 * time.Millisecond) // polls a condition, does not stand for it
	}
}

func bashCall(script string) sandbox.Call {
	return sandbox.Call{
		ID: "t1", Argv: []string{"bash", "-c", script},
		Limits: sandbox.Limits{
			WallTime: 20 * time.Second, CPUMillis: 2000, MemoryBytes: 128 << 20, Pids: 64,
			OutputBytes: 64 << 10, DiskBytes: 16 << 20,
		},
	}
}
