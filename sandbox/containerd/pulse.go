package containerd

import (
	"bytes"
	"io"
	"log/slog"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel looks whether another program is due when one sleeps or wakes and with each of
// its ticks, which are 4 ms apart in most kernels. A program that computes does not sleep:
// whoever wakes a moment before he is due waits for the next tick. That another processor has
// nothing to do does not help who was woken where he ran last, until a tick finds him there. So
// while heavy calls want half the processors, a program of its own (sandgate-shim by the name pulseName) wakes a
// thread on each of them every millisecond, for a few microseconds of real-time priority, and the kernel looks then.
// It takes a twentieth of a program that computes (a virtual machine's timer is dear), so it is there only while others call as well.
const (
	pulseName = "sandgate-pulse" // cmd/sandgate-shim knows it
	// pulseTick is a kernel's tick from which on a pulse is worth it.
	pulseTick = 1500 * time.Microsecond
	// pulseRest is for how long heavy calls must be few, or nobody else call, before the pulse ends.
	pulseRest = time.Second
	// pulseFrom is which part of all processors heavy calls want.
	pulseFrom = 0.5
)

// pulse is that program, or none. The zero value has none and never starts one. It is for
// one goroutine.
type pulse struct {
	often bool   // the kernel looks often enough by itself
	path  string // of sandgate-shim; empty: there is no pulse here
	log   *slog.Logger

	crowded bool      // heavy calls want many processors, and others call
	last    time.Time // when they did
	cmd     *exec.Cmd
	hold    io.Closer // it ends with this
	stderr  bytes.Buffer
	exited  chan struct{}
}

// newPulse finds whether one is needed, and whether there can be one.
func newPulse(cfg Config, log *slog.Logger) pulse {
	var tick unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &tick); err == nil && time.Duration(tick.Nano()) < pulseTick {
		return pulse{often: true}
	}
	path, err := cfg.findBinary(shimDeleter)
	if err != nil {
		return pulse{}
	}
	return pulse{path: path, log: log}
}

// want is told how many processors heavy calls want, and whether there are others beside them. It starts or ends the
// program, and returns whether there is a crowd in which the kernel looks often enough.
func (p *pulse) want(wanted float64, others bool, now time.Time) bool {
	if others && wanted >= pulseFrom*float64(runtime.NumCPU()) {
		p.crowded, p.last = true, now
	} else if now.Sub(p.last) >= pulseRest {
		p.crowded = false
	}
	if !p.crowded {
		p.stop()
		return false
	}
	if p.often {
		return true
	}
	if p.path != "" {
		p.begin()
	}
	return p.cmd != nil
}

// begin starts the program, if it does not run. One that has ended by itself may not run
// here, and is not started again.
func (p *pulse) begin() {
	if p.cmd != nil {
		select {
		case <-p.exited:
			p.log.Debug("the scheduler looks no more often beside heavy calls", "error", p.stderr.String())
			p.stop()
			p.path = ""
		default:
		}
		return
	}
	cmd := exec.Command(p.path) //nolint:gosec // the operator's own binary
	cmd.Args, cmd.Env = []string{pulseName}, []string{}
	p.stderr.Reset()
	cmd.Stderr = &p.stderr
	hold, err := cmd.StdinPipe() // its end is the program's: also when this process is killed
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		p.log.Debug("the scheduler looks no more often beside heavy calls", "error", err)
		p.path = ""
		return
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // what it had to say is in stderr
		close(exited)
	}()
	p.cmd, p.hold, p.exited = cmd, hold, exited
}

// stop ends it and waits for that.
func (p *pulse) stop() {
	if p.cmd == nil {
		return
	}
	_ = p.hold.Close()
	<-p.exited
	p.cmd, p.hold, p.exited = nil, nil, nil
}
