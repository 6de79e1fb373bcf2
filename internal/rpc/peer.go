package rpc

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"

	"github.com/sandgate/sandgate/internal/gate"
)

// peerInfo is what the kernel says of the other end of a connection.
type peerInfo struct {
	credentials.CommonAuthInfo
	unix bool
	// caller is who a unix peer was when it connected. Its executable is a hint: the
	// process may have become another.
	caller gate.Caller
}

// AuthType implements credentials.AuthInfo.
func (peerInfo) AuthType() string { return "sandgate-peer" }

// peerCredentials are transport credentials without encryption that ask the
// kernel who connected. A connection that is neither a unix socket nor TCP is
// refused.
type peerCredentials struct{}

var _ credentials.TransportCredentials = peerCredentials{}

// ServerHandshake implements credentials.TransportCredentials.
func (peerCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	switch c := conn.(type) {
	case *net.UnixConn:
		info, err := unixPeer(c)
		if err != nil {
			return nil, nil, fmt.Errorf("peer of unix socket: %w", err)
		}
		return conn, info, nil
	case *net.TCPConn:
		return conn, peerInfo{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}}, nil
	}
	return nil, nil, fmt.Errorf("connection is %T: want a unix socket or TCP", conn)
}

// ClientHandshake implements credentials.TransportCredentials; the daemon is
// never a client.
func (peerCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, fmt.Errorf("peer credentials are for servers")
}

// Info implements credentials.TransportCredentials.
func (peerCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "sandgate-peer"}
}

// Clone implements credentials.TransportCredentials.
func (c peerCredentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName implements credentials.TransportCredentials.
func (peerCredentials) OverrideServerName(string) error { return nil }

func unixPeer(c *net.UnixConn) (peerInfo, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return peerInfo{}, err
	}
	var cred *unix.Ucred
	var optErr error
	if err := raw.Control(func(fd uintptr) {
		cred, optErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return peerInfo{}, err
	}
	if optErr != nil {
		return peerInfo{}, os.NewSyscallError("getsockopt SO_PEERCRED", optErr)
	}
	exe := ""
	// A peer in another pid namespace has pid 0; one that has already gone has no link.
	if cred.Pid > 0 {
		if link, err := os.Readlink("/proc/" + strconv.Itoa(int(cred.Pid)) + "/exe"); err == nil && len(link) <= maxPathBytes {
			exe = link
		}
	}
	return newUnixPeer(int(cred.Uid), int(cred.Gid), int(cred.Pid), exe), nil
}

// newUnixPeer names a unix peer once for all requests of its connection.
func newUnixPeer(uid, gid, pid int, exe string) peerInfo {
	c := gate.Caller{ID: "unix:uid:" + strconv.Itoa(uid), Transport: "unix", UID: &uid, GID: &gid, Exe: exe}
	if pid > 0 {
		c.PID = &pid
	}
	return peerInfo{
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, unix: true, caller: c,
	}
}
