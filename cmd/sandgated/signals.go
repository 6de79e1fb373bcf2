package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/logging"
)

// watchSignals returns a context that ends with the first SIGTERM or SIGINT; a
// second one ends the process at once. SIGHUP calls reload. The returned
// function ends the watching.
func watchSignals(parent context.Context, logger *zap.Logger, reload func(context.Context) error) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		stopping := false
		for {
			select {
			case <-done:
				return
			case s := <-signals:
				logger.Info("signal", zap.Stringer(logging.KeySignal, s))
				switch {
				case s == syscall.SIGHUP:
					if err := reload(ctx); err != nil {
						logger.Warn("policy was not loaded again", zap.Error(err))
					}
				case stopping:
					os.Exit(1)
				default:
					stopping = true
					cancel(fmt.Errorf("signal %v", s))
				}
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		<-ended
		cancel(nil)
	}
}
