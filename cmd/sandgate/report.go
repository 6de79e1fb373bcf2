package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// Exit codes of `sandgate call` that are not the tool's; its help tells them.
const (
	exitLimit     = 123
	exitTimedOut  = 124
	exitFault     = 125
	exitDenied    = 126
	exitNoStart   = 127
	exitSignal    = 128
	exitCancelled = exitSignal + int(unix.SIGINT)
	exitNoMemory  = exitSignal + int(unix.SIGKILL)
)

// codeOf is the exit code for a result.
func codeOf(r *sandgatev1.Result) int {
	switch r.GetOutcome() {
	case sandgatev1.Outcome_OUTCOME_EXITED:
		if r.GetExitCode() == 0 {
			return codeOfEffects(r.GetEffects())
		}
		return int(r.GetExitCode())
	case sandgatev1.Outcome_OUTCOME_SIGNALED:
		if n := unix.SignalNum(r.GetSignal()); n != 0 {
			return exitSignal + int(n)
		}
		return exitFault
	case sandgatev1.Outcome_OUTCOME_TIMED_OUT:
		return exitTimedOut
	case sandgatev1.Outcome_OUTCOME_OUT_OF_MEMORY:
		return exitNoMemory
	case sandgatev1.Outcome_OUTCOME_OUTPUT_LIMIT, sandgatev1.Outcome_OUTCOME_DISK_LIMIT:
		return exitLimit
	case sandgatev1.Outcome_OUTCOME_DENIED, sandgatev1.Outcome_OUTCOME_APPROVAL_REQUIRED:
		return exitDenied
	case sandgatev1.Outcome_OUTCOME_CANCELLED:
		return exitCancelled
	case sandgatev1.Outcome_OUTCOME_START_FAILED:
		return exitNoStart
	case sandgatev1.Outcome_OUTCOME_UNKNOWN, sandgatev1.Outcome_OUTCOME_UNSPECIFIED:
	}
	return exitFault
}

// codeOfEffects is the exit code of a program that ended well: not 0 where its changes are
// not in the workspace, whatever it believes.
func codeOfEffects(e *sandgatev1.Effects) int {
	switch e.GetState() { //nolint:exhaustive // the others are as the program left them
	case sandgatev1.EffectsState_EFFECTS_STATE_DROPPED:
		return exitDenied
	case sandgatev1.EffectsState_EFFECTS_STATE_UNKNOWN:
		return exitFault
	}
	return 0
}

// reporter says in words what came of a call.
type reporter struct {
	w io.Writer
	p palette
}

func newReporter(w io.Writer) reporter { return reporter{w, newPalette(w)} }

// result says what the tool's own output and exit code do not. A plain exit is
// passed over in silence.
func (r reporter) result(res *sandgatev1.Result) error {
	text := ""
	limits := res.GetReceipt().GetEnforced()
	switch res.GetOutcome() { //nolint:exhaustive // the others have their say below
	case sandgatev1.Outcome_OUTCOME_EXITED:
		if m := res.GetMessage(); m != "" { // what became of its changes, where that is not what it looks like
			if _, err := fmt.Fprintln(r.w, r.p.red("sandgate: ")+visible(m)); err != nil {
				return err
			}
		}
		return r.warnings(res.GetDecision())
	case sandgatev1.Outcome_OUTCOME_APPROVAL_REQUIRED:
		if err := r.decision(res.GetDecision()); err != nil || res.GetApprovalId() == "" {
			return err
		}
		if res.GetDecision().GetObligations().GetSandbox().GetWorkspace() == "ro" {
			if _, err := fmt.Fprintln(r.w, "  note: the profile has the workspace read-only: approved or not, the call cannot change anything in it"); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(r.w, "  once it is approved (sandgate approve %s), send it again with --call-id %s\n", visible(res.GetApprovalId()), visible(res.GetCallId()))
		return err
	case sandgatev1.Outcome_OUTCOME_DENIED:
		return r.decision(res.GetDecision())
	case sandgatev1.Outcome_OUTCOME_SIGNALED:
		text = "ended by " + res.GetSignal()
	case sandgatev1.Outcome_OUTCOME_TIMED_OUT:
		text = "timed out"
		if ms := limits["wall_time_ms"]; ms > 0 {
			text += fmt.Sprintf(" (limit %s)", time.Duration(ms)*time.Millisecond)
		}
	case sandgatev1.Outcome_OUTCOME_OUT_OF_MEMORY:
		text = "out of memory"
		if most := limits["memory_bytes"]; most > 0 {
			text += " (limit " + sizeText(most) + ")"
		}
	case sandgatev1.Outcome_OUTCOME_OUTPUT_LIMIT:
		text = "ended: it wrote more output than it may"
	case sandgatev1.Outcome_OUTCOME_DISK_LIMIT:
		text = "failed: " + fullDisk(limits)
	case sandgatev1.Outcome_OUTCOME_CANCELLED:
		text = "cancelled"
	case sandgatev1.Outcome_OUTCOME_START_FAILED:
		text = "could not be started"
	default:
		text = "what came of the call is not known; it is not run again"
	}
	if m := res.GetMessage(); m != "" {
		text += ": " + m
	}
	_, err := fmt.Fprintln(r.w, r.p.red("sandgate: ")+text)
	return err
}

// fullDisk says which disks of a call are bounded: it is not known which of them was full.
func fullDisk(limits map[string]int64) string {
	var bounds []string
	if n := limits["workspace_disk_bytes"]; n > 0 {
		bounds = append(bounds, fmt.Sprintf("the session's workspace has %.0f MiB", float64(n)/(1<<20)))
	}
	if n := limits["disk_bytes"]; n > 0 {
		bounds = append(bounds, "temporary files "+sizeText(n))
	}
	if len(bounds) == 0 {
		return "a disk of it is full"
	}
	return "a disk of it is full (" + strings.Join(bounds, ", ") + ")"
}

// decision prints a decision with its rules and what may be done instead.
func (r reporter) decision(d *sandgatev1.Decision) error {
	var b strings.Builder
	switch d.GetOutcome() {
	case sandgatev1.DecisionOutcome_DECISION_OUTCOME_ALLOW:
		b.WriteString(r.p.green("allowed"))
	case sandgatev1.DecisionOutcome_DECISION_OUTCOME_ASK:
		b.WriteString(r.p.yellow("approval required"))
	default:
		b.WriteString(r.p.red("denied"))
	}
	if p := d.GetProfile(); p != "" {
		b.WriteString(" by policy, profile " + p)
	}
	b.WriteString("\n")
	for _, reason := range d.GetReasons() {
		r.reason(&b, "", reason)
	}
	for _, reason := range d.GetWarnings() {
		r.reason(&b, r.p.yellow("warning "), reason)
	}
	_, err := io.WriteString(r.w, b.String())
	return err
}

func (r reporter) warnings(d *sandgatev1.Decision) error {
	var b strings.Builder
	for _, reason := range d.GetWarnings() {
		r.reason(&b, r.p.yellow("warning "), reason)
	}
	_, err := io.WriteString(r.w, b.String())
	return err
}

func (r reporter) reason(b *strings.Builder, label string, reason *sandgatev1.Reason) {
	fmt.Fprintf(b, "  %s%s: %s\n", label, r.p.bold(reason.GetRule()), reason.GetMessage())
	if instead := reason.GetRemediation(); instead != "" {
		fmt.Fprintf(b, "    instead: %s\n", instead)
	}
}
