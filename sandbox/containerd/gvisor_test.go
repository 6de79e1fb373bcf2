package containerd_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/containerd"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

// gvisorConfig is a sandbox with gVisor as an isolation class.
func gvisorConfig(tb testing.TB) containerd.Config {
	tb.Helper()
	requireRoot(tb)
	if os.Getenv("SANDGATE_CGROUP2_GUEST") != "" {
		tb.Skip("gVisor wants a processor of its own, not an emulated one")
	}
	cfg := testConfig(tb)
	cfg.PoolSize = 1
	cfg.Runtimes = map[sandbox.Isolation]containerd.RuntimeClass{sandbox.IsolationGVisor: {}}
	if _, err := os.Stat(filepath.Join(binDir, "runsc")); err != nil {
		tb.Fatalf("%v: run make runtimes", err)
	}
	return cfg
}

func TestContractInGVisor(t *testing.T) {
	sandboxtest.Run(t, func(t *testing.T) sandbox.Runtime { return inGVisor{start(t, gvisorConfig(t))} })
}

func TestIsolationInGVisor(t *testing.T) {
	sandboxtest.RunIsolation(t, func(t *testing.T) sandbox.Runtime { return inGVisor{start(t, gvisorConfig(t))} })
}

// inGVisor runs the calls of a suite in gVisor.
type inGVisor struct{ *containerd.Runtime }

func (r inGVisor) Run(ctx context.Context, call sandbox.Call) (sandbox.Result, error) {
	if call.Isolation == "" {
		call.Isolation = sandbox.IsolationGVisor
		// Less than this is refused: see TestGVisorWantsMemoryForItself.
		if call.Limits.MemoryBytes == 48<<20 {
			call.Limits.MemoryBytes = 64 << 20
		}
	}
	return r.Runtime.Run(ctx, call)
}

// gvisorCall has room for gVisor's own kernel.
func gvisorCall(script string) sandbox.Call {
	call := bashCall(script)
	call.Isolation, call.Reuse, call.ReuseKey = sandbox.IsolationGVisor, sandbox.ReuseSession, "gvisor"
	return call
}

func TestGVisorShowsItselfAndLeavesNothing(t *testing.T) {
	cfg := gvisorConfig(t)
	r, err := containerd.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	closeIt := func() {
		if !closed {
			closed = true
			if err := r.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	}
	t.Cleanup(closeIt)
	waitReady(t, r)
	// As many threads as the call has, its first one counted, and no more.
	res, err := r.Run(t.Context(), gvisorCall(`uname -r; python3 -c '
import threading
stop = threading.Event()
n = 1
try:
    for _ in range(200):
        threading.Thread(target=stop.wait).start()
        n += 1
except RuntimeError:
    pass
print(n)
stop.set()'`))
	if err != nil {
		t.Fatal(err)
	}
	if want := "4.19.0-gvisor\n64\n"; res.Outcome != sandbox.OutcomeExited || string(res.Stdout.Head) != want {
		t.Errorf("got %s %q, %q on stderr, want %q", res.Outcome, res.Stdout.Head, res.Stderr.Head, want)
	}
	rec := res.Receipt
	if rec.Isolation != sandbox.IsolationGVisor || !strings.HasPrefix(rec.Runtime, "runsc ") || strings.Contains(rec.Runtime, "MISSING") {
		t.Errorf("receipt of %s by %q, want runsc with its version", rec.Isolation, rec.Runtime)
	}
	for _, name := range []string{"pids", "no_new_privs", "seccomp_mode", "cap_effective", "namespaces", "uid"} {
		if !slices.Contains(rec.Unverified, name) {
			t.Errorf("receipt has %s as verified, which the machine cannot see: %v", name, rec.Unverified)
		}
	}
	for _, name := range []string{"memory_bytes", "cpu_millis"} {
		if slices.Contains(rec.Unverified, name) {
			t.Errorf("receipt has %s as not verified, which the kernel shows", name)
		}
	}
	if rec.HostUID < 1000 || rec.Enforced["pids"] != 64 || rec.Enforced["memory_bytes"] != 128<<20 {
		t.Errorf("uid %d of the machine, enforced %v: want an unprivileged user, 64 pids, 128 MiB", rec.HostUID, rec.Enforced)
	}
	if res.Usage.PidsPeak != -1 || res.Usage.PidsLimitHits != -1 {
		t.Errorf("usage %+v: want no count of pids, which nobody has", res.Usage)
	}
	wantGVisorBinds(t, r)
	closeIt()
	if left := stays(t, cfg.DataDir); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

// wantGVisorBinds waits until the runtime has tried gVisor.
func wantGVisorBinds(t *testing.T, r *containerd.Runtime) {
	t.Helper()
	var last sandbox.Control
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		caps, err := r.Capabilities(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range caps.Controls {
			if c.Name == "isolation_gvisor" {
				last = c
			}
		}
		if last.Binds {
			return
		}
	}
	t.Errorf("control %+v, want it seen to bind", last)
}

func TestGVisorWantsMemoryForItself(t *testing.T) {
	r := start(t, gvisorConfig(t))
	call := gvisorCall("true")
	call.Limits.MemoryBytes = 48 << 20
	_, err := r.Run(t.Context(), call)
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "memory_bytes") || !strings.Contains(err.Error(), "67108864") {
		t.Errorf("got %v, want a refusal that names the limit and the least", err)
	}
}

func TestGVisorThatIsNotThereIsToldAndRefused(t *testing.T) {
	cfg := gvisorConfig(t)
	cfg.Runtimes[sandbox.IsolationGVisor] = containerd.RuntimeClass{Binary: "/nonexistent/runsc"}
	r := start(t, cfg)
	if _, err := r.Run(t.Context(), gvisorCall("true")); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "runsc") {
		t.Errorf("got %v, want a failed precondition that names runsc", err)
	}
	caps, err := r.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(caps.Controls, func(c sandbox.Control) bool { return c.Name == "isolation_gvisor" })
	if i < 0 || caps.Controls[i].Binds || caps.Controls[i].Remedy == "" {
		t.Errorf("controls %+v: want gVisor as one that does not bind, with a remedy", caps.Controls)
	}
}

// BenchmarkGVisorCall is `bash -c true` in a session's cell. With a pause the next
// stage is ready before it is wanted, as mostly between the calls of an agent.
func BenchmarkGVisorCall(b *testing.B) {
	r := start(b, gvisorConfig(b))
	for name, pause := range map[string]time.Duration{"back to back": 0, "after a pause": 30 * time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			took, steps := make([]time.Duration, 0, b.N), map[string]time.Duration{}
			for b.Loop() {
				time.Sleep(pause) // the load that is measured
				began := time.Now()
				res, err := r.Run(b.Context(), gvisorCall("true"))
				if err != nil || res.Outcome != sandbox.OutcomeExited {
					b.Fatalf("got %s, %v", res.Outcome, err)
				}
				took = append(took, time.Since(began))
				for _, s := range res.Steps {
					steps[s.Name] += s.Took
				}
			}
			for name, all := range steps {
				b.ReportMetric(float64(all.Microseconds())/1e3/float64(len(took)), name+"-ms")
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1e3, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1e3, "p99-ms")
		})
	}
}

// TestGVisorStaysOnOneProcessorUnlessItMayUseMore: all threads of a cell are on one
// processor from its start, unless its call may use more than one.
func TestGVisorStaysOnOneProcessorUnlessItMayUseMore(t *testing.T) {
	if runtime.NumCPU() == 1 {
		t.Skip("the machine has one processor")
	}
	cfg := gvisorConfig(t)
	r := start(t, cfg)
	for _, millis := range []int64{1000, 2000} {
		call := gvisorCall("true")
		call.ID, call.ReuseKey, call.Limits.CPUMillis = fmt.Sprint("on-", millis), fmt.Sprint(millis), millis
		if res, err := r.Run(t.Context(), call); err != nil || res.Outcome != sandbox.OutcomeExited {
			t.Fatalf("%d: %s %q, %v", millis, res.Outcome, res.Message, err)
		}
		narrow, wide := gvisorThreads(t, cfg)
		if narrow == 0 || millis <= 1000 && wide != 0 || millis > 1000 && wide == 0 {
			t.Errorf("after a call with %d thousandths of a processor: %d threads on one processor, %d on more", millis, narrow, wide)
		}
	}
}

// gvisorThreads counts the threads of gVisor's processes that are on one processor,
// and those that are on more.
func gvisorThreads(t *testing.T, cfg containerd.Config) (narrow, wide int) {
	t.Helper()
	for _, pid := range cellProcesses(t, cfg) {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || !strings.Contains(string(name), "runsc") {
			continue // of another cell, or gone
		}
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			_, rest, ok := strings.Cut(string(text), "\nCpus_allowed_list:")
			switch {
			case err != nil || !ok: // it has ended
			case strings.ContainsAny(strings.Fields(rest)[0], "-,"):
				wide++
			default:
				narrow++
			}
		}
	}
	return narrow, wide
}

func TestSignalsInGVisor(t *testing.T) {
	sandboxtest.RunSignals(t, func(t *testing.T) sandbox.Runtime { return inGVisor{start(t, gvisorConfig(t))} })
}

// TestGVisorRefusesTerminals before anything of the call is made.
func TestGVisorRefusesTerminals(t *testing.T) {
	r := start(t, gvisorConfig(t))
	call := gvisorCall("true")
	call.Terminal = &sandbox.TerminalSize{Rows: 24, Cols: 80}
	if _, err := r.Run(t.Context(), call); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "terminal") {
		t.Errorf("got %v, want a failed precondition that names the terminal", err)
	}
}
