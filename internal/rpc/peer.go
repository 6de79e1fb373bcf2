package rpc

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
)

// peerInfo is what the kernel says of the other end of a connection.
type peerInfo struct {
	credentials.CommonAuthInfo
	unix          bool
	uid, gid, pid int    // of a unix peer, at the time it connected
	exe           string // of a unix peer; a hint: the process may have become another
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
	info := peerInfo{
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		unix:           true, uid: int(cred.Uid), gid: int(cred.Gid), pid: int(cred.Pid),
	}
	// A peer in another pid namespace has pid 0; one that has already gone has no link.
	if info.pid > 0 {
		if exe, err := os.Readlink("/proc/" + strconv.Itoa(info.pid) + "/exe"); err == nil && len(exe) <= maxPathBytes {
			info.exe = exe
		}
	}
	return info, nil
}
