package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// interrupts lets a command that is under way take a Ctrl-C for something else than its
// own end.
type interrupts struct {
	mu   sync.Mutex
	take func() bool // reports whether it took it; nil: nobody does
}

type interruptsKey struct{}

// untilSignal returns a context that ends with SIGTERM, and with a SIGINT that nobody
// takes.
func untilSignal(parent context.Context) (context.Context, context.CancelFunc) {
	in := &interrupts{}
	ctx, cancel := context.WithCancelCause(context.WithValue(parent, interruptsKey{}, in))
	came := make(chan os.Signal, 4)
	signal.Notify(came, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		for {
			select {
			case s := <-came:
				if s != syscall.SIGINT || !in.taken() {
					cancel(nil)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(came)
		cancel(nil)
	}
}

func (in *interrupts) taken() bool {
	in.mu.Lock()
	take := in.take
	in.mu.Unlock()
	return take != nil && take()
}

// onInterrupt has take asked about each Ctrl-C until the returned function is called. It
// runs beside the command.
func onInterrupt(ctx context.Context, take func() bool) func() {
	in, ok := ctx.Value(interruptsKey{}).(*interrupts)
	if !ok {
		return func() {}
	}
	set := func(f func() bool) {
		in.mu.Lock()
		in.take = f
		in.mu.Unlock()
	}
	set(take)
	return func() { set(nil) }
}
