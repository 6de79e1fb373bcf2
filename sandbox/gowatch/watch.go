// Package gowatch calms the watching thread of a Go program's runtime (sysmon), of this
// process or of another one that this one may trace. The daemon calls it for itself, and
// sandbox/containerd for the inits of its cells. It must never change anything but how
// late the timers of that one thread may be.
package gowatch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Slack is what the daemon gives its watching thread. It still hands on the
// processors of goroutines that hang in a system call; one that ends sooner, as a write
// to the journal, gives its own back.
const Slack = 2 * time.Millisecond

// Calm lets the kernel lengthen the sleeps of the watching thread of a Go program by up to
// slack. The runtime sleeps there for 20 µs at a time while the program works, which the
// kernel makes about 80 µs of: it wakes a dozen times in each call of the daemon, mostly in
// the way of the thread that has the call.
//
// It needs CAP_SYS_NICE over the process; without it, or under a kernel that does not have
// such a setting, nothing changes and the error says so.
func Calm(pid int, slack time.Duration) error {
	tid, err := watcher(pid)
	if err != nil {
		return fmt.Errorf("find the watching thread of process %d: %w", pid, err)
	}
	path := filepath.Join("/proc", strconv.Itoa(tid), "timerslack_ns")
	if err := os.WriteFile(path, []byte(strconv.FormatInt(slack.Nanoseconds(), 10)), 0); err != nil {
		return fmt.Errorf("calm the watching thread of process %d: %w", pid, err)
	}
	return nil
}

// watcher is the thread that the runtime starts first, after the one it began in: the
// kernel lists threads in the order of their beginning. Were it another one, its
// timers would be late by as much, and no more.
func watcher(pid int) (int, error) {
	dir, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "task"))
	if err != nil {
		return 0, err
	}
	names, err := dir.Readdirnames(2)
	if err := errors.Join(err, dir.Close()); err != nil {
		return 0, err
	}
	if len(names) < 2 {
		return 0, errors.New("there is but one thread")
	}
	return strconv.Atoi(names[1])
}
