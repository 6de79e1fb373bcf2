package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protowire"
)

// goJudge starts a go-judge and sends it requests over gRPC, the quicker of its
// two protocols. The few fields that are needed are put on the wire by hand.
func goJudge(ctx context.Context, e Env) (_ *Peer, err error) {
	path, err := onPath("go-judge")
	if err != nil {
		return nil, err
	}
	version, err := Build(path, "github.com/criyle/go-judge")
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(e.Dir, "go-judge")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	addrs, err := freeAddresses(3)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, "-enable-grpc", "-grpc-addr", addrs[0], "-http-addr", addrs[1], "-monitor-addr", addrs[2], //nolint:gosec // the program that is measured
		"-no-fallback", "-release", "-silent", "-pre-fork", "4", "-dir", dir)
	cmd.Dir = dir // no configuration of somebody else's
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start go-judge: %w", err)
	}
	j := &judge{addr: addrs[0], request: judgeRequest(e.True), conns: map[int]*grpc.ClientConn{}}
	stop := func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // its exit code says nothing
		return j.close()
	}
	if err := j.ready(ctx); err != nil {
		return nil, errors.Join(err, stop())
	}
	return &Peer{
		Name: "go-judge", Version: version, Argv: e.True, Clients: []int{1, 4},
		Wall: "gRPC, prepared containers, namespaces, cgroup with memory and process limits; no seccomp filter, no policy, no journal, no second wall",
		Op:   j.run, Close: stop,
	}, nil
}

// freeAddresses are addresses of loopback on which nobody listens at present.
func freeAddresses(n int) ([]string, error) {
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer func() { _ = l.Close() }() // only after all are found, so that they differ
		out = append(out, l.Addr().String())
	}
	return out, nil
}

// judge is a client of one go-judge with a connection for each caller.
type judge struct {
	addr    string
	request []byte

	mu    sync.Mutex
	conns map[int]*grpc.ClientConn
}

// judgeStatusAccepted is Response.Result.StatusType.Accepted.
const judgeStatusAccepted = 1

// judgeReadyWithin bounds the start of go-judge.
const judgeReadyWithin = 20 * time.Second

func (j *judge) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, judgeReadyWithin, errors.New("go-judge did not answer in time"))
	defer cancel()
	for {
		err := j.run(ctx, 0)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (j *judge) conn(client int) (*grpc.ClientConn, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if c := j.conns[client]; c != nil {
		return c, nil
	}
	c, err := grpc.NewClient(j.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("connect to go-judge: %w", err)
	}
	j.conns[client] = c
	return c, nil
}

func (j *judge) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var errs []error
	for _, c := range j.conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func (j *judge) run(ctx context.Context, client int) error {
	conn, err := j.conn(client)
	if err != nil {
		return err
	}
	var reply []byte
	if err := conn.Invoke(ctx, "/pb.Executor/Exec", j.request, &reply, grpc.ForceCodec(rawCodec{})); err != nil {
		return fmt.Errorf("go-judge: %w", err)
	}
	return judgeAccepted(reply)
}

// judgeRequest is a pb.Request of one command with bounded output, memory,
// processes and time, as go-judge's own benchmark sends it.
func judgeRequest(argv []string) []byte {
	text := func(b []byte, field protowire.Number, s string) []byte {
		return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
	}
	number := func(b []byte, field protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
	}
	message := func(b []byte, field protowire.Number, m []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), m)
	}
	var cmd []byte
	for _, arg := range argv {
		cmd = text(cmd, 1, arg)
	}
	cmd = text(cmd, 2, "PATH=/usr/bin:/bin")
	cmd = message(cmd, 3, message(nil, 2, nil)) // stdin: a file of no bytes in memory
	for _, name := range []string{"stdout", "stderr"} {
		collector := number(text(nil, 1, name), 2, 1<<20)
		cmd = message(cmd, 3, message(nil, 4, collector))
	}
	cmd = number(cmd, 4, uint64(10*time.Second))
	cmd = number(cmd, 5, uint64(20*time.Second))
	cmd = number(cmd, 6, 512<<20)
	cmd = number(cmd, 7, 256)
	return message(nil, 2, cmd)
}

// judgeAccepted checks that a pb.Response tells of one command that ended well.
func judgeAccepted(reply []byte) error {
	results, problem := 0, ""
	err := eachField(reply, func(field protowire.Number, _ uint64, body []byte) {
		switch field {
		case 2:
			results++
			status, text := uint64(0), ""
			if err := eachField(body, func(field protowire.Number, v uint64, body []byte) {
				switch field {
				case 1:
					status = v
				case 3:
					text = string(body)
				}
			}); err != nil {
				problem = err.Error()
			}
			if status != judgeStatusAccepted {
				problem = "status " + strconv.FormatUint(status, 10) + ": " + text
			}
		case 3:
			problem = string(body)
		}
	})
	switch {
	case err != nil:
		return err
	case problem != "":
		return fmt.Errorf("go-judge: the command did not end well: %s", problem)
	case results != 1:
		return fmt.Errorf("go-judge: %d results, want 1", results)
	}
	return nil
}

// eachField visits the fields of a message; v is set for numbers, body for the rest.
func eachField(b []byte, visit func(field protowire.Number, v uint64, body []byte)) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("go-judge: malformed answer: %w", protowire.ParseError(n))
		}
		b = b[n:]
		var (
			v    uint64
			body []byte
		)
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			body, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return fmt.Errorf("go-judge: malformed answer: %w", protowire.ParseError(n))
		}
		visit(field, v, body)
		b = b[n:]
	}
	return nil
}

// rawCodec passes messages as they are on the wire.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) ([]byte, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("raw codec: got %T, want []byte", v)
	}
	return b, nil
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("raw codec: got %T, want *[]byte", v)
	}
	*b = append([]byte(nil), data...)
	return nil
}
