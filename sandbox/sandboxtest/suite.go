package sandboxtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/sandbox"
)

// NewRuntime makes the Runtime under test. The suite closes nothing: whoever
// makes it registers that with t.Cleanup.
type NewRuntime func(t *testing.T) sandbox.Runtime

// Patience stretches the deadlines that the suite gives to calls that are to end
// by themselves, for machines that are slow. It has no part in what is asserted.
const patience = 60 * time.Second

var serial atomic.Int64

// Call is a call of bash that has ample limits and a name of its own. All of
// them share a session, so that the suite makes few cells.
func Call(script string) sandbox.Call {
	return sandbox.Call{
		ID:    fmt.Sprintf("suite-%d", serial.Add(1)),
		Argv:  []string{"bash", "-c", script},
		Env:   []string{"PATH=/usr/local/bin:/usr/bin:/bin"},
		Reuse: sandbox.ReuseSession, ReuseKey: "suite",
		Limits: sandbox.Limits{
			WallTime: patience, CPUMillis: 2000, MemoryBytes: 256 << 20, Pids: 128,
			OutputBytes: 1 << 20, DiskBytes: 32 << 20,
		},
	}
}

// mustRun runs a call that is to come to a Result.
func mustRun(t *testing.T, rt sandbox.Runtime, call sandbox.Call) sandbox.Result {
	t.Helper()
	res, err := rt.Run(t.Context(), call)
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	return res
}

// wantExit asserts EXITED with a code.
func wantExit(t *testing.T, res sandbox.Result, code int) {
	t.Helper()
	if res.Outcome != sandbox.OutcomeExited || res.ExitCode != code {
		t.Fatalf("ended as %s %d %s (%s), want EXITED %d; stderr %q",
			res.Outcome, res.ExitCode, res.Signal, res.Message, code, res.Stderr.Head)
	}
}

func wantOutcome(t *testing.T, res sandbox.Result, want sandbox.Outcome) {
	t.Helper()
	if res.Outcome != want {
		t.Fatalf("ended as %s %d %s (%s), want %s; stderr %q",
			res.Outcome, res.ExitCode, res.Signal, res.Message, want, res.Stderr.Head)
	}
	if want != sandbox.OutcomeExited && want != sandbox.OutcomeDiskLimit && want != sandbox.OutcomeOutOfMemory && res.ExitCode != -1 {
		t.Errorf("exit code %d with %s, want -1", res.ExitCode, want)
	}
}

type contractCase struct {
	name string
	run  func(t *testing.T, rt sandbox.Runtime)
}

func runCases(t *testing.T, newRuntime NewRuntime, cases []contractCase) {
	t.Helper()
	rt := newRuntime(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, rt) })
	}
}

// Run is the contract that every Runtime has to keep, Fake with a function that
// runs programs included.
func Run(t *testing.T, newRuntime NewRuntime) {
	t.Helper()
	runCases(t, newRuntime, []contractCase{
		{"exit codes", testExitCodes},
		{"bad calls are refused by name", testBadCalls},
		{"streams are kept apart", testStreams},
		{"stdin is echoed to its end", testStdinEcho},
		{"no stdin is an immediate end", testNoStdin},
		{"output is kept head and tail", testHeadAndTail},
		{"deadline", testDeadline},
		{"cancel", testCancel},
		{"cancelled before the start", testCancelledBefore},
		{"deadline of the caller", testCallersDeadline},
		{"observer is told in order", testObserver},
		{"nothing runs before it is ready", testReady},
		{"a call that is not to run does not", testReadyRefuses},
		{"cancelled while it was made ready", testReadyCancelled},
		{"steps leave no gap", testSteps},
		{"calls side by side", testConcurrent},
		{"unknown session ends without error", testEndUnknown},
	})
	t.Run("closed runtime refuses", func(t *testing.T) { testClosed(t, newRuntime(t)) })
}

func testExitCodes(t *testing.T, rt sandbox.Runtime) {
	for _, code := range []int{0, 1, 3, 124, 137, 255} { // 124 and 137 are its own: no time-out, no memory
		wantExit(t, mustRun(t, rt, Call(fmt.Sprintf("exit %d", code))), code)
	}
}

func testBadCalls(t *testing.T, rt sandbox.Runtime) {
	for want, spoil := range map[string]func(*sandbox.Call){
		"call id":      func(c *sandbox.Call) { c.ID = "../x" },
		"argv is":      func(c *sandbox.Call) { c.Argv = nil },
		"argv[2]":      func(c *sandbox.Call) { c.Argv[2] = "a\x00b" },
		"env[0]":       func(c *sandbox.Call) { c.Env = []string{"novalue"} },
		"cwd":          func(c *sandbox.Call) { c.Cwd = "relative" },
		"reuse":        func(c *sandbox.Call) { c.Reuse = "always" },
		"reuse key":    func(c *sandbox.Call) { c.ReuseKey = "" },
		"isolation":    func(c *sandbox.Call) { c.Isolation = "none" },
		"workspace":    func(c *sandbox.Call) { c.Workspace.HostDir = "/a/../b" },
		"wall_time_ms": func(c *sandbox.Call) { c.Limits.WallTime = 0 },
		"cpu_millis":   func(c *sandbox.Call) { c.Limits.CPUMillis = 0 },
		"memory_bytes": func(c *sandbox.Call) { c.Limits.MemoryBytes = 1 },
		"pids":         func(c *sandbox.Call) { c.Limits.Pids = -1 },
		"output_bytes": func(c *sandbox.Call) { c.Limits.OutputBytes = 0 },
		"disk_bytes":   func(c *sandbox.Call) { c.Limits.DiskBytes = 0 },
	} {
		call := Call("true")
		spoil(&call)
		if _, err := rt.Run(t.Context(), call); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an invalid argument naming %q", err, want)
		}
	}
}

func testStreams(t *testing.T, rt sandbox.Runtime) {
	res := mustRun(t, rt, Call("echo out; echo err >&2"))
	wantExit(t, res, 0)
	if string(res.Stdout.Head) != "out\n" || string(res.Stderr.Head) != "err\n" {
		t.Errorf("stdout %q, stderr %q, want out and err", res.Stdout.Head, res.Stderr.Head)
	}
}

func testStdinEcho(t *testing.T, rt sandbox.Runtime) {
	call := Call("cat")
	call.Stdin = strings.NewReader("hello\x00\xff\n")
	res := mustRun(t, rt, call)
	wantExit(t, res, 0)
	if string(res.Stdout.Head) != "hello\x00\xff\n" {
		t.Errorf("got %q, want what was sent", res.Stdout.Head)
	}
}

func testNoStdin(t *testing.T, rt sandbox.Runtime) {
	wantExit(t, mustRun(t, rt, Call("read x; exit $((10 + $?))")), 11) // read fails with 1 at the end of file
}

func testHeadAndTail(t *testing.T, rt sandbox.Runtime) {
	call := Call(`printf 'start'; head -c 1000000 /dev/zero | tr '\0' x; printf 'end'`)
	call.Limits.OutputBytes = 4096
	res := mustRun(t, rt, call)
	wantExit(t, res, 0)
	o := res.Stdout
	if o.TotalBytes != 1000008 || !o.Truncated() {
		t.Errorf("total %d, truncated %v, want 1000008 and true", o.TotalBytes, o.Truncated())
	}
	if n := len(o.Head) + len(o.Tail); n > 4096 || n < 2048 {
		t.Errorf("kept %d bytes, want up to 4096", n)
	}
	if !bytes.HasPrefix(o.Head, []byte("startxxx")) || !bytes.HasSuffix(o.Tail, []byte("xxxend")) {
		t.Errorf("head begins %.12q, tail ends %q", o.Head, o.Tail[max(0, len(o.Tail)-8):])
	}
}

func testDeadline(t *testing.T, rt sandbox.Runtime) {
	call := Call("echo before; sleep 1000")
	call.Limits.WallTime = 500 * time.Millisecond
	res := mustRun(t, rt, call)
	wantOutcome(t, res, sandbox.OutcomeTimedOut)
	if res.RunTime < call.Limits.WallTime || res.RunTime > patience/2 {
		t.Errorf("ran %v under a limit of %v", res.RunTime, call.Limits.WallTime)
	}
}

// starts closes its channel when the call runs.
type starts struct {
	once sync.Once
	c    chan struct{}
}

func (s *starts) Started(sandbox.Receipt)              { s.once.Do(func() { close(s.c) }) }
func (s *starts) Output(sandbox.Stream, int64, []byte) {}

func testCancel(t *testing.T, rt sandbox.Runtime) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	call, seen := Call("sleep 1000"), &starts{c: make(chan struct{})}
	call.Observer = seen
	go func() {
		<-seen.c
		cancel(errors.New("host went away"))
	}()
	res, err := rt.Run(ctx, call)
	if err != nil {
		t.Fatal(err)
	}
	wantOutcome(t, res, sandbox.OutcomeCancelled)
}

func testCancelledBefore(t *testing.T, rt sandbox.Runtime) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("too late"))
	res, err := rt.Run(ctx, Call("true"))
	if err != nil {
		t.Fatal(err)
	}
	wantOutcome(t, res, sandbox.OutcomeCancelled)
}

func testCallersDeadline(t *testing.T, rt sandbox.Runtime) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), 400*time.Millisecond, sandbox.ErrDeadline)
	defer cancel()
	res, err := rt.Run(ctx, Call("sleep 1000"))
	if err != nil {
		t.Fatal(err)
	}
	wantOutcome(t, res, sandbox.OutcomeTimedOut)
}

// recorder notes what an observer is told.
type recorder struct {
	starts int
	early  bool
	next   map[sandbox.Stream]int64
	back   bool
	bytes  map[sandbox.Stream]*bytes.Buffer
}

func (r *recorder) Started(sandbox.Receipt) { r.starts++ }

func (r *recorder) Output(s sandbox.Stream, offset int64, data []byte) {
	r.early = r.early || r.starts == 0
	r.back = r.back || offset < r.next[s]
	r.next[s] = offset + int64(len(data))
	if r.bytes[s] == nil {
		r.bytes[s] = &bytes.Buffer{}
	}
	_, _ = r.bytes[s].Write(data) // never fails
}

func testObserver(t *testing.T, rt sandbox.Runtime) {
	rec := &recorder{next: map[sandbox.Stream]int64{}, bytes: map[sandbox.Stream]*bytes.Buffer{}}
	call := Call("for i in 1 2 3; do echo $i; echo e$i >&2; done")
	call.Observer = rec
	res := mustRun(t, rt, call)
	wantExit(t, res, 0)
	if rec.starts != 1 || rec.early || rec.back {
		t.Errorf("started %d times, output before it %v, offsets going back %v: want 1, false, false", rec.starts, rec.early, rec.back)
	}
	if got := rec.bytes[sandbox.Stdout].String(); got != "1\n2\n3\n" || got != string(res.Stdout.Head) {
		t.Errorf("observed %q, result %q, want 1 to 3 in both", got, res.Stdout.Head)
	}
}

func testConcurrent(t *testing.T, rt sandbox.Runtime) {
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			want := fmt.Sprintf("%d-%d", i, rand.Int64()) //nolint:gosec // a mark, not a secret
			call := Call("read x; echo $x; exit " + fmt.Sprint(i))
			call.Stdin = io.MultiReader(strings.NewReader(want), strings.NewReader("\n"))
			res, err := rt.Run(t.Context(), call)
			if err != nil || res.ExitCode != i || string(res.Stdout.Head) != want+"\n" {
				t.Errorf("call %d: got %s %d %q, %v, want EXITED %d %q", i, res.Outcome, res.ExitCode, res.Stdout.Head, err, i, want)
			}
		})
	}
	wg.Wait()
}

func testEndUnknown(t *testing.T, rt sandbox.Runtime) {
	if err := rt.EndSession(t.Context(), "nobody"); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

func testClosed(t *testing.T, rt sandbox.Runtime) {
	if err := rt.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := rt.Ready(t.Context()); !errdefs.IsUnavailable(err) {
		t.Errorf("ready: got %v, want unavailable", err)
	}
	if _, err := rt.Run(t.Context(), Call("true")); !errdefs.IsUnavailable(err) {
		t.Errorf("run: got %v, want unavailable", err)
	}
}
