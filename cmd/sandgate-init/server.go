//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/cell/seccomp"
)

// maxDescriptors is more than init ever has open with one call running and the
// next one prepared. Beyond it something leaks, and the cell is given up.
const maxDescriptors = 64

// server is init: it takes frames from the host and runs at most one call while
// at most one stage waits for the next.
type server struct {
	out    *cell.FrameWriter
	filter seccomp.Program
	digest string
	null   *os.File

	children sync.Mutex   // held while one is made: not mu, frames must go on
	stages   map[int]bool // guarded by children; pids of those not yet reaped

	mu        sync.Mutex
	call      *call        // guarded by mu; running
	next      *stageProc   // guarded by mu; prepared and told to the host
	preparing bool         // guarded by mu
	doubt     error        // guarded by mu; why no further stage could be made
	used      []*stageProc // guarded by mu; of calls before: must be gone before the next stage is told
}

// runInit serves the host until its end of stdin is closed. As PID 1 it takes
// everything in the cell along when it ends.
func runInit() int {
	if os.Getpid() != 1 {
		logf("must be PID 1 of a cell, is %d: it is started by sandgated", os.Getpid())
		return 2
	}
	s, err := newServer(os.Stdout)
	if err != nil {
		logf("%v", err)
		return 1
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM, unix.SIGINT)
	served := make(chan error, 1)
	go func() { served <- s.serve(os.Stdin) }()
	select {
	case err := <-served:
		if err != nil {
			logf("%v", err)
			return 1
		}
	case <-stop:
	}
	return 0
}

func newServer(out io.Writer) (*server, error) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("make init undumpable: %w", err)
	}
	if err := sealDescriptors(); err != nil {
		return nil, err
	}
	filter, err := seccomp.Build()
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	s := &server{out: cell.NewFrameWriter(out), filter: filter, digest: filter.SHA256(), null: null, stages: make(map[int]bool)}
	hello := cell.Hello{Protocol: cell.ProtocolVersion, Version: version, SeccompSHA256: s.digest}
	if err := s.out.Write(cell.KindHello, cell.AppendHello(nil, hello)); err != nil {
		return nil, fmt.Errorf("say hello: %w", err)
	}
	return s, nil
}

// serve reads frames until the host is gone. It never blocks on a call, so that
// a Kill is always heard.
func (s *server) serve(in io.Reader) error {
	frames := cell.NewFrameReader(bufio.NewReaderSize(in, 128<<10))
	for {
		kind, body, err := frames.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = s.dispatch(kind, body)
		}
		if err != nil {
			return fmt.Errorf("serve the host: %w", err)
		}
	}
}

func (s *server) dispatch(kind cell.Kind, body []byte) error {
	switch kind {
	case cell.KindPrepare:
		return s.prepare()
	case cell.KindExec:
		request, err := cell.DecodeExec(body)
		if err != nil {
			return err
		}
		return s.exec(request, body)
	case cell.KindStdin, cell.KindStdinClose, cell.KindKill:
		seq, rest, err := cell.DecodeSeq(body)
		if err != nil {
			return err
		}
		s.mu.Lock()
		c := s.call
		s.mu.Unlock()
		if c == nil || c.seq != seq {
			return nil // came too late for its call
		}
		return c.frame(kind, rest)
	}
	return fmt.Errorf("frame kind %d is not for init: %w", kind, cell.ErrProtocol)
}

// prepare starts to make a stage; Prepared or Poisoned will tell of it.
func (s *server) prepare() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.preparing || s.next != nil {
		return fmt.Errorf("prepare while a stage is prepared: %w", cell.ErrProtocol)
	}
	s.preparing = true
	go s.prepareStage()
	return nil
}

func (s *server) prepareStage() {
	stage, err := s.newStage()
	if err == nil {
		err = s.checkUsed()
	}
	if err != nil {
		s.poison(err)
		return
	}
	s.mu.Lock()
	s.preparing, s.next = false, stage
	s.mu.Unlock()
	s.send(cell.KindPrepared, cell.AppendPrepared(nil, stage.prepared))
}

// checkUsed makes sure that the calls before have left nothing: their stages are gone,
// init has no child that it does not know and no descriptor too many.
func (s *server) checkUsed() error {
	s.mu.Lock()
	used := s.used
	s.used = nil
	s.mu.Unlock()
	for _, stage := range used {
		if !stage.waitGone() {
			return fmt.Errorf("the stage of a call before is still there after %v", goneAfter)
		}
	}
	if err := s.checkChildren(); err != nil {
		return err
	}
	names, err := readNames("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("count descriptors: %w", err)
	}
	if len(names) > maxDescriptors {
		return fmt.Errorf("%d descriptors are open, at most %d are used", len(names), maxDescriptors)
	}
	return nil
}

// checkChildren reaps what has become init's child without being a stage: there
// is no way for it in a sound cell. A stage that it happens to reap is as gone as
// if its own goroutine had done it.
func (s *server) checkChildren() error {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WALL|unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD), err == nil && pid == 0:
			return nil
		case err != nil:
			return fmt.Errorf("look for unknown children: %w", err)
		}
		s.children.Lock()
		known := s.stages[pid]
		s.children.Unlock()
		if !known {
			return fmt.Errorf("process %d became a child of init and is no stage", pid)
		}
	}
}

// exec runs a call in the stage that waits.
func (s *server) exec(request cell.Request, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.call != nil || s.next == nil {
		return fmt.Errorf("exec without a prepared stage or within a call: %w", cell.ErrProtocol)
	}
	c := newCall(s, s.next, request)
	s.call, s.next = c, nil
	if request.PrepareNext {
		s.preparing = true
	}
	go c.run(append([]byte(nil), body...))
	return nil
}

// finish ends a call: from now on the next may come.
func (s *server) finish(c *call, end cell.Exit) {
	s.mu.Lock()
	s.call, s.used = nil, append(s.used, c.stage)
	doubt := s.doubt
	s.mu.Unlock()
	if doubt != nil && end.Poisoned == "" {
		end.Poisoned = doubt.Error()
	}
	s.send(cell.KindExit, cell.AppendExit(nil, end))
	if doubt != nil {
		s.poison(doubt)
	}
}

// poison tells the host that the cell is of no more use. A call that runs well is
// not disturbed: its Exit will tell.
func (s *server) poison(err error) {
	s.mu.Lock()
	s.doubt = err
	running := s.call != nil
	s.mu.Unlock()
	if running {
		return
	}
	logf("poisoned: %v", err)
	text := err.Error()
	s.send(cell.KindPoisoned, []byte(text[:min(len(text), 1024)]))
}

// send writes a frame to the host. When it cannot, the host is gone or the
// protocol is broken: there is nothing left to serve.
func (s *server) send(kind cell.Kind, parts ...[]byte) {
	if err := s.out.Write(kind, parts...); err != nil {
		logf("write to the host: %v", err)
		os.Exit(1)
	}
}

func logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "sandgate-init: "+format+"\n", args...)
}
