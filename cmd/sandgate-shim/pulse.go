//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// What sandbox/containerd calls this program by where it is to have the kernel's scheduler
// look more often than with its ticks, and how often.
const (
	pulseName  = "sandgate-pulse"
	pulseEvery = time.Millisecond
)

func isPulse(name string) bool { return filepath.Base(name) == pulseName }

// pulse wakes a thread on each processor every pulseEvery until in ends. The threads need
// the least real-time priority: else they would wait for a tick themselves. Each has
// nothing to do but to wake.
func pulse(in io.Reader) error {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return fmt.Errorf("ask for processors: %w", err)
	}
	failed := make(chan error, all.Count())
	for cpu, left := 0, all.Count(); left > 0; cpu++ {
		if all.IsSet(cpu) {
			left--
			go func() { failed <- beat(cpu) }()
		}
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, in)
		ended <- err
	}()
	select {
	case err := <-failed:
		return err
	case err := <-ended:
		return err
	}
}

// beat wakes on one processor, and returns only if it may not.
func beat(cpu int) error {
	runtime.LockOSThread() // never unlocked: the thread ends with its priority
	var one unix.CPUSet
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("go to processor %d: %w", cpu, err)
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Flags: unix.SCHED_FLAG_RESET_ON_FORK, Priority: 1}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return fmt.Errorf("take real-time priority: %w", err)
	}
	pause := unix.NsecToTimespec(pulseEvery.Nanoseconds())
	for {
		if err := unix.Nanosleep(&pause, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("sleep: %w", err)
		}
	}
}

// runPulse is pulse on stdin; it returns the program's exit code.
func runPulse() int {
	if err := pulse(os.Stdin); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", pulseName, err)
		return 1
	}
	return 0
}
