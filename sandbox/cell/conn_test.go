package cell

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeInit is the other end of a Conn: each test plays init's part by hand.
type fakeInit struct {
	t   *testing.T
	in  *FrameReader
	out *FrameWriter
	w   io.Closer
}

// pair connects a Conn with an init that runs play. Both are over when the test is.
func pair(t *testing.T, play func(*fakeInit)) *Conn {
	t.Helper()
	hostRead, initWrite := io.Pipe()
	initRead, hostWrite := io.Pipe()
	c := NewConn(hostRead, hostWrite)
	f := &fakeInit{t: t, in: NewFrameReader(initRead), out: NewFrameWriter(initWrite), w: initWrite}
	var done sync.WaitGroup
	done.Go(func() {
		play(f)
		for { // whatever else the host says
			if _, _, err := f.in.Next(); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		done.Wait()
	})
	return c
}

// want reads frames from the host until one of a kind, and returns its body.
func (f *fakeInit) want(kind Kind) []byte {
	for {
		got, body, err := f.in.Next()
		if err != nil {
			return nil
		}
		if got == kind {
			return bytes.Clone(body)
		}
	}
}

// say sends a frame; when the host has given up nobody listens.
func (f *fakeInit) say(kind Kind, parts ...[]byte) {
	if err := f.out.Write(kind, parts...); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		f.t.Error(err)
	}
}

// toExec plays everything up to a started call and returns its number.
func (f *fakeInit) toExec() Request {
	f.want(KindPrepare)
	f.say(KindPrepared, AppendPrepared(nil, Prepared{StagePID: 7, HolderPID: 3}))
	r, err := DecodeExec(f.want(KindExec))
	if err != nil {
		f.t.Error(err)
	}
	f.say(KindStarted, AppendStarted(nil, Started{OpenFiles: 5}))
	return r
}

func (f *fakeInit) exit(x Exit) { f.say(KindExit, AppendExit(nil, x)) }

func (f *fakeInit) output(s Stream, offset int64, data string) {
	f.say(KindOutput, AppendOutputHeader(nil, s, offset), []byte(data))
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func prepared(t *testing.T, c *Conn) {
	t.Helper()
	if p, err := c.Prepare(within(t), Stage{}); err != nil || p.StagePID != 7 {
		t.Fatalf("prepare: got %+v, %v", p, err)
	}
}

var plain = Exec{Argv: []string{"true"}, WallTime: time.Minute, OutputBytes: 10, DiskBytes: 1}

func TestCallOverConn(t *testing.T) {
	c := pair(t, func(f *fakeInit) {
		f.say(KindHello, AppendHello(nil, Hello{Protocol: ProtocolVersion, Version: "v9"}))
		f.toExec()
		f.output(Stdout, 0, "he")
		f.output(Stderr, 0, "e")
		f.output(Stdout, 100, "tail")
		f.exit(Exit{ExitCode: 3, StdoutTotal: 104})
	})
	if h, err := c.Hello(within(t)); err != nil || h.Version != "v9" {
		t.Fatalf("hello: got %+v, %v", h, err)
	}
	prepared(t, c)
	var got []Output
	var started Started
	exit, err := c.Exec(within(t), plain, Handlers{
		Started: func(s Started) { started = s },
		Output:  func(s Stream, offset int64, data []byte) { got = append(got, Output{s, offset, bytes.Clone(data)}) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Exit{ExitCode: 3, StdoutTotal: 104}, exit); diff != "" {
		t.Errorf("exit (-want +got):\n%s", diff)
	}
	want := []Output{{Stdout, 0, []byte("he")}, {Stderr, 0, []byte("e")}, {Stdout, 100, []byte("tail")}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	if started.OpenFiles != 5 {
		t.Errorf("got started %+v", started)
	}
	if _, err := c.Exec(within(t), plain, Handlers{}); err == nil {
		t.Error("exec without a new stage: got no error")
	}
}

// TestStdinWaitsForCredit has an init that gives no credit until it has seen how
// much the host sends without.
func TestStdinWaitsForCredit(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 100<<10/16*10) // 1000 KiB
	var got bytes.Buffer
	c := pair(t, func(f *fakeInit) {
		r := f.toExec()
		owed := 0
		for {
			kind, body, err := f.in.Next()
			if err != nil {
				return
			}
			if kind == KindStdinClose {
				break
			}
			seq, chunk, err := DecodeSeq(body)
			if err != nil || seq != r.Seq || kind != KindStdin {
				f.t.Errorf("got frame %d of call %d, %v", kind, seq, err)
			}
			got.Write(chunk)
			if owed += len(chunk); owed > StdinWindowBytes {
				f.t.Errorf("%d bytes are under way, at most %d may be", owed, StdinWindowBytes)
			}
			if owed == StdinWindowBytes || got.Len() == len(data) {
				f.say(KindStdinAck, AppendCredit(nil, r.Seq, int64(owed)))
				owed = 0
			}
		}
		f.exit(Exit{})
	})
	prepared(t, c)
	x := plain
	x.Stdin = bytes.NewReader(data)
	if _, err := c.Exec(within(t), x, Handlers{}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), data) {
		t.Errorf("%d bytes arrived, want %d", got.Len(), len(data))
	}
}

// TestKillIsNotStuckBehindStdin: the window is full and stays so.
func TestKillIsNotStuckBehindStdin(t *testing.T) {
	ctx, cancel := context.WithCancelCause(within(t))
	c := pair(t, func(f *fakeInit) {
		f.toExec()
		for sent := 0; sent < StdinWindowBytes; {
			_, chunk, err := DecodeSeq(f.want(KindStdin))
			if err != nil {
				f.t.Error(err)
				return
			}
			sent += len(chunk)
		}
		cancel(errors.New("no longer wanted"))
		if _, reason, err := DecodeSeq(f.want(KindKill)); err != nil || string(reason) != "no longer wanted" {
			f.t.Errorf("got %q, %v", reason, err)
		}
		f.exit(Exit{ExitCode: -1, Cancelled: true})
	})
	prepared(t, c)
	x := plain
	x.Stdin = endless{}
	if exit, err := c.Exec(ctx, x, Handlers{}); err != nil || !exit.Cancelled {
		t.Errorf("got %+v, %v, want cancelled", exit, err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestHostileInit: whatever a cell says, the host neither panics nor takes more
// than it asked for; the connection ends with the right class of error.
func TestHostileInit(t *testing.T) {
	for name, tc := range map[string]struct {
		play func(*fakeInit)
		want error
	}{
		"more output than is kept": {func(f *fakeInit) { f.toExec(); f.output(Stdout, 0, "0123456789"); f.output(Stdout, 10, "x") }, ErrProtocol},
		"output that goes back":    {func(f *fakeInit) { f.toExec(); f.output(Stdout, 5, "x"); f.output(Stdout, 0, "x") }, ErrProtocol},
		"a third stream":           {func(f *fakeInit) { f.toExec(); f.output(3, 0, "x") }, ErrProtocol},
		"credit out of nothing":    {func(f *fakeInit) { f.toExec(); f.say(KindStdinAck, AppendCredit(nil, 1, 1)) }, ErrProtocol},
		"credit of another call":   {func(f *fakeInit) { f.toExec(); f.say(KindStdinAck, AppendCredit(nil, 9, 0)) }, ErrProtocol},
		"started twice":            {func(f *fakeInit) { f.toExec(); f.say(KindStarted, AppendStarted(nil, Started{})) }, ErrProtocol},
		"a frame of the host":      {func(f *fakeInit) { f.toExec(); f.say(KindExec) }, ErrProtocol},
		"an exit that is none":     {func(f *fakeInit) { f.toExec(); f.say(KindExit, []byte("junk")) }, ErrProtocol},
		"prepared twice": {func(f *fakeInit) {
			f.toExec()
			f.say(KindPrepared, AppendPrepared(nil, Prepared{}))
			f.say(KindPrepared, AppendPrepared(nil, Prepared{}))
		}, ErrProtocol},
		"poisoned":                 {func(f *fakeInit) { f.toExec(); f.say(KindPoisoned, []byte("doubt")) }, ErrPoisoned},
		"the end within a call":    {func(f *fakeInit) { f.toExec(); _ = f.w.Close() }, ErrClosed},
		"output when nothing runs": {func(f *fakeInit) { f.output(Stdout, 0, "x") }, ErrProtocol},
		"hello twice": {func(f *fakeInit) {
			f.say(KindHello, AppendHello(nil, Hello{}))
			f.say(KindHello, AppendHello(nil, Hello{}))
		}, ErrProtocol},
		"another protocol in hello": {func(f *fakeInit) { f.say(KindHello, AppendHello(nil, Hello{Protocol: 99})); f.want(KindPrepare) }, ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			c := pair(t, tc.play)
			err := func() error {
				if strings.HasPrefix(name, "another") {
					_, err := c.Hello(within(t))
					return err
				}
				if _, err := c.Prepare(within(t), Stage{}); err != nil {
					return err
				}
				_, err := c.Exec(within(t), plain, Handlers{})
				return err
			}()
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestCloseEndsARunningCall(t *testing.T) {
	running := make(chan struct{})
	c := pair(t, func(f *fakeInit) { f.toExec(); close(running) })
	prepared(t, c)
	go func() {
		<-running
		_ = c.Close() // its error is the second close's to report
	}()
	if _, err := c.Exec(within(t), plain, Handlers{}); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

func TestTooLargeCallIsRefusedAndTheStageKept(t *testing.T) {
	c := pair(t, func(f *fakeInit) { f.toExec(); f.exit(Exit{}) })
	prepared(t, c)
	x := plain
	x.Argv = []string{"echo", strings.Repeat("x", MaxFrameBytes)}
	if _, err := c.Exec(within(t), x, Handlers{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	if _, err := c.Exec(within(t), plain, Handlers{}); err != nil {
		t.Errorf("the next call in the same stage: %v", err)
	}
}

func TestNextAsksOnce(t *testing.T) {
	c := pair(t, func(f *fakeInit) {
		f.toExec()
		f.say(KindPrepared, AppendPrepared(nil, Prepared{StagePID: 8}))
		f.exit(Exit{})
		if kind, _, err := f.in.Next(); err == nil && kind == KindPrepare {
			f.t.Error("the host asked for a stage that it has")
		}
	})
	prepared(t, c)
	x := plain
	x.Next = &Stage{Slot: 1, DiskBytes: 5}
	if _, err := c.Exec(within(t), x, Handlers{}); err != nil {
		t.Fatal(err)
	}
	if p, err := c.Prepare(within(t), Stage{}); err != nil || p.StagePID != 8 {
		t.Errorf("got %+v, %v, want the stage that came by itself", p, err)
	}
}

// TestOnlyWhatWasNotSentIsToldAsNotSent: a host may run a call again only then.
func TestOnlyWhatWasNotSentIsToldAsNotSent(t *testing.T) {
	for name, tc := range map[string]struct {
		room    int // bytes of the request that go out before the pipe breaks
		notSent bool
	}{
		"nothing out":  {0, true},
		"one byte out": {1, false},
		"all but one":  {40, false},
	} {
		t.Run(name, func(t *testing.T) {
			hostRead, initWrite := io.Pipe()
			broken := &breakingWriter{room: -1}
			c := NewConn(hostRead, broken)
			go func() { _ = NewFrameWriter(initWrite).Write(KindPrepared, AppendPrepared(nil, Prepared{StagePID: 7})) }()
			prepared(t, c)
			broken.room = tc.room
			_, err := c.Exec(within(t), plain, Handlers{})
			if err == nil || errors.Is(err, ErrNotSent) != tc.notSent || !c.Ended() {
				t.Errorf("got %v, ended %t, want not sent: %t, and the end", err, c.Ended(), tc.notSent)
			}
			if _, err := c.Exec(within(t), plain, Handlers{}); !errors.Is(err, ErrNotSent) {
				t.Errorf("after the end: got %v, want ErrNotSent", err)
			}
		})
	}
	c := pair(t, func(f *fakeInit) {
		f.want(KindPrepare)
		f.say(KindPrepared, AppendPrepared(nil, Prepared{StagePID: 7}))
		f.want(KindExec)
		_ = f.w.Close() // before the news of the start
	})
	prepared(t, c)
	if _, err := c.Exec(within(t), plain, Handlers{}); !errors.Is(err, ErrClosed) || errors.Is(err, ErrNotSent) {
		t.Errorf("init ends with the request: got %v, want ErrClosed and not ErrNotSent", err)
	}
	if _, err := c.Exec(within(t), Exec{}, Handlers{}); !errors.Is(err, ErrNotSent) {
		t.Errorf("no request at all: got %v, want ErrNotSent", err)
	}
}

// breakingWriter takes room bytes and fails then; below zero it takes all.
type breakingWriter struct{ room int }

func (w *breakingWriter) Write(p []byte) (int, error) {
	if w.room < 0 {
		return len(p), nil
	}
	return min(w.room, len(p)), io.ErrClosedPipe
}

func (w *breakingWriter) Close() error { return nil }

// TestCallThatWasNotReleasedHasNotRun breaks the cell after the request has got
// there, while the host makes ready: nothing has run, and stdin is still whole.
func TestCallThatWasNotReleasedHasNotRun(t *testing.T) {
	broken := make(chan struct{})
	c := pair(t, func(f *fakeInit) {
		f.want(KindPrepare)
		f.say(KindPrepared, AppendPrepared(nil, Prepared{StagePID: 7, HolderPID: 3}))
		f.want(KindExec)
		if err := f.w.Close(); err != nil {
			t.Error(err)
		}
		close(broken)
	})
	prepared(t, c)
	stdin := strings.NewReader("whole")
	x := plain
	x.Stdin = stdin
	x.Ready = func() error {
		<-broken
		<-c.gone
		return nil
	}
	_, err := c.Exec(within(t), x, Handlers{})
	if !errors.Is(err, ErrNotSent) || !c.Ended() || stdin.Len() != len("whole") {
		t.Errorf("got %v with %d bytes of stdin left, want that nothing was sent", err, stdin.Len())
	}
}
