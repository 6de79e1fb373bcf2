package gowatch

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"testing"
	"time"
)

// switches is how often each thread of this process went to sleep by itself.
func switches(t *testing.T) map[int]int {
	t.Helper()
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	out := map[int]int{}
	for _, thread := range threads {
		text, err := os.ReadFile("/proc/self/task/" + thread.Name() + "/status")
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has ended
		}
		_, rest, ok := bytes.Cut(text, []byte("\nvoluntary_ctxt_switches:"))
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		tid, aerr := strconv.Atoi(thread.Name())
		n, nerr := strconv.Atoi(string(bytes.TrimSpace(line)))
		if err = errors.Join(err, aerr, nerr); err != nil || !ok {
			t.Fatalf("status of thread %s: %v", thread.Name(), err)
		}
		out[tid] = n
	}
	return out
}

// TestWatcherIsTheThreadThatWakesAllTheTime keeps this thread busy: none sleeps and
// wakes meanwhile but the runtime's watcher.
func TestWatcherIsTheThreadThatWakesAllTheTime(t *testing.T) {
	tid, err := watcher(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	before := switches(t)
	for began := time.Now(); time.Since(began) < 100*time.Millisecond; {
	}
	most, number := 0, -1
	for thread, n := range switches(t) {
		if n -= before[thread]; n > number {
			most, number = thread, n
		}
	}
	if most != tid {
		t.Errorf("the watcher is said to be thread %d, but %d woke most, %d times", tid, most, number)
	}
}

func TestWatcherIsCalmed(t *testing.T) {
	if err := Calm(os.Getpid(), Slack); errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		t.Skipf("not here: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	tid, err := watcher(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(fmt.Sprintf("/proc/%d/timerslack_ns", tid))
	if err != nil || string(bytes.TrimSpace(got)) != strconv.FormatInt(Slack.Nanoseconds(), 10) {
		t.Errorf("slack of the watcher's timers: got %q, %v; want %d", got, err, Slack.Nanoseconds())
	}
}
