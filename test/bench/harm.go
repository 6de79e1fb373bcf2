package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// What of an abuser's calls is counted, beside their outcomes.
const (
	harmCalls     = "calls"
	harmPidsHits  = "forks refused"
	harmOOMKills  = "processes killed for memory"
	harmKiB       = "KiB written"
	harmProcessor = "ms of processors"
	harmNotBegun  = "ended before they began"
)

// harm is what an abuser's calls have done in one repetition.
type harm struct {
	mu     sync.Mutex
	counts map[string]int
	open   []string // ids of calls that were cancelled, whose results are to be asked for
	errs   []error
	took   time.Duration // for which it was measured beside them
	more   chan struct{} // has something when there is more of it
}

func newHarm() *harm { return &harm{counts: map[string]int{}, more: make(chan struct{}, 1)} }

// outcomeName is how the outcome is counted, in words.
func outcomeName(o sandgatev1.Outcome) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(o.String(), "OUTCOME_"), "_", " "))
}

// ended counts a call that has a result. An outcome with which none of the abuser's calls
// may end is an error: the daemon has not let it do harm.
func (h *harm) ended(a abuser, r *sandgatev1.Result) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.tell()
	u := r.GetUsage()
	h.counts[harmCalls]++
	h.counts[outcomeName(r.GetOutcome())]++
	h.counts[harmPidsHits] += int(u.GetPidsLimitHits())
	h.counts[harmOOMKills] += int(u.GetOomKills())
	h.counts[harmKiB] += int((r.GetStdout().GetTotalBytes() + r.GetStderr().GetTotalBytes()) >> 10)
	h.counts[harmProcessor] += int((u.GetCpuUser().AsDuration() + u.GetCpuSystem().AsDuration()).Milliseconds())
	if !slices.Contains(a.outcomes, r.GetOutcome()) {
		err := fmt.Errorf("a call of %s ended with %w", a.name, endedWell(r))
		if r.GetOutcome() == sandgatev1.Outcome_OUTCOME_EXITED && r.GetExitCode() == 0 {
			err = fmt.Errorf("a call of %s ended by itself", a.name)
		}
		h.errs = append(h.errs, err)
		return err
	}
	return nil
}

func (h *harm) failed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errs = append(h.errs, err)
	h.tell()
}

func (h *harm) tell() {
	select {
	case h.more <- struct{}{}:
	default:
	}
}

// await waits for the calls of an abuser who does harm by their ends, for so long at most.
func (h *harm) await(ctx context.Context, a abuser, most time.Duration) {
	if a.until == sandgatev1.Outcome_OUTCOME_UNSPECIFIED {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for !h.enough(a) {
		select {
		case <-h.more:
		case <-ctx.Done():
			return
		}
	}
}

// enough tells whether there is nothing to wait for.
func (h *harm) enough(a abuser) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.errs) > 0 || a.did(h)
}

func (h *harm) cancelled(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open = append(h.open, id)
}

// collect counts the calls that were cancelled. The daemon must be at rest.
func (h *harm) collect(ctx context.Context, t *target, a abuser) {
	for _, id := range h.open {
		r, err := t.clients[0].GetCall(ctx, &sandgatev1.GetCallRequest{CallId: id})
		switch {
		case status.Code(err) == codes.NotFound:
			h.counts[harmNotBegun]++ // cancelled on its way to the daemon
		case err != nil:
			h.failed(fmt.Errorf("ask what came of a call of %s: %w", a.name, err))
		case r.GetResult() == nil:
			h.failed(fmt.Errorf("a call of %s is %v while the daemon is at rest", a.name, r.GetState()))
		default:
			_ = h.ended(a, r.GetResult()) // which keeps its error
		}
	}
	h.open = nil
}

// verdict is why the abuser has not done what it is there for; nil when it has.
func (h *harm) verdict(a abuser) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := errors.Join(h.errs...); err != nil {
		return err
	}
	if !a.did(h) {
		return fmt.Errorf("%s did no harm in %v: want %s, got %v", a.name, h.took.Round(time.Millisecond), a.want, h.counts)
	}
	return nil
}

// addTo adds the counts to those of other repetitions.
func (h *harm) addTo(sum map[string]int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for what, n := range h.counts {
		if sum[what] += n; sum[what] == 0 {
			delete(sum, what)
		}
	}
}

// loop makes one of the abuser's calls after the other until ctx ends or one of them is
// not what it should be, and tells once when they have begun to do harm.
func (h *harm) loop(ctx context.Context, t *target, a abuser, i int, began func(error)) {
	client := len(t.clients) - 1 - i
	for ctx.Err() == nil {
		id := fmt.Sprintf("abuse-%d", t.decided.Add(1))
		req := daemontest.Bash(a.command, daemontest.Profile(profileOpen), daemontest.Session(fmt.Sprintf("abuser-%d", i)), daemontest.CallID(id))
		res, err := t.follow(ctx, client, req, func(m *sandgatev1.ExecuteStreamResponse) {
			if m.GetOutput() != nil && a.until == sandgatev1.Outcome_OUTCOME_UNSPECIFIED {
				began(nil)
			}
		})
		switch {
		case err == nil:
			if err = h.ended(a, res); err == nil && res.GetOutcome() == a.until {
				began(nil)
			}
		case ctx.Err() != nil:
			h.cancelled(id)
			err = context.Cause(ctx)
		default:
			err = fmt.Errorf("a call of %s: %w", a.name, err)
			h.failed(err)
		}
		if err != nil {
			began(err)
			return
		}
	}
	began(context.Cause(ctx))
}
