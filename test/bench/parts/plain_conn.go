package parts

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"google.golang.org/protobuf/proto"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// PlainConn carries messages with their length before each, one call at a time: what is
// left of a remote call without gRPC.
type PlainConn struct {
	conn net.Conn
	in   []byte
}

// messageBytes is the most that a message of the benchmark has.
const messageBytes = 64 << 10

// DialPlain connects to a least daemon without gRPC.
func DialPlain(ctx context.Context, socket string) (*PlainConn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("connect to the least daemon: %w", err)
	}
	return newPlainConn(conn), nil
}

func newPlainConn(conn net.Conn) *PlainConn {
	return &PlainConn{conn: conn, in: make([]byte, messageBytes)}
}

// Execute makes a call.
func (p *PlainConn) Execute(req *sandgatev1.ExecuteRequest) (*sandgatev1.ExecuteResponse, error) {
	resp := &sandgatev1.ExecuteResponse{}
	return resp, errors.Join(p.write(req), p.read(resp))
}

// Close ends the connection.
func (p *PlainConn) Close() error { return p.conn.Close() }

func (p *PlainConn) write(m proto.Message) error {
	b, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, 4, 1024), m)
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4)) //nolint:gosec // a small number
	if _, err := p.conn.Write(b); err != nil {
		return fmt.Errorf("send a message: %w", err)
	}
	return nil
}

func (p *PlainConn) read(m proto.Message) error {
	n := 0
	for n < 4 || n < 4+int(binary.LittleEndian.Uint32(p.in)) {
		if n == len(p.in) {
			return fmt.Errorf("receive a message: it has more than %d bytes", len(p.in))
		}
		k, err := p.conn.Read(p.in[n:])
		if err != nil {
			return fmt.Errorf("receive a message: %w", err)
		}
		n += k
	}
	if err := proto.Unmarshal(p.in[4:n], m); err != nil {
		return fmt.Errorf("decode a message: %w", err)
	}
	return nil
}

// servePlain answers the calls of each connection one after the other, until ended.
func servePlain(ctx context.Context, l net.Listener, s *leastServer, ended <-chan struct{}) error {
	go func() {
		<-ended
		_ = l.Close() // that is the end of Accept
	}()
	for {
		conn, err := l.Accept()
		if err != nil {
			select {
			case <-ended:
				return nil
			default:
				return fmt.Errorf("serve: %w", err)
			}
		}
		go func() {
			p := newPlainConn(conn)
			defer p.Close() //nolint:errcheck // its other end is gone, or is told so
			for {
				req := &sandgatev1.ExecuteRequest{}
				if p.read(req) != nil {
					return
				}
				resp, err := s.Execute(ctx, req)
				if err != nil || p.write(resp) != nil {
					return
				}
			}
		}()
	}
}
