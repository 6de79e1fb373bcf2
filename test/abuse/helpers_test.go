package abuse

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strconv"
	"testing"
	"time"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

func itoa(n int32) string { return strconv.Itoa(int(n)) }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return b
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// roundTrip streams data to cat and returns what comes back, on a daemon whose
// limits let that much through.
func roundTrip(t *testing.T, data []byte) []byte {
	t.Helper()
	d := daemontest.Start(t, "ceiling: {output: 64MiB}\ndefaults: {output: 64MiB}\npool: {idle: 1}\n")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	stream, err := d.Tools.ExecuteStream(ctx)
	if err != nil {
		t.Fatalf("ExecuteStream: %v", err)
	}
	start := daemontest.Bash("cat", daemontest.Profile("open")).GetCall()
	send := func(m *sandgatev1.ExecuteStreamRequest) error { return stream.Send(m) }
	if err := send(&sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Start{
		Start: &sandgatev1.ExecuteStart{Call: start, Stdin: true},
	}}); err != nil {
		t.Fatalf("send start: %v", err)
	}
	go func() {
		for rest := data; len(rest) > 0; {
			n := min(len(rest), 1<<20)
			if send(&sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Stdin{Stdin: rest[:n]}}) != nil {
				return // the receiving side tells why
			}
			rest = rest[n:]
		}
		_ = stream.CloseSend()
	}()
	var got []byte
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatalf("receive: %v", err)
		}
		if o := m.GetOutput(); o != nil && o.GetStream() == sandgatev1.Stream_STREAM_STDOUT {
			if o.GetOffset() != int64(len(got)) {
				t.Fatalf("gap: got offset %d, want %d", o.GetOffset(), len(got))
			}
			got = append(got, o.GetData()...)
		}
	}
}
