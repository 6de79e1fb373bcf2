package containerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
)

// link is the way to a cell's init: a unix socket of the cell's own, which is
// mounted into it and accepts once. gVisor does not let a socket of the machine
// in; there the protocol goes over init's stdin and stdout through the shim. Its
// stderr is its log in either case.
type link struct {
	*pipes
	socket string // path on the machine; empty for stdin and stdout
	listen *net.UnixListener
}

// openLink makes the link in a new directory.
func openLink(dir string, overStdio bool) (*link, error) {
	p, err := openPipes(dir, overStdio)
	if err != nil {
		return nil, err
	}
	l := &link{pipes: p}
	if overStdio {
		return l, nil
	}
	l.socket = filepath.Join(dir, "init")
	l.listen, err = net.ListenUnix("unix", &net.UnixAddr{Name: l.socket, Net: "unix"})
	if err == nil {
		// The directory is closed to everybody else; the cell's root, an id without
		// any right on the machine, reaches the mounted socket only.
		err = os.Chmod(l.socket, 0o666) //nolint:gosec // see above
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for init: %w", err), l.Close())
	}
	return l, nil
}

// accept waits for init and lets nobody else in. For a link over stdin and stdout
// there is nothing to wait for.
func (l *link) accept(ctx context.Context) (in, out closer, err error) {
	if l.listen == nil {
		return l.stdout, l.stdin, nil
	}
	defer l.listen.Close() //nolint:errcheck // it has served, or failed
	stop := context.AfterFunc(ctx, func() { _ = l.listen.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := l.listen.AcceptUnix()
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, nil, fmt.Errorf("wait for init: %w", err)
	}
	return conn, conn, nil
}

// closer is an end of a link.
type closer interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	Close() error
}

// Close closes and removes everything but the connection that accept gave.
func (l *link) Close() error {
	l.closeListener()
	return l.pipes.Close()
}

func (l *link) closeListener() {
	if l.listen != nil {
		_ = l.listen.Close() // it may have been closed by accept
	}
}

// creator hands the link to the containerd client.
func (l *link) creator(string) (cio.IO, error) { return l, nil }
