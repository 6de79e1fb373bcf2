package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/sandgate/sandgate/internal/config"
)

// maxMessageBytes is the largest answer that is taken.
const maxMessageBytes = 64 << 20

// client finds and dials the daemon.
type client struct{ addr string }

// errNoDaemon is the class of errors of a daemon that cannot be reached.
var errNoDaemon = errors.New("no daemon")

// dial connects to the daemon. What keeps a unix socket from being used is told
// before anything is sent. The caller closes the connection.
func (c *client) dial() (*grpc.ClientConn, error) {
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)),
	}
	addr := c.addr
	if addr == "" {
		addr = "unix://" + defaultSocket()
	}
	target := ""
	switch {
	case strings.HasPrefix(addr, "tcp://"):
		target = "passthrough:///" + strings.TrimPrefix(addr, "tcp://")
		if token := os.Getenv("SANDGATE_TOKEN"); token != "" {
			opts = append(opts, grpc.WithPerRPCCredentials(bearer(token)))
		}
	case strings.HasPrefix(addr, "unix:"), strings.HasPrefix(addr, "/"):
		path, err := filepath.Abs(strings.TrimPrefix(strings.TrimPrefix(addr, "unix:"), "//"))
		if err != nil {
			return nil, fmt.Errorf("--addr %q: %w", addr, err)
		}
		if err := usable(path); err != nil {
			return nil, err
		}
		target = "unix://" + path
		if token := os.Getenv("SANDGATE_APPROVER_TOKEN"); token != "" {
			opts = append(opts, grpc.WithPerRPCCredentials(bearer(token)))
		}
	default:
		return nil, fmt.Errorf("--addr %q: want unix:///path or tcp://host:port", addr)
	}
	return grpc.NewClient(target, opts...)
}

// defaultSocket is the socket of the user's own daemon or, if he has none, of
// the machine's.
func defaultSocket() string {
	if dir := os.Getenv("SANDGATE_DATA_DIR"); dir != "" {
		return filepath.Join(dir, config.SocketName)
	}
	own := filepath.Join(config.DefaultDataDir(), config.SocketName)
	if _, err := os.Lstat(own); errors.Is(err, fs.ErrNotExist) {
		system := filepath.Join(config.SystemDataDir, config.SocketName)
		if _, err := os.Lstat(system); err == nil || errors.Is(err, fs.ErrPermission) {
			return system
		}
	}
	return own
}

// usable says why a socket cannot be used and what to do, or nothing.
func usable(path string) error {
	conn, err := net.DialTimeout("unix", path, 5*time.Second)
	switch {
	case err == nil:
		return conn.Close()
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w answers at %s\nstart one with `sandgated` (as root), or name another address with --addr or SANDGATE_ADDR", errNoDaemon, path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("you may not use the daemon's socket %s\nask an operator to put you into its group (listen.unix.group) and under callers in the daemon's configuration, or run this as root: %w", path, fs.ErrPermission)
	case errors.Is(err, syscall.EINVAL), len(path) > 107:
		return fmt.Errorf("the path of the socket is too long: %s has %d bytes, the kernel takes at most 107", path, len(path))
	}
	return fmt.Errorf("connect to the daemon: %w", err)
}

// bearer sends a token with each request.
type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: the daemon
// speaks plain text on loopback.
func (bearer) RequireTransportSecurity() bool { return false }

// withoutClass takes the name of an error's class off its end where the text says more.
func withoutClass(text string, code codes.Code) string {
	class := map[codes.Code]string{
		codes.PermissionDenied: ": permission denied", codes.AlreadyExists: ": already exists", codes.FailedPrecondition: ": failed precondition",
		codes.InvalidArgument: ": invalid argument", codes.OutOfRange: ": out of range",
	}[code]
	if short, ok := strings.CutSuffix(text, class); ok && class != "" && strings.Contains(short, " ") {
		return short
	}
	if short, ok := strings.CutSuffix(text, ": not found"); ok && strings.Contains(short, "; ") {
		return short // it tells what became of the thing
	}
	return text
}

// explain makes a message for a person of an error: a gRPC status becomes its
// text, the fields that are wrong, and what can be done.
func explain(err error) string {
	st, ok := status.FromError(err)
	if !ok || st.Code() == codes.OK {
		return err.Error()
	}
	// Of an error that wraps a status the message is the whole text.
	text := strings.Replace(st.Message(), fmt.Sprintf("rpc error: code = %s desc = ", st.Code()), "", 1)
	text = withoutClass(text, st.Code())
	for _, d := range st.Details() {
		bad, ok := d.(*errdetails.BadRequest)
		if !ok || len(bad.GetFieldViolations()) < 2 {
			continue
		}
		text = "the request is wrong in several fields:"
		for _, v := range bad.GetFieldViolations() {
			text += "\n  " + v.GetField() + ": " + v.GetDescription()
		}
	}
	switch st.Code() { //nolint:exhaustive // the others speak for themselves
	case codes.Unauthenticated:
		if strings.Contains(text, "approvals.tokens_file") {
			text += "\nset SANDGATE_APPROVER_TOKEN to a token of that file, or unset it"
		} else {
			text += "\nset SANDGATE_TOKEN to a token of the daemon's tokens file"
		}
	case codes.Unavailable:
		if strings.Contains(text, "connection error") {
			text = "the daemon does not answer: " + text + "\nstart one with `sandgated`, or name another address with --addr or SANDGATE_ADDR"
		}
	case codes.Canceled:
		text = "cancelled"
	case codes.Unimplemented:
		text += "\nthe daemon may be of another version: see `sandgate version`"
	}
	return text
}
