package abuse

import (
	"os"
	"strings"
	"testing"
	"time"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// daemonConfig gives every abuse a wide output_total, so that the end of a
// flood is the deadline, and small pids and memory.
const daemonConfig = `
ceiling: {output_total: 1024GiB, wall_time: 10m, output: 32MiB}
defaults: {output_total: 1024GiB, memory: 128MiB, pids: 64, wall_time: 30s, output: 1MiB, disk: 64MiB, file: 64MiB}
pool: {idle: 2, idle_timeout: 1s}
`

var shared struct {
	daemon *daemontest.Daemon
	idle   daemontest.Footprint
}

func TestMain(m *testing.M) {
	code := m.Run()
	if d := shared.daemon; d != nil {
		if err := d.Stop(); err != nil {
			println("stop the daemon:", err.Error())
			code = 1
		}
		if err := os.RemoveAll(d.DataDir); err != nil {
			println("remove the data directory:", err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

// daemon returns the one daemon of these tests and checks, when the test has
// ended, that the abuse left nothing behind and that the next call works.
func daemon(t *testing.T) *daemontest.Daemon {
	t.Helper()
	daemontest.RequireRoot(t)
	if shared.daemon == nil {
		d, err := daemontest.Launch(t.Context(), daemonConfig)
		if err != nil {
			t.Fatalf("start the daemon: %v", err)
		}
		shared.daemon = d
		run(t, d, "true")
		shared.idle = settle(d)
	}
	d := shared.daemon
	t.Cleanup(func() {
		d.WaitFootprint(t, shared.idle, 20*time.Second)
		if r := run(t, d, "echo next"); r.GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED || daemontest.Text(r.GetStdout()) != "next\n" {
			t.Errorf("the next call: got %v %q, want EXITED \"next\\n\"", r.GetOutcome(), daemontest.Text(r.GetStdout()))
		}
		if t.Failed() {
			t.Logf("end of the daemon's log:\n%s", d.LogTail(8))
		}
	})
	return d
}

// settle waits until the pool is full and nothing changes any more, and returns
// what an idle daemon has on the machine.
func settle(d *daemontest.Daemon) daemontest.Footprint {
	last := d.Footprint()
	stable := 0
	daemontest.Eventually(30*time.Second, func() bool {
		time.Sleep(100 * time.Millisecond)
		now := d.Footprint()
		if now == last && now.Cells >= 2 {
			stable++
		} else {
			stable = 0
		}
		last = now
		return stable >= 10
	})
	return last
}

// run runs a bash command under the profile in which the cage is the only limit.
func run(t *testing.T, d *daemontest.Daemon, command string, opts ...daemontest.Option) *sandgatev1.Result {
	t.Helper()
	return d.Execute(t, daemontest.Bash(command, append([]daemontest.Option{daemontest.Profile("open")}, opts...)...))
}

func wantOutcome(t *testing.T, r *sandgatev1.Result, want sandgatev1.Outcome) {
	t.Helper()
	if r.GetOutcome() != want {
		t.Errorf("outcome: got %v (exit %d, signal %q, message %q), want %v\nstdout: %.600s\nstderr: %.600s", r.GetOutcome(),
			r.GetExitCode(), r.GetSignal(), r.GetMessage(), want, daemontest.Text(r.GetStdout()), daemontest.Text(r.GetStderr()))
	}
}

func wantStdout(t *testing.T, r *sandgatev1.Result, want string) {
	t.Helper()
	if got := daemontest.Text(r.GetStdout()); got != want {
		t.Errorf("stdout: got %.600q, want %q (stderr %.600q)", got, want, daemontest.Text(r.GetStderr()))
	}
}

// python runs a program through python3, which the host image has.
func python(t *testing.T, d *daemontest.Daemon, program string, opts ...daemontest.Option) *sandgatev1.Result {
	t.Helper()
	return run(t, d, "python3 - <<'EOF'\n"+strings.TrimSpace(program)+"\nEOF\n", opts...)
}
