//go:build linux

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPulseIsAskedForByItsName(t *testing.T) {
	for name, want := range map[string]bool{"sandgate-pulse": true, "/x/sandgate-pulse": true, "sandgate-shim": false, "sandgate-pulse-1": false} {
		if got := isPulse(name); got != want {
			t.Errorf("%q: got %t, want %t", name, got, want)
		}
	}
}

// TestPulseHasAThreadOfRealTimeOnEachProcessor until its input ends.
func TestPulseHasAThreadOfRealTimeOnEachProcessor(t *testing.T) {
	in, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- pulse(in) }()
	var got int
	for deadline := time.Now().Add(10 * time.Second); got != runtime.NumCPU(); time.Sleep(time.Millisecond) { // polls a condition
		select {
		case err := <-done:
			if errors.Is(err, unix.EPERM) {
				t.Skipf("not allowed here: %v", err)
			}
			t.Fatalf("it ended: %v", err)
		default:
		}
		if got = realTimeThreads(t); time.Now().After(deadline) {
			t.Fatalf("%d threads have real-time priority, want %d", got, runtime.NumCPU())
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("got %v at the end of its input, want none", err)
	}
}

// realTimeThreads counts those of this process with SCHED_FIFO and priority 1.
func realTimeThreads(t *testing.T) (n int) {
	t.Helper()
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile("/proc/self/task/" + thread.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := bytes.Cut(text, []byte(") "))
		f := bytes.Fields(rest) // from the third field on; 40 is the priority, 41 the policy
		if len(f) > 38 && string(f[37]) == "1" && string(f[38]) == "1" {
			n++
		}
	}
	return n
}
