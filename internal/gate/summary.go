package gate

import (
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox"
)

// summary is what is kept of a result when the whole is no longer: enough to
// answer a call that is sent again.
type summary struct {
	outcome                   Outcome
	exitCode                  int
	signal, message           string
	isError                   bool
	stdout, stderr            int64 // bytes that the program wrote
	duration                  Durations
	decisionID                string
	decided                   policy.Outcome
	profile, revision         string
	rule, reason, remediation string // the first reason of the decision
}

// summarize keeps what a result says and its true totals, but no bytes of its
// output, no receipt, and no more than the beginning of why it was decided so.
func summarize(r *Result) *summary {
	d := shortDecision(r.Decision)
	s := &summary{
		outcome: r.Outcome, exitCode: r.ExitCode, signal: r.Signal, message: shortened(r.Message), isError: r.IsError,
		stdout: r.Stdout.TotalBytes, stderr: r.Stderr.TotalBytes, duration: r.Duration,
		decisionID: d.ID, decided: d.Outcome, profile: d.Profile, revision: d.Revision,
	}
	if len(d.Reasons) > 0 {
		first := d.Reasons[0]
		s.rule, s.reason, s.remediation = first.Rule, first.Message, first.Remediation
	}
	return s
}

// result is the result as it is told from then on.
func (s *summary) result() Result {
	r := Result{
		Outcome: s.outcome, ExitCode: s.exitCode, Signal: s.signal, Message: s.message, IsError: s.isError,
		Stdout: sandbox.Output{TotalBytes: s.stdout}, Stderr: sandbox.Output{TotalBytes: s.stderr}, Duration: s.duration,
		Decision: policy.Decision{ID: s.decisionID, Outcome: s.decided, Profile: s.profile, Revision: s.revision},
	}
	if s.outcome != OutcomeDenied && s.outcome != OutcomeApprovalRequired {
		r.ChangesUnknown = ChangesForgotten
	}
	if s.rule != "" {
		r.Decision.Reasons = []policy.Reason{{Rule: s.rule, Message: s.reason, Remediation: s.remediation}}
	}
	return r
}
