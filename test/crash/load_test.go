package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
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
	parts                         bool // it is a transaction and writes the other files as well
	life                          bool // its session is made for it and closed after it
	detached                      bool // nobody waits for it: it is asked for until it has ended
	free                          bool // it may end in any way
}

func (c *call) request() *sandgatev1.ExecuteRequest {
	opts := []daemontest.Option{daemontest.CallID(c.id), daemontest.Profile(c.profile), daemontest.Timeout(30 * time.Second)}
	if c.session != "" {
		opts = append(opts, daemontest.Session(c.session))
	}
	req := daemontest.Bash(c.command, opts...)
	req.Detach = c.detached
	return req
}

// partFiles are what a transactional call changes beside linesFile: its line is in all
// of them or in none.
func partFiles() []string { return []string{"part-a", "part-b", "part-c"} }

// newCall makes a call. Most write their line into the workspace of a session that
// several clients share: at once, after a while, before a while, by a process in
// the background, or before they fail. Others write none: those that policy
// denies, and those without a session. Some are transactions, some have to be approved,
// and some have a session of their own.
func newCall(rng *rand.Rand, id string, worker, sessions int) call {
	c := call{
		id: id, session: fmt.Sprintf("s%d", rng.IntN(sessions)), profile: "open", writes: true,
		want: sandgatev1.Outcome_OUTCOME_EXITED, twice: rng.IntN(5) == 0,
	}
	write := "echo " + id + " >>" + linesFile // one write at the end of the file
	pause := fmt.Sprintf("sleep 0.%03d", rng.IntN(80))
	switch n := rng.IntN(26); {
	case n < 8:
		c.command = write
	case n < 11:
		c.command, c.detached = pause+"; "+write, n == 10
	case n < 14:
		c.command = write + "; " + pause
	case n < 16:
		c.command = "(" + pause + "; " + write + ") & wait"
	case n < 17:
		c.command, c.exit = write+"; exit 3", 3
	case n < 18:
		c.command, c.session, c.profile, c.want, c.exit, c.writes = write, "", "locked", sandgatev1.Outcome_OUTCOME_DENIED, -1, false
	case n < 20:
		c.command, c.session, c.writes = pause, "", false
	case n < 22: // nobody else works there, so that there are no conflicts
		c.session, c.profile, c.parts = fmt.Sprintf("t%d", worker), "careful", true
		c.command = "for f in " + linesFile + " " + strings.Join(partFiles(), " ") + "; do echo " + id + " >>$f; done; rm -rf d-*; mkdir d-" + id + "; echo >d-" + id + "/f"
	case n < 24:
		c.session, c.profile = fmt.Sprintf("a%d", worker), "asking" // nobody else changes the file that is approved
		c.command = write
	default:
		c.command, c.session, c.writes, c.life, c.twice = "echo >f", "x-"+id, false, true, false
	}
	return c
}

// load is clients that send one call after another.
type load struct {
	book  *book
	plan  *plan
	tools sandgatev1.ToolServiceClient
	asks  sandgatev1.ApprovalServiceClient
	terms sandgatev1.SessionServiceClient
	conn  *grpc.ClientConn
	// repository is where working trees come from.
	repository string

	wg   sync.WaitGroup
	stop chan struct{} // closed: no further calls, but those begun get their answer
}

func startLoad(ctx context.Context, p *plan, b *book, socket, repository string, seed uint64) (*load, error) {
	conn, err := daemontest.Dial("unix://" + socket)
	if err != nil {
		return nil, err
	}
	l := &load{
		book: b, plan: p, repository: repository, conn: conn, tools: sandgatev1.NewToolServiceClient(conn),
		asks: sandgatev1.NewApprovalServiceClient(conn), terms: sandgatev1.NewSessionServiceClient(conn), stop: make(chan struct{}),
	}
	for w := range p.workers {
		l.wg.Go(func() { l.work(ctx, w, seed) })
	}
	l.startChores(ctx)
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
		c := newCall(rng, fmt.Sprintf("w%d-%05d", worker, n), worker, l.plan.sessions)
		l.book.send(c)
		var second sync.WaitGroup
		if c.twice {
			second.Go(func() { l.settle(ctx, c) })
		}
		if c.life {
			l.until(ctx, c, func(ctx context.Context) error { return l.open(ctx, c.session) })
		}
		l.settle(ctx, c)
		second.Wait()
		if c.life {
			l.until(ctx, c, func(ctx context.Context) error { return l.close(ctx, c.session) })
		}
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

// settle sends a call, and again under its id, until it is answered. What it is asked
// it approves.
func (l *load) settle(ctx context.Context, c call) *sandgatev1.Result {
	return l.settleBy(ctx, c, l.approve)
}

// settleBy is settle with an answer of its own to what is asked. It returns nil when ctx
// ends first.
func (l *load) settleBy(ctx context.Context, c call, answer func(ctx context.Context, approval string) error) (got *sandgatev1.Result) {
	l.until(ctx, c, func(ctx context.Context) error {
		resp, err := l.tools.Execute(ctx, c.request(), grpc.WaitForReady(true))
		if err != nil {
			return err
		}
		r := resp.GetResult()
		if r == nil && c.detached {
			return errRuns
		}
		if r.GetOutcome() != sandgatev1.Outcome_OUTCOME_APPROVAL_REQUIRED {
			l.book.answered(c, r)
			got = r
			return nil
		}
		if err := answer(ctx, r.GetApprovalId()); err != nil {
			return err
		}
		return errAsked
	})
	return got
}

// Why a call is sent again without anything being wrong.
var (
	errAsked = errors.New("it was asked about, and approved")
	errRuns  = errors.New("it runs detached")
)

// approve says yes; that somebody else has answered is no matter.
func (l *load) approve(ctx context.Context, id string) error {
	got, err := l.asks.GetApproval(ctx, &sandgatev1.GetApprovalRequest{ApprovalId: id})
	if err != nil {
		return err
	}
	_, err = l.asks.Approve(ctx, &sandgatev1.ApproveRequest{ApprovalId: id, Digest: got.GetApproval().GetBindingDigest()})
	if err == nil {
		l.book.decided(id)
	}
	return but(err, codes.FailedPrecondition)
}

// open makes a session. One that is there was made by an attempt without an answer.
func (l *load) open(ctx context.Context, id string) error {
	return l.create(ctx, &sandgatev1.CreateSessionRequest{SessionId: id, Profile: "open"})
}

func (l *load) create(ctx context.Context, req *sandgatev1.CreateSessionRequest) error {
	_, err := l.terms.CreateSession(ctx, req, grpc.WaitForReady(true))
	return but(err, codes.AlreadyExists)
}

// close ends a session. One that is not there was ended by an attempt without an answer.
func (l *load) close(ctx context.Context, id string) error {
	_, err := l.terms.CloseSession(ctx, &sandgatev1.CloseSessionRequest{SessionId: id}, grpc.WaitForReady(true))
	if err = but(err, codes.NotFound); err == nil {
		l.book.close(id)
	}
	return err
}

// but lets one code pass.
func but(err error, code codes.Code) error {
	if status.Code(err) == code {
		return nil
	}
	return err
}

// until does something for a call, until it is done.
func (l *load) until(ctx context.Context, c call, do func(context.Context) error) {
	began := time.Now()
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, attemptWithin)
		err := do(attempt)
		cancel()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errAsked) {
			continue
		}
		if !errors.Is(err, errRuns) && !errors.Is(err, errAgain) {
			l.book.failed(status.Code(err).String(), err)
		}
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
