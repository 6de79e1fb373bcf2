//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
)

// cause is why init ended a call.
type cause int

const (
	byItself cause = iota
	timedOut
	cancelled
	outputLimit
)

// call is one running call.
type call struct {
	server  *server
	stage   *stageProc
	seq     uint64
	request cell.Request
	stdin   *stdinFeed
	pumps   [3]*pump // by cell.Stream
	volume  volume

	mu    sync.Mutex
	cause cause // guarded by mu; the first one counts
	over  bool  // guarded by mu; nothing is to be killed any more
}

func newCall(s *server, stage *stageProc, request cell.Request) *call {
	c := &call{server: s, stage: stage, seq: request.Seq, request: request}
	c.stdin = newStdinFeed(s, stage.stdin, request.Seq, request.HasStdin)
	c.volume = volume{limit: request.OutputTotalBytes, exceeded: func() { c.end(outputLimit) }}
	for _, stream := range []cell.Stream{cell.Stdout, cell.Stderr} {
		c.pumps[stream] = newPump(s, stream, stage.output[stream], request.OutputBytes, &c.volume)
	}
	return c
}

// frame handles a frame of the host for this call. It never blocks.
func (c *call) frame(kind cell.Kind, rest []byte) error {
	switch kind {
	case cell.KindStdin:
		return c.stdin.add(rest)
	case cell.KindStdinClose:
		c.stdin.finish()
	case cell.KindKill:
		logf("call %d is killed: %q", c.seq, rest)
		c.end(cancelled)
	}
	return nil
}

// end kills the whole tree of the call.
func (c *call) end(why cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.cause != byItself {
		return
	}
	c.cause = why
	c.stage.kill()
}

// run takes the call from its Exec frame to its Exit frame.
func (c *call) run(body []byte) {
	var streams sync.WaitGroup
	for _, p := range c.pumps[cell.Stdout:] {
		streams.Go(p.run)
	}
	begin := time.Now()
	end, err := c.start(body)
	running := err == nil && end.StartError == ""
	if c.request.PrepareNext {
		go c.server.prepareStage()
	}
	if running {
		begin = time.Now()
		deadline := time.AfterFunc(c.request.WallTime, func() { c.end(timedOut) })
		streams.Go(c.stdin.run)
		end, err = c.awaitEnd()
		deadline.Stop()
	}
	c.bury(&end, err, running)
	end.RunTime = time.Since(begin)
	c.stdin.stop()
	streams.Wait()
	for _, p := range c.pumps[cell.Stdout:] {
		p.flush()
	}
	c.stage.close()
	end.StdoutTotal, end.StderrTotal = c.pumps[cell.Stdout].total, c.pumps[cell.Stderr].total
	if limit := c.request.OutputTotalBytes; limit > 0 && end.StdoutTotal+end.StderrTotal > limit {
		end.OutputLimit = true
	}
	c.server.finish(c, end)
}

// start hands the Exec to the stage and waits for the program to be executed. A
// program that could not be is told in the Exit.
func (c *call) start(body []byte) (cell.Exit, error) {
	deadline := time.Now().Add(readyWithin)
	for _, f := range []interface{ SetDeadline(time.Time) error }{c.stage.control, c.stage.holder} {
		if err := f.SetDeadline(deadline); err != nil {
			return cell.Exit{}, fmt.Errorf("bound the start: %w", err)
		}
	}
	if err := cell.NewFrameWriter(c.stage.control).Write(cell.KindExec, body); err != nil {
		return cell.Exit{}, fmt.Errorf("hand the call to its stage: %w", err)
	}
	var started []byte
	for {
		kind, frame, err := c.stage.fromHolder.Next()
		switch {
		case errors.Is(err, io.EOF) && started != nil:
			// The pipe was closed by the execve: the program runs.
			c.server.send(cell.KindStarted, started)
			return cell.Exit{}, nil
		case errors.Is(err, io.EOF):
			return c.stageFault()
		case err != nil:
			return cell.Exit{}, fmt.Errorf("wait for the start: %w", err)
		case kind == cell.KindStarted && started == nil:
			started = append([]byte{}, frame...)
		case kind == cell.KindExit:
			return cell.DecodeExit(frame)
		default:
			return cell.Exit{}, fmt.Errorf("frame kind %d from the holder: %w", kind, cell.ErrProtocol)
		}
	}
}

// stageFault asks the stage why its holder has ended without a word.
func (c *call) stageFault() (cell.Exit, error) {
	if err := c.stage.report.SetReadDeadline(time.Now().Add(goneAfter)); err != nil {
		return cell.Exit{}, err
	}
	body, err := expect(c.stage.fromStage, cell.KindExit)
	if err != nil {
		return cell.Exit{}, fmt.Errorf("the holder ended before its program: %w", err)
	}
	end, err := cell.DecodeExit(body)
	if err == nil && end.StartError == "" {
		end.StartError = "the process that was to become the program was ended before"
		if end.Signal != 0 {
			end.StartError += fmt.Sprintf(" by signal %d", end.Signal)
		}
	}
	end.Poisoned = end.StartError // no fault of the program
	return end, err
}

// errNoReport says that a stage has ended without a word.
var errNoReport = errors.New("the call's stage ended without a report")

// awaitEnd waits for the stage's report that the program and all that it left
// are gone. A stage that was killed gives none: errNoReport.
func (c *call) awaitEnd() (cell.Exit, error) {
	body, err := expect(c.stage.fromStage, cell.KindExit)
	switch {
	case errors.Is(err, io.EOF):
		return cell.Exit{ExitCode: -1}, errNoReport
	case err != nil:
		return cell.Exit{ExitCode: -1}, fmt.Errorf("wait for the end: %w", err)
	}
	end, err := cell.DecodeExit(body)
	if err == nil && end.StartError != "" {
		err = errors.New(end.StartError) // the stage could not do its work
	}
	return end, err
}

// bury makes sure that nothing of the call is left, and writes down who ended
// it. After a report nothing is: the stage gives it as the last process. All
// else needs a kill and the stage's end.
func (c *call) bury(end *cell.Exit, err error, running bool) {
	c.mu.Lock()
	c.over = true
	why := c.cause
	c.mu.Unlock()
	if err == nil && running {
		return // by itself, even if the deadline came in the same moment
	}
	c.stage.kill()
	switch {
	case err == nil: // could not be started
	case errors.Is(err, errNoReport) && why != byItself:
		*end = cell.Exit{
			ExitCode: -1, Signal: int(unix.SIGKILL),
			TimedOut: why == timedOut, Cancelled: why == cancelled, OutputLimit: why == outputLimit,
		}
	case why == cancelled && !running:
		*end = cell.Exit{ExitCode: -1, Cancelled: true}
	default:
		*end = cell.Exit{ExitCode: -1, Poisoned: err.Error()}
		if !running {
			end.StartError = err.Error()
		}
	}
	if !c.stage.waitGone() {
		end.Poisoned = fmt.Sprintf("the call's stage is still there %v after its kill", goneAfter)
		for _, p := range c.pumps[cell.Stdout:] {
			p.giveUp()
		}
	}
}
