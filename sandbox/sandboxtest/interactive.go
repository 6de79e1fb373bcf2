package sandboxtest

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/sandgate/sandgate/sandbox"
)

// RunSignals is the contract of signals, for every Runtime that has real processes.
func RunSignals(t *testing.T, newRuntime NewRuntime) {
	t.Helper()
	runCases(t, newRuntime, []contractCase{{"signals reach the program", testSignals}})
}

// RunInteractive is the contract of signals and terminals.
func RunInteractive(t *testing.T, newRuntime NewRuntime) {
	t.Helper()
	runCases(t, newRuntime, []contractCase{
		{"signals reach the program", testSignals},
		{"a terminal is the program's", testTerminal},
		{"a terminal changes its size", testResize},
		{"job control", testJobControl},
		{"what keeps a terminal open dies with the call", testTerminalLeftOpen},
		{"a terminal's output is bounded", testTerminalFlood},
	})
}

// Talk is a call that a test talks to.
type Talk struct {
	Stdin  io.WriteCloser
	Inputs chan<- sandbox.Input

	t     *testing.T
	ended chan struct{}
	res   sandbox.Result
	err   error

	mu   sync.Mutex
	more chan struct{} // closed when there is more
	out  []byte
	seen int
}

// Start runs a call with a stdin and inputs; all of its stdout is seen.
func Start(t *testing.T, rt sandbox.Runtime, call sandbox.Call) *Talk {
	t.Helper()
	r, w := io.Pipe()
	inputs := make(chan sandbox.Input)
	k := &Talk{Stdin: w, Inputs: inputs, t: t, ended: make(chan struct{}), more: make(chan struct{})}
	call.Stdin, call.Control, call.Live, call.Observer = r, inputs, true, k
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil); <-k.ended })
	go func() {
		defer close(k.ended)
		k.res, k.err = rt.Run(ctx, call)
		_ = r.Close() // never fails
	}()
	return k
}

// Started implements sandbox.Observer.
func (k *Talk) Started(sandbox.Receipt) {}

// Output implements sandbox.Observer.
func (k *Talk) Output(stream sandbox.Stream, _ int64, data []byte) {
	if stream != sandbox.Stdout {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.out = append(k.out, data...)
	close(k.more)
	k.more = make(chan struct{})
}

// Want waits for text behind what was waited for before.
func (k *Talk) Want(text string) {
	k.t.Helper()
	guard := time.After(patience)
	for {
		k.mu.Lock()
		at, more := bytes.Index(k.out[k.seen:], []byte(text)), k.more
		if at >= 0 {
			k.seen += at + len(text)
		}
		rest := string(k.out[k.seen:])
		k.mu.Unlock()
		if at >= 0 {
			return
		}
		select {
		case <-more:
		case <-k.ended:
			k.t.Fatalf("the call ended (%s %d %s, %v) without %q; rest %q", k.res.Outcome, k.res.ExitCode, k.res.Message, k.err, text, rest)
		case <-guard:
			k.t.Fatalf("no %q; rest %q", text, rest)
		}
	}
}

// Say writes to stdin.
func (k *Talk) Say(text string) {
	k.t.Helper()
	if _, err := io.WriteString(k.Stdin, text); err != nil {
		k.t.Fatal(err)
	}
}

// Do sends an input.
func (k *Talk) Do(in sandbox.Input) {
	k.t.Helper()
	select {
	case k.Inputs <- in:
	case <-k.ended:
		k.t.Fatalf("the call ended before: %s, %v", k.res.Outcome, k.err)
	}
}

// End waits for the end of the call.
func (k *Talk) End() sandbox.Result {
	k.t.Helper()
	<-k.ended
	if k.err != nil {
		k.t.Fatalf("run: %v", k.err)
	}
	return k.res
}

func onTerminal(call sandbox.Call) sandbox.Call {
	call.Terminal = &sandbox.TerminalSize{Rows: 30, Cols: 100}
	call.Env = append(call.Env, "TERM=xterm", "PS1=> ")
	return call
}

func testSignals(t *testing.T, rt sandbox.Runtime) {
	k := Start(t, rt, Call(`trap 'echo one' USR1; trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done`))
	k.Want("ready")
	k.Do(sandbox.Input{Signal: "SIGUSR1"})
	k.Want("one")
	k.Do(sandbox.Input{Signal: "SIGTERM"})
	wantExit(t, k.End(), 9)
	k = Start(t, rt, Call("echo ready; sleep 1000; echo no"))
	k.Want("ready")
	k.Do(sandbox.Input{Signal: "SIGKILL"})
	res := k.End()
	wantOutcome(t, res, sandbox.OutcomeSignaled)
	if res.Signal != "SIGKILL" {
		t.Errorf("ended by %s, want SIGKILL", res.Signal)
	}
}

func testTerminal(t *testing.T, rt sandbox.Runtime) {
	res := mustRun(t, rt, onTerminal(Call("test -t 0 && test -t 1 && test -t 2 && tty && stty size && : </dev/tty && echo $TERM >&2")))
	wantExit(t, res, 0)
	if got := string(res.Stdout.Head); got != "/dev/pts/0\r\n30 100\r\nxterm\r\n" || res.Stderr.TotalBytes != 0 {
		t.Errorf("printed %q, and %q to stderr", got, res.Stderr.Head)
	}
	res = mustRun(t, rt, Call("tty; ls -1 /dev/pts"))
	if got := string(res.Stdout.Head); got != "not a tty\nptmx\n" {
		t.Errorf("the call after it prints %q", got)
	}
}

func testResize(t *testing.T, rt sandbox.Runtime) {
	k := Start(t, rt, onTerminal(Call(`trap 'told=1' WINCH; stty size; until [ "$told" ]; do sleep 0.02; done; stty size`)))
	k.Want("30 100\r\n")
	k.Do(sandbox.Input{Resize: &sandbox.TerminalSize{Rows: 50, Cols: 120}})
	k.Want("50 120\r\n")
	wantExit(t, k.End(), 0)
}

func testJobControl(t *testing.T, rt sandbox.Runtime) {
	call := onTerminal(Call(""))
	call.Argv = []string{"bash", "--norc", "-i"}
	k := Start(t, rt, call)
	k.Want("> ")
	k.Say("bash -c 'echo u\"\"p; exec sleep 1000'\n")
	k.Want("up\r\n")
	k.Say("\x03")
	k.Want("> ")
	k.Say("echo status $?\n")
	k.Want("status 130\r\n")
	k.Say("bash -c 'echo u\"\"p; exec sleep 1000'\n")
	k.Want("up\r\n")
	k.Do(sandbox.Input{Signal: "SIGTERM"}) // the shell itself would ignore it
	k.Want("Terminated")
	k.Say("exit 6\n")
	wantExit(t, k.End(), 6)
}

func testTerminalLeftOpen(t *testing.T, rt sandbox.Runtime) {
	began := time.Now()
	res := mustRun(t, rt, onTerminal(Call(`(trap '' HUP TERM INT; echo there; exec sleep 1000) & (trap '' HUP; exec setsid sleep 1000) & read -r -t 0.2 x; echo left`)))
	wantExit(t, res, 0)
	if time.Since(began) > patience || !bytes.Contains(res.Stdout.Head, []byte("left")) {
		t.Errorf("after %v: %q", time.Since(began), res.Stdout.Head)
	}
	res = mustRun(t, rt, Call("for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; done"))
	if bytes.Contains(res.Stdout.Head, []byte("sleep 1000")) {
		t.Errorf("there are still %q", res.Stdout.Head)
	}
}

func testTerminalFlood(t *testing.T, rt sandbox.Runtime) {
	call := onTerminal(Call("exec yes"))
	call.Limits.OutputTotalBytes, call.Limits.OutputBytes = 2<<20, 64<<10
	res := mustRun(t, rt, call)
	wantOutcome(t, res, sandbox.OutcomeOutputLimit)
	if n := len(res.Stdout.Head) + len(res.Stdout.Tail); n > 64<<10 {
		t.Errorf("%d bytes are kept, want at most %d", n, 64<<10)
	}
}
