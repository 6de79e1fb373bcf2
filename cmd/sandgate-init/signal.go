//go:build linux

package main

import (
	"bytes"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
)

// maxEarly bounds the signals that wait for a program to be started.
const maxEarly = 16

// signal sends a signal to the program's process group, with a terminal to the one in
// its foreground. One that comes before the program runs waits for it.
func (c *call) signal(signal unix.Signal) {
	switch {
	case c.phase > running || c.cause != byItself:
		return
	case c.phase < running:
		if len(c.early) < maxEarly {
			c.early = append(c.early, signal)
		}
		return
	}
	group := c.foreground()
	if group == 0 {
		group = c.stage.program()
	}
	if group <= 1 { // it has just ended
		return
	}
	if err := unix.Kill(-group, signal); err != nil && !errors.Is(err, unix.ESRCH) {
		logf("send signal %d to call %d: %v", signal, c.request.Seq, err)
	}
}

// foreground is the process group that has the terminal; 0: there is none.
func (c *call) foreground() int {
	fd := c.stage.output[cell.Stdout]
	if c.terminal == nil || fd < 0 {
		return 0
	}
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	if err != nil || group < 0 {
		return 0
	}
	return group
}

// program finds the pid of the stage's program, whose process group has the same number;
// 0: it has ended. Others can have become the stage's children, which leads its namespace.
func (n *stage) program() int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		logf("look for a program: %v", err)
		return 0
	}
	first := 0
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid <= 1 {
			continue
		}
		status, err := os.ReadFile("/proc/" + e.Name() + "/status")
		if err != nil || statusNumber(status, "PPid:") != n.pid {
			continue
		}
		switch statusNumber(status, "NSpid:") {
		case n.prepared.HolderPID:
			return pid
		case -1: // gVisor does not tell it; the program is the stage's oldest child
			if first == 0 || pid < first {
				first = pid
			}
		}
	}
	return first
}

// statusNumber is the last number in a line of /proc/N/status; -1: there is none.
func statusNumber(status []byte, key string) int {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte(key)); ok {
			fields := bytes.Fields(rest)
			if len(fields) == 0 {
				return -1
			}
			n, err := strconv.Atoi(string(fields[len(fields)-1]))
			if err != nil {
				return -1
			}
			return n
		}
	}
	return -1
}
