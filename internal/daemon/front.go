package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/config"
	"github.com/sandgate/sandgate/internal/logging"
	"github.com/sandgate/sandgate/internal/rpc"
)

// openFront makes the gRPC server and opens its sockets.
func (d *Daemon) openFront(cfg rpc.Config) (*rpc.Server, []net.Listener, error) {
	if path := d.cfg.Listen.TCP.TokensFile; path != "" {
		var err error
		if cfg.Tokens, err = rpc.LoadTokens(path); err != nil {
			return nil, nil, fmt.Errorf("listen.tcp.tokens_file: %w", err)
		}
	}
	if path := d.cfg.Approvals.TokensFile; path != "" {
		var err error
		if cfg.ApproverTokens, err = rpc.LoadTokens(path); err != nil {
			return nil, nil, fmt.Errorf("approvals.tokens_file: %w", err)
		}
	}
	server, err := rpc.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	var listeners []net.Listener
	keep := func(l net.Listener) {
		listeners = append(listeners, l)
		d.logger.Info("listening", zap.Stringer(logging.KeyAddress, l.Addr()))
		d.later("listener", func(context.Context) error {
			if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil
		})
	}
	unix, err := listenUnix("listen.unix.path", d.cfg.Listen.Unix)
	if err != nil {
		return nil, nil, fmt.Errorf("listen.unix: %w", err)
	}
	keep(unix)
	if addr := d.cfg.Listen.TCP.Address; addr != "" {
		tcp, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, nil, fmt.Errorf("listen.tcp.address: %w", err)
		}
		keep(tcp)
	}
	return server, listeners, nil
}

// listenUnix opens the socket in place of a stale one; key names its path in the
// configuration. Until it has its mode nobody but the daemon's own user can
// connect, unless the umask is odd.
func listenUnix(key string, cfg config.Unix) (net.Listener, error) {
	if err := config.SocketFree(key, cfg.Path); err != nil {
		return nil, err
	}
	if err := os.Remove(cfg.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	mode, err := cfg.FileMode()
	if err != nil {
		return nil, err
	}
	gid, err := cfg.GroupID()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", cfg.Path)
	if err != nil {
		return nil, err
	}
	if gid >= 0 {
		err = os.Chown(cfg.Path, -1, gid)
	}
	if err == nil {
		err = os.Chmod(cfg.Path, mode)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
