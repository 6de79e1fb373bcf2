package gate

import (
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/session"
)

// describe tells policy what a session was made with and what it has used. The
// host's labels are its own words: a policy that trusts them trusts the host.
func (g *Gate) describe(in *policy.SessionInput, state *session.State) {
	if state == nil {
		return
	}
	terms := g.cfg.Sessions.TermsOf(state)
	in.Kind, in.Created, in.HostLabels = string(state.Kind()), timeText(state.Created), terms.HostLabels
	if terms.TTL > 0 {
		in.Expires = timeText(state.Created.Add(terms.TTL))
	}
	if q := terms.Quota; q != (session.Quota{}) {
		in.Quota = &policy.SessionQuotaInput{
			Calls: q.Calls, CPUMs: q.CPUTime.Milliseconds(), DiskBytes: q.DiskBytes, ConcurrentCalls: q.ConcurrentCalls, BackgroundCalls: q.BackgroundCalls,
		}
	}
	in.Usage = &policy.SessionUsageInput{Calls: int64(state.Counts[string(policy.Allow)]), CPUMs: state.CPU.Milliseconds()}
}
