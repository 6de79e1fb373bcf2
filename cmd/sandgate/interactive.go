package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/term"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// upstream sends to a call from several goroutines. A failed send only says io.EOF: the
// reason comes with Recv.
type upstream struct {
	stream  sandgatev1.ToolService_ExecuteStreamClient
	sending sync.Mutex // held for as long as the daemon takes nothing

	mu    sync.Mutex
	runs  bool // the program was started; guarded by mu
	asked bool // a Ctrl-C was handed on; guarded by mu
}

func (u *upstream) send(req *sandgatev1.ExecuteStreamRequest) error {
	u.sending.Lock()
	defer u.sending.Unlock()
	return u.stream.Send(req)
}

// interrupted hands the first Ctrl-C on to the program, if it runs; the next one ends
// the call.
func (u *upstream) interrupted() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.runs || u.asked {
		return false
	}
	u.asked = true
	go func() { // it may have to wait behind stdin, and the next Ctrl-C must not
		_ = u.send(&sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Signal{Signal: "SIGINT"}}) // Recv tells
	}()
	return true
}

func (u *upstream) started() {
	u.mu.Lock()
	u.runs = true
	u.mu.Unlock()
}

// sendStdin hands a reader over to the call. It ends with the process at the
// latest: a read of a terminal cannot be interrupted.
func (u *upstream) sendStdin(from io.Reader, cancel context.CancelCauseFunc) {
	for {
		buf := make([]byte, stdinChunk)
		n, err := from.Read(buf)
		if n > 0 {
			chunk := &sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Stdin{Stdin: buf[:n]}}
			if u.send(chunk) != nil {
				return
			}
		}
		if errors.Is(err, io.EOF) {
			_ = u.send(&sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_StdinClose{StdinClose: &sandgatev1.StdinClose{}}}) // the answer tells
			return
		}
		if err != nil {
			cancel(fmt.Errorf("read stdin: %w", err)) // half a stdin must not pass for a whole one
			return
		}
	}
}

// localTerminal is the terminal that this command was started in.
type localTerminal struct {
	fd    int
	mu    sync.Mutex
	state *term.State // before it was made raw; nil: it is not. Guarded by mu
}

// openTerminal takes stdin for a terminal.
func openTerminal(stdin io.Reader) (*localTerminal, error) {
	f, ok := stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, errors.New("--tty wants a terminal as stdin: leave it out, or use --stdin")
	}
	return &localTerminal{fd: int(f.Fd())}, nil
}

// terminal is what --tty asks for; nil: nothing.
func (o *callOptions) terminal(stdin io.Reader) (*localTerminal, error) {
	if !o.tty {
		return nil, nil //nolint:nilnil // a terminal that is not there does nothing
	}
	return openTerminal(stdin)
}

// join makes the terminal that of the program, which has just been started, until
// restore and the end of ctx.
func (l *localTerminal) join(ctx context.Context, u *upstream, stdin io.Reader, cancel context.CancelCauseFunc) error {
	if l == nil {
		return nil
	}
	go u.sendStdin(stdin, cancel)
	go l.follow(ctx, u)
	return l.raw()
}

// raw hands over what is typed as it is, until restore.
func (l *localTerminal) raw() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	state, err := term.MakeRaw(l.fd)
	if err != nil {
		return fmt.Errorf("make the terminal raw: %w", err)
	}
	l.state = state
	return nil
}

// restore can be called at any time, also twice.
func (l *localTerminal) restore() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != nil {
		_ = term.Restore(l.fd, l.state) // there is nothing else to be done
		l.state = nil
	}
}

// size is what the terminal says of itself; nil: it does not.
func (l *localTerminal) size() *sandgatev1.TerminalSize {
	cols, rows, err := term.GetSize(l.fd)
	if err != nil || cols < 1 || rows < 1 || cols > math.MaxUint16 || rows > math.MaxUint16 {
		return nil
	}
	return &sandgatev1.TerminalSize{Rows: uint32(rows), Cols: uint32(cols)}
}

func (l *localTerminal) proto() *sandgatev1.Terminal {
	if l == nil {
		return nil
	}
	return &sandgatev1.Terminal{Size: l.size(), Term: os.Getenv("TERM")}
}

// follow tells the call of each new size until ctx ends.
func (l *localTerminal) follow(ctx context.Context, u *upstream) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	defer signal.Stop(changed)
	for {
		if size := l.size(); size != nil {
			if u.send(&sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Resize{Resize: size}}) != nil {
				return
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
