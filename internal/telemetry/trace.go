// Package telemetry measures what the daemon does: how long each stage of a call
// took, what came of the calls, and how cells, line, sessions and journal are
// doing. It tells Prometheus (pulled over HTTP) and OpenTelemetry (spans pushed
// over OTLP), each only where an operator has configured it. The gate and the
// gRPC front measure with it, internal/daemon puts it together. It must never
// make a call wait or fail, and never use what a caller can choose as a label.
package telemetry

import "time"

// Stage is one part of a call's way. Every moment of a call belongs to one.
type Stage uint8

// The stages in their usual order. Receive and Reply are the front's, the others
// the gate's: they add up to the call's total.
const (
	Receive       Stage = iota // from the request's headers to the gate
	Validate                   // tool, arguments, environment; digest; same call before
	Facts                      // session, parsed shell, resolved paths
	Decide                     // policy
	Queue                      // waiting in line
	Approve                    // waiting for approvers
	Prepare                    // the decision put into the sandbox's terms, workspace
	RecordIntent               // waiting for the intent to be on disk
	Claim                      // waiting for a cell
	Limits                     // bounding the cell
	Workspace                  // mounting what the call works on
	Start                      // until the program runs; in gVisor the way of the answer as well, which Collect has elsewhere
	Run                        // the program, until its own end
	Reap                       // what it left behind ended and reaped, the rest of its output read; tidying up the cell comes after the answer
	Collect                    // the answer's way from the cell, output, usage, receipt
	Sandbox                    // what the sandbox did not say more of
	RecordOutcome              // until the outcome is on disk
	Finish                     // log, result for those who ask again
	Reply                      // from the gate until the handler returns; encoding is not in it
	stages
)

// String is the stage's name as a label and as the name of a span.
func (s Stage) String() string {
	if s >= stages {
		return "unknown"
	}
	return [stages]string{
		"receive", "validate", "facts", "decide", "queue", "approve", "prepare", "record_intent", "claim", "limits", "workspace",
		"start", "run", "reap", "collect", "sandbox", "record_outcome", "finish", "reply",
	}[s]
}

// StepStage is the stage of a step that a sandbox.Runtime tells of.
func StepStage(name string) Stage {
	switch name {
	case "claim":
		return Claim
	case "limits":
		return Limits
	case "workspace":
		return Workspace
	case "ready":
		return RecordIntent
	case "start":
		return Start
	case "run":
		return Run
	case "reap":
		return Reap
	case "collect":
		return Collect
	}
	return Sandbox
}

// maxSegments bounds what a Trace holds of a call whose stages come again.
const maxSegments = 32

// Trace is the course of one call. The time since the last mark always belongs
// to the stage that is marked next, so that the stages have neither gaps nor
// overlaps. It allocates nothing and belongs to one goroutine. The zero value is
// a trace that Begin has yet to start.
type Trace struct {
	began, last time.Time
	segments    [maxSegments]segment
	n           int
}

type segment struct {
	stage Stage
	took  time.Duration
}

// Begin starts the trace.
func (t *Trace) Begin(now time.Time) { t.began, t.last, t.n = now, now, 0 }

// Mark gives the time since the last mark to a stage.
func (t *Trace) Mark(s Stage, now time.Time) {
	t.add(s, max(0, now.Sub(t.last)))
}

// Add gives a stage a part of the time since the last mark that is known from
// elsewhere. What is left of it goes to the next mark.
func (t *Trace) Add(s Stage, took time.Duration) {
	if took > 0 {
		t.add(s, took)
	}
}

func (t *Trace) add(s Stage, took time.Duration) {
	t.last = t.last.Add(took)
	if t.n > 0 && (t.n == maxSegments || t.segments[t.n-1].stage == s) {
		t.segments[t.n-1].took += took
		return
	}
	t.segments[t.n] = segment{s, took}
	t.n++
}

// Began is when the trace was begun.
func (t *Trace) Began() time.Time { return t.began }

// Of returns the time that a stage took in all.
func (t *Trace) Of(s Stage) time.Duration {
	var sum time.Duration
	for _, seg := range t.segments[:t.n] {
		if seg.stage == s {
			sum += seg.took
		}
	}
	return sum
}

// Each calls f with the stages in the order in which they were passed; one may come
// more than once.
func (t *Trace) Each(f func(Stage, time.Duration)) {
	for _, seg := range t.segments[:t.n] {
		f(seg.stage, seg.took)
	}
}

// Total is the time from Begin to the last mark: the sum of all stages.
func (t *Trace) Total() time.Duration { return t.last.Sub(t.began) }

// Class is what became of a call, as coarse as a label has to be.
type Class uint8

// The classes of outcomes.
const (
	OK      Class = iota // the program ended with 0
	Failed               // it ran, or may have, and ended otherwise
	Refused              // policy did not allow it
	Error                // it did not run: invalid, not admitted, or sandgate could not
	classes
)

// String is the class's name as a label.
func (c Class) String() string {
	if c >= classes {
		return "unknown"
	}
	return [classes]string{"ok", "failed", "refused", "error"}[c]
}

// ClassOf sorts an outcome of the gate; isError and err are those of the result.
func ClassOf(outcome string, isError bool, err error) Class {
	switch {
	case err != nil && outcome == "":
		return Error
	case outcome == "DENIED" || outcome == "APPROVAL_REQUIRED":
		return Refused
	case isError || err != nil:
		return Failed
	}
	return OK
}
