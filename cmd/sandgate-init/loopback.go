//go:build linux

package main

import "golang.org/x/sys/unix"

// raiseLoopback brings 127.0.0.1 up in the call's own network namespace. Without
// CAP_NET_ADMIN the call simply has none: it is a convenience, not a wall.
func raiseLoopback() {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(s) }()
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	_ = unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, request)
}
