package parts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/sandgate/sandgate/internal/journal"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox/gowatch"
)

// Least says what the least daemon is made of.
type Least struct {
	BinDir   string   // programs of the product
	Dir      string   // its own, whose parents anybody may search
	Journal  string   // the journal's file, on the disk where the daemon's is
	Like     string   // a journal whose last intent and outcome are appended
	Input    string   // of the decision, as Evaluate explains it
	Argv     []string // the command
	Env      []string // and its environment
	Response []byte   // an encoded ExecuteResponse, the answer to everything
	Sessions []string // each has a cell
	AtOnce   int      // calls that run, and that are decided, at the same time; see room
	// What it is not made of, to see what that takes.
	NoJournal bool // no records
	NoGRPC    bool // a PlainConn in its place
}

// Socket is where the least daemon listens.
func (l *Least) Socket() string { return filepath.Join(l.Dir, "least.sock") }

// ServeLeast is the least daemon: a process that answers Execute by one part after the
// other with nothing between them. It decides, begins the intent, has a cell get the
// stage ready, executes the program when the intent is durable, appends the outcome and
// answers. There is nothing in it that looks at the request: no identity, no facts, no
// limits, no line, no evidence, no result, no metrics. What the daemon is above it, is
// the daemon's own; what it is itself is the floor of the design on this machine.
// It reads a Least from r and serves until r ends.
func ServeLeast(ctx context.Context, r io.Reader) (err error) {
	in := json.NewDecoder(r)
	var l Least
	if err := in.Decode(&l); err != nil {
		return fmt.Errorf("read what the least daemon is made of: %w", err)
	}
	debug.SetGCPercent(leastGC)
	if err := gowatch.Calm(os.Getpid(), gowatch.Slack); err != nil { // as the daemon does
		return err
	}
	s := &leastServer{}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.make(ctx, l); err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", l.Socket())
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, r) // until whoever started this wants no more, or is gone
		close(ended)
	}()
	if l.NoGRPC {
		return servePlain(ctx, listener, s, ended)
	}
	// The options of internal/rpc that change what a call takes.
	server := grpc.NewServer(grpc.NumStreamWorkers(leastWorkers), grpc.InitialWindowSize(leastWindow), grpc.InitialConnWindowSize(4*leastWindow))
	sandgatev1.RegisterToolServiceServer(server, s)
	go func() {
		<-ended
		server.Stop()
	}()
	if err := server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

const (
	leastGC      = 1000 // it holds little; the daemon lets 96 MiB gather
	leastWorkers = 16
	leastWindow  = 256 << 10
	leastStart   = 30 * time.Second
)

type leastServer struct {
	sandgatev1.UnimplementedToolServiceServer
	decide   func(context.Context) error
	journal  *journal.Journal
	entries  []journal.Entry // intent, outcome
	response *sandgatev1.ExecuteResponse

	cells    map[string]*Cell
	deciding chan struct{} // decisions that are made at once
	room     *room
}

func (s *leastServer) make(ctx context.Context, l Least) (err error) {
	s.response = &sandgatev1.ExecuteResponse{}
	if err := proto.Unmarshal(l.Response, s.response); err != nil {
		return fmt.Errorf("read the response: %w", err)
	}
	if s.decide, err = decider(ctx, l.Input); err != nil {
		return err
	}
	if s.entries, err = entriesLike(l.Like); err != nil {
		return err
	}
	if !l.NoJournal {
		if s.journal, err = journal.Open(l.Journal, journal.Options{}, nil); err != nil {
			return err
		}
	}
	s.deciding, s.room, s.cells = make(chan struct{}, l.AtOnce), newRoom(l.AtOnce), map[string]*Cell{}
	for i, session := range l.Sessions {
		c, err := NewCell(ctx, l.BinDir, filepath.Join(l.Dir, "least-"+strconv.Itoa(i)), l.Argv, l.Env)
		if err != nil {
			return err
		}
		s.cells[session] = c
	}
	return nil
}

func (s *leastServer) close() error {
	var errs []error
	for _, c := range s.cells {
		errs = append(errs, c.Close())
	}
	if s.journal != nil {
		errs = append(errs, s.journal.Close())
	}
	return errors.Join(errs...)
}

// Execute implements sandgatev1.ToolServiceServer.
func (s *leastServer) Execute(ctx context.Context, req *sandgatev1.ExecuteRequest) (*sandgatev1.ExecuteResponse, error) {
	c := s.cells[req.GetCall().GetSessionId()]
	if c == nil {
		return nil, fmt.Errorf("session %q has no cell in the least daemon", req.GetCall().GetSessionId())
	}
	s.deciding <- struct{}{}
	err := s.decide(ctx)
	<-s.deciding
	if err != nil {
		return nil, err
	}
	if err := s.run(ctx, c, req.GetCall().GetSessionId()); err != nil || s.journal == nil {
		return s.response, err
	}
	if _, err := s.journal.Append(ctx, s.entries[1]); err != nil {
		return nil, err
	}
	return s.response, nil
}

// run executes the program when the intent is durable. A call has room from its intent to
// its program's end, as in the daemon: not while it is decided, nor for its outcome.
func (s *leastServer) run(ctx context.Context, c *Cell, session string) error {
	place := s.room.enter(session)
	defer s.room.leave(place)
	if s.journal == nil {
		return c.Run(ctx, nil)
	}
	intent := s.journal.Begin(ctx, s.entries[0])
	return c.Run(ctx, func() error {
		_, err := intent.Wait(ctx)
		return err
	})
}

// LeastProcess is a least daemon that runs.
type LeastProcess struct {
	keep  io.Closer
	log   *os.File
	ended chan error // closed after its end was received; nil before it was started
}

// StartLeast starts the program, which is to call ServeLeast, as the least daemon and
// waits until it listens.
func StartLeast(ctx context.Context, l Least, program string, args ...string) (_ *LeastProcess, err error) {
	p := &LeastProcess{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if p.log, err = os.Create(filepath.Join(l.Dir, "least.log")); err != nil {
		return nil, fmt.Errorf("start the least daemon: %w", err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, args...) //nolint:gosec // this program itself
	cmd.Stdout, cmd.Stderr = p.log, p.log
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the least daemon: %w", err)
	}
	p.keep = in
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the least daemon: %w", err)
	}
	p.ended = make(chan error, 1)
	go func() {
		p.ended <- cmd.Wait()
		close(p.ended)
	}()
	if err := json.NewEncoder(in).Encode(l); err != nil {
		return nil, fmt.Errorf("tell the least daemon what it is made of: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, leastStart)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", l.Socket())
		if err == nil {
			return p, conn.Close()
		}
		select {
		case err := <-p.ended:
			return nil, fmt.Errorf("the least daemon has ended: %w", errors.Join(err, errors.New(p.said())))
		case <-ctx.Done():
			return nil, fmt.Errorf("the least daemon does not listen after %v: %w: %s", leastStart, err, p.said())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// said is the end of what the least daemon has written.
func (p *LeastProcess) said() string {
	text, _ := os.ReadFile(p.log.Name())
	return string(text[max(0, len(text)-400):])
}

// Close ends the least daemon and waits for it.
func (p *LeastProcess) Close() error {
	var errs []error
	if p.keep != nil {
		errs = append(errs, p.keep.Close())
	}
	if p.ended != nil {
		if err := <-p.ended; err != nil {
			errs = append(errs, fmt.Errorf("the least daemon: %w: %s", err, p.said()))
		}
	}
	if p.log != nil {
		errs = append(errs, p.log.Close())
	}
	return errors.Join(errs...)
}
