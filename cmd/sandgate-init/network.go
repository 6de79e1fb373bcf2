//go:build linux

package main

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"
)

// network tells whether anything has happened in the network namespace of a fork
// server since it was made. Making one and taking it away costs more than all
// other namespaces of a call together, and most calls open no socket; so one in
// which the kernel has counted nothing serves the next call as well.
type network struct {
	sockets, devices int // /proc/PID/net/sockstat and dev, 0 while it is not looked at
}

// open begins to look, at a namespace that no program has seen yet. Where the
// kernel does not tell, each call gets a new one.
func (n *network) open(pid int) {
	if n.sockets > 0 {
		return
	}
	var err error
	if n.sockets, err = unix.Open(fmt.Sprintf("/proc/%d/net/sockstat", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		n.sockets = 0
		return
	}
	if n.devices, err = unix.Open(fmt.Sprintf("/proc/%d/net/dev", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		n.devices = 0
	}
	if n.touched() {
		n.close()
	}
}

func (n *network) close() {
	for _, fd := range []*int{&n.sockets, &n.devices} {
		if *fd > 0 {
			_ = unix.Close(*fd) // only read
		}
		*fd = 0
	}
}

// touched reports that there is a socket or the memory of one, or that a device
// has seen a packet: or that none of it is known.
func (n *network) touched() bool {
	var buf [4096]byte
	if n.sockets <= 0 || n.devices <= 0 {
		return true
	}
	size, err := unix.Pread(n.sockets, buf[:], 0)
	if err != nil || !noSockets(buf[:size]) {
		return true
	}
	size, err = unix.Pread(n.devices, buf[:], 0)
	return err != nil || !noPackets(buf[:size])
}

// noSockets reads sockstat: no socket of any family, none of TCP that has lost
// its owner or waits for its time to be over.
func noSockets(text []byte) bool {
	return bytes.HasPrefix(text, []byte("sockets: used 0\n")) && bytes.Contains(text, []byte("\nTCP: inuse 0 orphan 0 tw 0 "))
}

// noPackets reads net/dev: two lines of titles, then a line of counters for each
// device.
func noPackets(text []byte) bool {
	devices := 0
	for i, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
		if i < 2 {
			continue
		}
		_, counters, ok := bytes.Cut(line, []byte(":"))
		for f := range bytes.FieldsSeq(counters) {
			ok = ok && string(f) == "0"
		}
		if !ok {
			return false
		}
		devices++
	}
	return devices > 0
}
