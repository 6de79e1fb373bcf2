package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

// Metrics says where Prometheus finds the daemon's figures.
type Metrics struct {
	// Address is host:port with a numeric loopback host, such as "127.0.0.1:9464", or
	// "unix:///path" of a socket that gets the mode and group of listen.unix. Default:
	// empty, nothing is measured or served. Whoever reaches it sees how busy the daemon
	// is, but nothing of its callers.
	Address string `json:"address"`
}

// Tracing says where OpenTelemetry spans go: one of each call, with one of each
// stage, in the trace that the host's W3C headers name.
type Tracing struct {
	// Address of a collector that speaks OTLP over gRPC: "host:port" or "unix:///path".
	// Default: empty, there are no spans. Spans name tools, call and session ids, but no
	// arguments and no output.
	Address string `json:"address"`
	// Insecure is for a collector without TLS. Default false. Keep it for loopback.
	Insecure bool `json:"insecure"`
	// SamplePercent is how many of 100 calls that came without a trace get one, above 0
	// to 100. Default 100. Of a call that came with one its host decides.
	SamplePercent float64 `json:"sample_percent"`
}

// Socket returns the path of a unix socket; false when Address is another one.
func (m Metrics) Socket() (path string, ok bool) {
	return strings.CutPrefix(m.Address, "unix://")
}

func (m Metrics) problems() []string {
	if m.Address == "" {
		return nil
	}
	if path, ok := m.Socket(); ok {
		if !filepath.IsAbs(path) || len(path) > maxSocketPath || strings.ContainsAny(path, "\x00\n") {
			return []string{fmt.Sprintf("metrics.address: %q: want \"unix://\" and an absolute path of at most %d bytes", m.Address, maxSocketPath)}
		}
		return nil
	}
	addr, err := netip.ParseAddrPort(m.Address)
	switch {
	case err != nil:
		return []string{fmt.Sprintf("metrics.address: %q: want a numeric host and a port, such as \"127.0.0.1:9464\", or \"unix:///path\"", m.Address)}
	case !addr.Addr().IsLoopback():
		return []string{fmt.Sprintf("metrics.address: %q is not loopback: metrics are served to whoever reaches them; want a loopback address or a unix socket", m.Address)}
	}
	return nil
}

func (t Tracing) problems() []string {
	var bad []string
	if t.SamplePercent <= 0 || t.SamplePercent > 100 {
		bad = append(bad, fmt.Sprintf("tracing.sample_percent: %v: want above 0 to 100", t.SamplePercent))
	}
	if t.Address == "" {
		if t.Insecure {
			bad = append(bad, "tracing.address: is missing: without it the other keys of tracing do nothing")
		}
		return bad
	}
	if path, ok := strings.CutPrefix(t.Address, "unix://"); ok {
		if !filepath.IsAbs(path) {
			bad = append(bad, fmt.Sprintf("tracing.address: %q: want \"unix://\" and an absolute path", t.Address))
		}
		return bad
	}
	host, port, err := net.SplitHostPort(t.Address)
	if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 1 || n > 65535 || host == "" {
		bad = append(bad, fmt.Sprintf("tracing.address: %q: want host:port, such as \"127.0.0.1:4317\", or \"unix:///path\"", t.Address))
	}
	return bad
}
