//go:build linux

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
)

// dialogue is a call that a test talks to.
type dialogue struct {
	t       *testing.T
	stdin   *io.PipeWriter
	control chan cell.Control
	ended   chan struct{}
	exit    cell.Exit
	err     error

	mu   sync.Mutex
	more chan struct{} // closed when there is more
	out  []byte        // of stdout
	seen int           // of it
}

// talk starts a call.
func (c *testCell) talk(t *testing.T, x cell.Exec) *dialogue {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	if _, err := c.Prepare(ctx); err != nil {
		cancel()
		t.Fatalf("prepare: %v; log:\n%s", err, c.log)
	}
	d := &dialogue{t: t, control: make(chan cell.Control), ended: make(chan struct{}), more: make(chan struct{})}
	var r *io.PipeReader
	r, d.stdin = io.Pipe()
	x.Stdin, x.Control, x.Live = r, d.control, true
	go func() {
		defer cancel()
		defer close(d.ended)
		defer r.Close() //nolint:errcheck // never fails
		d.exit, d.err = c.Exec(ctx, x, cell.Handlers{Output: func(s cell.Stream, _ int64, data []byte) {
			if s != cell.Stdout {
				return
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			d.out = append(d.out, data...)
			close(d.more)
			d.more = make(chan struct{})
		}})
	}()
	return d
}

// want waits for text in what was not waited for yet.
func (d *dialogue) want(text string) {
	d.t.Helper()
	guard := time.After(20 * time.Second)
	for {
		d.mu.Lock()
		at, more := bytes.Index(d.out[d.seen:], []byte(text)), d.more
		if at >= 0 {
			d.seen += at + len(text)
		}
		rest := string(d.out[d.seen:])
		d.mu.Unlock()
		if at >= 0 {
			return
		}
		select {
		case <-more:
		case <-d.ended:
			d.t.Fatalf("the call ended (%+v, %v) without %q; rest %q", d.exit, d.err, text, rest)
		case <-guard:
			d.t.Fatalf("no %q after 20 s; rest %q", text, rest)
		}
	}
}

func (d *dialogue) say(text string) {
	d.t.Helper()
	if _, err := d.stdin.Write([]byte(text)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *dialogue) do(what cell.Control) {
	d.t.Helper()
	select {
	case d.control <- what:
	case <-d.ended:
		d.t.Fatalf("the call ended before: %+v, %v", d.exit, d.err)
	}
}

// end waits for the end of the call.
func (d *dialogue) end() cell.Exit {
	d.t.Helper()
	select {
	case <-d.ended:
	case <-time.After(30 * time.Second):
		d.t.Fatalf("the call does not end; output %q", d.out)
	}
	if d.err != nil || d.exit.Poisoned != "" || d.exit.StartError != "" {
		d.t.Fatalf("ended with %+v, %v", d.exit, d.err)
	}
	return d.exit
}

func onTerminal(argv ...string) cell.Exec {
	x := base(argv...)
	x.Env = append(x.Env, "TERM=xterm", "PS1=> ")
	x.Terminal = &cell.Size{Rows: 33, Cols: 77}
	return x
}

func bothCells(t *testing.T, test func(*testing.T, *testCell)) {
	t.Helper()
	t.Run("by socket", func(t *testing.T) { test(t, startCell(t)) })
	t.Run("by stdin and stdout", func(t *testing.T) { test(t, startCellByStdio(t)) })
}

// TestSignalsReachTheProgram: the whole process group gets them, and nothing else does.
func TestSignalsReachTheProgram(t *testing.T) {
	bothCells(t, func(t *testing.T, c *testCell) {
		d := c.talk(t, base("bash", "-c", `trap 'echo got usr1' USR1; trap 'echo got term; exit 5' TERM; echo ready; while :; do sleep 0.05; done`))
		d.want("ready")
		d.do(cell.Control{Signal: int(unix.SIGUSR1)})
		d.want("got usr1")
		d.do(cell.Control{Signal: int(unix.SIGTERM)})
		d.want("got term")
		if e := d.end(); e.ExitCode != 5 {
			t.Errorf("got %+v, want exit code 5", e)
		}
		d = c.talk(t, base("bash", "-c", "echo ready; sleep 100; echo not reached"))
		d.want("ready")
		d.do(cell.Control{Signal: int(unix.SIGINT)})
		if e := d.end(); e.Signal != int(unix.SIGINT) || e.Cancelled {
			t.Errorf("got %+v, want an end by SIGINT", e)
		}
		// A size without a terminal changes nothing, and the cell is as good as before.
		d = c.talk(t, base("bash", "-c", "echo ready; read x; echo $x"))
		d.want("ready")
		d.do(cell.Control{Size: cell.Size{Rows: 1, Cols: 1}})
		d.say("on\n")
		d.want("on\n")
		if e := d.end(); e.ExitCode != 0 {
			t.Errorf("got %+v, want exit code 0", e)
		}
	})
}

// TestSignalBeforeTheStart waits for the program.
func TestSignalBeforeTheStart(t *testing.T) {
	c := startCell(t)
	x := base("sleep", "100")
	d := c.talk(t, x)
	d.do(cell.Control{Signal: int(unix.SIGHUP)})
	if e := d.end(); e.Signal != int(unix.SIGHUP) {
		t.Errorf("got %+v, want an end by SIGHUP", e)
	}
}

func TestTerminal(t *testing.T) {
	bothCells(t, func(t *testing.T, c *testCell) {
		d := c.talk(t, onTerminal("bash", "-c", `test -t 0 && test -t 1 && test -t 2 && echo three; tty; stty size; id -u; stat -c %u "$(tty)"; ls -1 /dev/pts
			trap 'told=1' WINCH; echo now; until [ "$told" ]; do sleep 0.02; done; stty size; read -r line; echo "line $line" >&2; exit 4`))
		d.want("three\r\n/dev/pts/0\r\n33 77\r\n1000\r\n1000\r\n0\r\nptmx\r\nnow\r\n")
		d.do(cell.Control{Size: cell.Size{Rows: 50, Cols: 120}})
		d.want("50 120\r\n")
		d.say("words\n")
		d.want("line words\r\n")
		if e := d.end(); e.ExitCode != 4 || e.StderrTotal != 0 {
			t.Errorf("got %+v, want exit code 4 and no bytes of stderr", e)
		}
		// The call after it has pipes again, and no terminal of anybody.
		r := c.run(t, base("bash", "-c", "test -t 0 || echo pipe; ls /dev/pts; tty; (: </dev/tty) 2>/dev/null || echo none"))
		if got := string(r.stdout); got != "pipe\nptmx\nnot a tty\nnone\n" {
			t.Errorf("the call after a terminal's prints %q, stderr %q", got, r.stderr)
		}
	})
}

// TestTerminalJobControl talks to a shell as a person would.
func TestTerminalJobControl(t *testing.T) {
	c := startCell(t)
	d := c.talk(t, onTerminal("bash", "--norc", "-i"))
	d.want("> ")
	d.say(`bash -c 'trap "echo re""sumed" CONT; echo u""p; while :; do sleep 0.05; done'` + "\n")
	d.want("up\r\n") // so it has the terminal
	d.say("\x1a")    // ^Z
	d.want("Stopped")
	d.say("fg\n")
	d.want("resumed\r\n")
	d.say("\x03") // ^C
	d.want("> ")
	d.say("echo status $?\n")
	d.want("status 130\r\n")
	// A signal by hand goes to the foreground, not to the shell.
	d.say(`sh -c 'echo u""p; exec sleep 1000'` + "\n")
	d.want("up\r\n")
	d.do(cell.Control{Signal: int(unix.SIGTERM)})
	d.want("Terminated")
	d.say("echo alive; ls /nowhere\n")
	d.want("alive\r\n")
	d.want("No such file")
	d.say("exit 3\n")
	if e := d.end(); e.ExitCode != 3 {
		t.Errorf("got %+v, want exit code 3", e)
	}
}

// TestTerminalEndOfInput is typed.
func TestTerminalEndOfInput(t *testing.T) {
	c := startCell(t)
	for text, want := range map[string]string{"": "", "a\nb\n": "a\r\nb\r\na\r\nb\r\n", "half": "halfhalf"} {
		d := c.talk(t, onTerminal("cat"))
		if text != "" {
			d.say(text)
		}
		if err := d.stdin.Close(); err != nil {
			t.Fatal(err)
		}
		if e := d.end(); e.ExitCode != 0 || len(d.out) != len(want) {
			t.Errorf("%q: got %+v and %q, want success and %q in some order", text, e, d.out, want)
		}
	}
	r := c.run(t, onTerminal("wc", "-c")) // no stdin at all
	if string(r.stdout) != "0\r\n" {
		t.Errorf("got %q, want an immediate end of file", r.stdout)
	}
}

// TestTerminalAbuse: what a program could do to a terminal, or by one.
func TestTerminalAbuse(t *testing.T) {
	c := startCell(t)
	t.Run("type for others", func(t *testing.T) {
		r := c.run(t, onTerminal("/probe", "probe", "tty"))
		if got := strings.TrimSpace(string(r.stdout)); got != `{"TIOCLINUX":"EPERM","TIOCSTI":"EPERM"}` {
			t.Errorf("got %q, want both refused", got)
		}
	})
	t.Run("flood", func(t *testing.T) {
		x := onTerminal("yes", strings.Repeat("x", 1000))
		x.OutputTotalBytes = 4 << 20
		if r := c.run(t, x); !r.OutputLimit || r.StdoutTotal < 4<<20 || int64(len(r.stdout)) > x.OutputBytes {
			t.Errorf("got %+v and %d bytes kept, want an end at the limit", r.Exit, len(r.stdout))
		}
	})
	t.Run("nothing is lost of what is kept", func(t *testing.T) {
		r := c.run(t, onTerminal("bash", "-c", "stty -opost; seq 1 30000"))
		if n := int64(168894); r.StdoutTotal != n || int64(len(r.stdout)) != n || !bytes.HasSuffix(r.stdout, []byte("\n30000\n")) {
			t.Errorf("got %d bytes, %d of them delivered, want %d", r.StdoutTotal, len(r.stdout), n)
		}
	})
	t.Run("stay behind", func(t *testing.T) {
		r := c.run(t, onTerminal("bash", "-c", `(trap '' HUP TERM INT; exec setsid sleep 4242) & (trap '' HUP; sleep 4242) & 
			until [ "$(pgrep -c sleep)" = 2 ]; do :; done; echo left`))
		if string(r.stdout) != "left\r\n" || r.ExitCode != 0 || r.BackgroundKilled < 2 {
			t.Errorf("got %+v and %q, want two processes ended", r.Exit, r.stdout)
		}
		if n := processes(t, "sleep\x004242"); n != 0 {
			t.Errorf("%d processes outlive their call", n)
		}
	})
	t.Run("close all and go on", func(t *testing.T) {
		r := c.run(t, onTerminal("bash", "-c", `exec </dev/null >/dev/null 2>&1; sleep 0.2; echo back >/dev/tty`))
		if string(r.stdout) != "back\r\n" || r.ExitCode != 0 {
			t.Errorf("got %+v and %q, want what came after the pause", r.Exit, r.stdout)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		x := onTerminal("bash", "-c", "trap '' HUP INT TERM; echo deaf; while :; do sleep 1; done")
		x.WallTime = 300 * time.Millisecond
		if r := c.run(t, x); !r.TimedOut || string(r.stdout) != "deaf\r\n" {
			t.Errorf("got %+v and %q, want a time-out", r.Exit, r.stdout)
		}
	})
	t.Run("exhaust terminals", func(t *testing.T) {
		r := c.run(t, onTerminal("/probe", "probe", "ptys"))
		if !strings.HasPrefix(string(r.stdout), "opened ") {
			t.Errorf("got %q", r.stdout)
		}
		if r := c.run(t, onTerminal("tty")); string(r.stdout) != "/dev/pts/0\r\n" {
			t.Errorf("the call after it got %q, want its own terminal", r.stdout)
		}
	})
}

// processes counts those of the machine whose command line begins so.
func processes(t *testing.T, cmdline string) int {
	t.Helper()
	names, err := readNames("/proc")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		text, err := os.ReadFile("/proc/" + name + "/cmdline")
		if err == nil && bytes.HasPrefix(text, []byte(cmdline)) {
			n++
		}
	}
	return n
}
