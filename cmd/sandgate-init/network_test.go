//go:build linux

package main

import (
	"context"
	"strings"
	"testing"
)

func TestTracesInANetworkNamespaceAreSeen(t *testing.T) {
	const (
		none    = "sockets: used 0\nTCP: inuse 0 orphan 0 tw 0 alloc 9 mem 3\nUDP: inuse 0 mem 0\n"
		titles  = "Inter-|   Receive  |  Transmit\n face |bytes    packets|bytes    packets\n"
		nothing = titles + "    lo:       0       0       0       0\n"
	)
	for text, want := range map[string]bool{
		none: true, "": false, strings.Replace(none, "used 0", "used 1", 1): false,
		strings.Replace(none, "tw 0", "tw 1", 1): false, strings.Replace(none, "orphan 0", "orphan 2", 1): false,
	} {
		if got := noSockets([]byte(text)); got != want {
			t.Errorf("no sockets in %q: got %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]bool{
		nothing: true, titles: false, "": false, titles + "    lo:       0       1       0       0\n": false,
		nothing + "  eth0:       0       0       0       1\n": false,
	} {
		if got := noPackets([]byte(text)); got != want {
			t.Errorf("no packets in %q: got %v, want %v", text, got, want)
		}
	}
}

// TestUsedNetworkNamespaceServesNoOtherCall: a connection over loopback leaves a
// socket that waits for its time to be over, and counters.
func TestUsedNetworkNamespaceServesNoOtherCall(t *testing.T) {
	c := startCellByStdio(t)
	ctx := context.Background()
	slot := func(script string) (ns, out string) {
		t.Helper()
		for {
			p, err := c.Prepare(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if p.Slot == 0 {
				r := c.exec(ctx, t, base("bash", "-c", script))
				if r.ExitCode != 0 {
					t.Fatalf("got %+v, %q", r.Exit, r.stderr)
				}
				return p.Proof.Namespaces["net"], string(r.stdout)
			}
			if r := c.exec(ctx, t, base("true")); r.ExitCode != 0 {
				t.Fatalf("got %+v", r.Exit)
			}
		}
	}
	first, _ := slot("true")
	again, _ := slot("true")
	if first == "" || first != again {
		t.Errorf("namespaces of two calls without a socket are %q and %q, want the same: it costs half a millisecond", first, again)
	}
	used, _ := slot(`python3 -c '
import socket
s=socket.socket(); s.bind(("127.0.0.1",0)); s.listen()
c=socket.create_connection(s.getsockname()); a,_=s.accept(); a.close(); c.recv(1); c.close()'`)
	after, out := slot("cat /proc/net/sockstat /proc/net/dev")
	if used == after {
		t.Error("the namespace in which a connection was made serves another call")
	}
	if !noSockets([]byte(out)) || !strings.Contains(out, "lo:       0       0") {
		t.Errorf("the call after sees traces of the one before:\n%s", out)
	}
	if used != again {
		t.Errorf("namespace %q was not the one before, %q: no test", used, again)
	}
}
