package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// The Go runtime's watching thread (sysmon) sleeps for 20 µs at a time while the
// program works, which the kernel makes about 80 µs of: it woke a dozen times in each
// call of the daemon, mostly in the way of the thread that had the call. With a sleep
// of two milliseconds it still hands on the processors of goroutines that hang in a system
// call; one that ends sooner, as a write to the journal, gives its own back.
const watchNanos = 2_000_000

// calmWatcher lets the kernel lengthen the sleeps of the runtime's watching thread, of
// that thread alone. It needs CAP_SYS_NICE; without it, or under a kernel that does
// not have such a setting, nothing changes and the error says so.
func calmWatcher() error {
	tid, err := watcher()
	if err != nil {
		return fmt.Errorf("find the runtime's watching thread: %w", err)
	}
	path := filepath.Join("/proc", strconv.Itoa(tid), "timerslack_ns")
	if err := os.WriteFile(path, []byte(strconv.Itoa(watchNanos)), 0); err != nil {
		return fmt.Errorf("calm the runtime's watching thread: %w", err)
	}
	return nil
}

// watcher is the thread that the runtime starts first, after the one it began in: the
// kernel lists threads in the order of their beginning. Were it another one, its
// timers would be late by as much, and no more.
func watcher() (int, error) {
	dir, err := os.Open("/proc/self/task")
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
