package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// call is one call of the load.
type call struct {
	id, session, profile, command string
	writes                        bool // its line, when it ends as it should
	want                          sandgatev1.Outcome
	exit                          int32
	twice                         bool // two clients send it at once
}

func (c *call) request() *sandgatev1.ExecuteRequest {
	opts := []daemontest.Option{daemontest.CallID(c.id), daemontest.Profile(c.profile), daemontest.Timeout(30 * time.Second)}
	if c.session != "" {
		opts = append(opts, daemontest.Session(c.session))
	}
	return daemontest.Bash(c.command, opts...)
}

// newCall makes a call. Most write their line into the workspace of a session that
// several clients share: at once, after a while, before a while, by a process in
// the background, or before they fail. Others write none: those that policy
// denies, and those without a session.
func newCall(rng *rand.Rand, id string, sessions int) call {
	c := call{
		id: id, session: fmt.Sprintf("s%d", rng.IntN(sessions)), profile: "open", writes: true,
		want: sandgatev1.Outcome_OUTCOME_EXITED, twice: rng.IntN(5) == 0,
	}
	write := "echo " + id + " >>" + linesFile // one write at the end of the file
	pause := fmt.Sprintf("sleep 0.%03d", rng.IntN(80))
	switch n := rng.IntN(20); {
	case n < 8:
		c.command = write
	case n < 11:
		c.command = pause + "; " + write
	case n < 14:
		c.command = write + "; " + pause
	case n < 16:
		c.command = "(" + pause + "; " + write + ") & wait"
	case n < 17:
		c.command, c.exit = write+"; exit 3", 3
	case n < 18:
		c.command, c.session, c.profile, c.want, c.exit, c.writes = write, "", "locked", sandgatev1.Outcome_OUTCOME_DENIED, -1, false
	default:
		c.command, c.session, c.writes = pause, "", false
	}
	return c
}

// load is clients that send one call after another.
type load struct {
	book  *book
	plan  *plan
	tools sandgatev1.ToolServiceClient
	conn  *grpc.ClientConn
	wg    sync.WaitGroup
	stop  chan struct{} // closed: no further calls, but those begun get their answer
}

func startLoad(ctx context.Context, p *plan, b *book, socket string, seed uint64) (*load, error) {
	conn, err := daemontest.Dial("unix://" + socket)
	if err != nil {
		return nil, err
	}
	l := &load{book: b, plan: p, tools: sandgatev1.NewToolServiceClient(conn), conn: conn, stop: make(chan struct{})}
	for w := range p.workers {
		l.wg.Go(func() { l.work(ctx, w, seed) })
	}
	return l, nil
}

// work sends calls until the load stops.
func (l *load) work(ctx context.Context, worker int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, uint64(worker)+1)) //nolint:gosec // repeatable
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			return
		case <-ctx.Done():
			return
		default:
		}
		c := newCall(rng, fmt.Sprintf("w%d-%05d", worker, n), l.plan.sessions)
		l.book.send(c)
		var second sync.WaitGroup
		if c.twice {
			second.Go(func() { l.settle(ctx, c) })
		}
		l.settle(ctx, c)
		second.Wait()
	}
}

// finish waits until every call that was begun is answered.
func (l *load) finish() {
	close(l.stop)
	l.wg.Wait()
}

const (
	// attemptWithin bounds one attempt; one that takes as long has lost its call.
	attemptWithin = 45 * time.Second
	// settleWithin bounds all attempts of a call.
	settleWithin = 4 * time.Minute
)

// settle sends a call, and again under its id, until it is answered.
func (l *load) settle(ctx context.Context, c call) {
	began := time.Now()
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, attemptWithin)
		resp, err := l.tools.Execute(attempt, c.request(), grpc.WaitForReady(true))
		cancel()
		if err == nil {
			l.book.answered(c, resp.GetResult())
			return
		}
		if ctx.Err() != nil {
			return
		}
		l.book.failed(status.Code(err).String(), err)
		if time.Since(began) > settleWithin {
			l.book.blame("%s has no answer after %v, the last attempt: %v", c.id, settleWithin, err)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(30 * time.Millisecond):
		}
	}
}

// again asks once more for calls that were answered; the book compares.
func (l *load) again(ctx context.Context, calls []call) {
	next := make(chan call)
	var wg sync.WaitGroup
	for range l.plan.workers {
		wg.Go(func() {
			for c := range next {
				l.settle(ctx, c)
			}
		})
	}
	for _, c := range calls {
		next <- c
	}
	close(next)
	wg.Wait()
}
