package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/logging"
	"github.com/sandgate/sandgate/internal/telemetry"
	"github.com/sandgate/sandgate/internal/version"
)

const (
	// spansBudget bounds the sending of the last spans.
	spansBudget = 2 * time.Second
	// scrapeBudget bounds one request of the metrics, from its first byte on.
	scrapeBudget = 15 * time.Second
)

// measures are what the daemon measures with; nil parts are not configured.
type measures struct {
	metrics  *telemetry.Metrics
	recorder *telemetry.Recorder
}

// openTelemetry makes what is configured of metrics and spans.
func (d *Daemon) openTelemetry(ctx context.Context) (measures, error) {
	var m measures
	if d.cfg.Metrics.Address != "" {
		m.metrics = telemetry.NewMetrics()
	}
	var spans *telemetry.Tracing
	if t := d.cfg.Tracing; t.Address != "" {
		var err error
		spans, err = telemetry.NewTracing(ctx, telemetry.TracingOptions{
			Address: t.Address, Insecure: t.Insecure, SampleRatio: t.SamplePercent / 100, Version: version.Get().Version,
			OnError: func(err error) { d.logger.Warn("spans were not sent", zap.Error(err)) },
		})
		if err != nil {
			return measures{}, err
		}
		d.later("tracing", func(ctx context.Context) error {
			ctx, cancel := context.WithTimeoutCause(ctx, spansBudget, errBudget)
			defer cancel()
			if err := spans.Close(ctx); err != nil {
				d.logger.Warn("the last spans were not sent", zap.Error(err))
			}
			return nil
		})
	}
	m.recorder = telemetry.NewRecorder(m.metrics, spans)
	return m, nil
}

// openMetrics opens the address of the metrics; nil when none is configured.
func (d *Daemon) openMetrics() (net.Listener, error) {
	address := d.cfg.Metrics.Address
	if address == "" {
		return nil, nil
	}
	var l net.Listener
	var err error
	if path, ok := d.cfg.Metrics.Socket(); ok {
		like := d.cfg.Listen.Unix
		like.Path = path
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, fmt.Errorf("metrics.address: %w", err)
		}
		l, err = listenUnix("metrics.address", like)
	} else {
		l, err = net.Listen("tcp", address)
	}
	if err != nil {
		return nil, fmt.Errorf("metrics.address: %w", err)
	}
	d.logger.Info("metrics", zap.Stringer(logging.KeyAddress, l.Addr()))
	d.later("metrics", func(context.Context) error {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	return l, nil
}

// serveMetrics answers scrapes on l until ctx ends.
func serveMetrics(ctx context.Context, l net.Listener, m *telemetry.Metrics) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	server := &http.Server{
		Handler: mux, ReadTimeout: scrapeBudget, WriteTimeout: scrapeBudget, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // a scrape may be broken off
	defer stop()
	if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}
