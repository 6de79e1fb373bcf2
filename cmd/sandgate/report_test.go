package main

import (
	"strings"
	"testing"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// TestDroppedChangesAreNoSuccess: a program that ended well whose changes policy dropped
// must not look as if all had gone well.
func TestDroppedChangesAreNoSuccess(t *testing.T) {
	for state, want := range map[sandgatev1.EffectsState]int{
		sandgatev1.EffectsState_EFFECTS_STATE_COMMITTED: 0, sandgatev1.EffectsState_EFFECTS_STATE_NONE: 0,
		sandgatev1.EffectsState_EFFECTS_STATE_DROPPED: exitDenied, sandgatev1.EffectsState_EFFECTS_STATE_UNKNOWN: exitFault,
	} {
		res := &sandgatev1.Result{
			Outcome: sandgatev1.Outcome_OUTCOME_EXITED, Effects: &sandgatev1.Effects{State: state}, Message: "its changes were dropped\x1b[2J",
		}
		if got := codeOf(res); got != want {
			t.Errorf("%s: exit code %d, want %d", state, got, want)
		}
		res.ExitCode = 7
		if got := codeOf(res); got != 7 {
			t.Errorf("%s: exit code %d, want the program's", state, got)
		}
		var b strings.Builder
		if err := newReporter(&b).result(res); err != nil || b.String() != "sandgate: its changes were dropped⟨U+001B⟩[2J\n" {
			t.Errorf("%s: got %q, %v", state, b.String(), err)
		}
	}
	if got := codeOf(&sandgatev1.Result{Outcome: sandgatev1.Outcome_OUTCOME_EXITED}); got != 0 {
		t.Errorf("a plain exit: %d", got)
	}
}

// TestAFullDiskIsNotBlamedOnTheWrongOne: which of a call's disks was full is not known.
func TestAFullDiskIsNotBlamedOnTheWrongOne(t *testing.T) {
	res := &sandgatev1.Result{Outcome: sandgatev1.Outcome_OUTCOME_DISK_LIMIT, Receipt: &sandgatev1.Receipt{
		Enforced: map[string]int64{"disk_bytes": 256 << 20, "workspace_disk_bytes": 66031616},
	}}
	var b strings.Builder
	want := "sandgate: failed: a disk of it is full (the session's workspace has 63 MiB, temporary files 256MiB)\n"
	if err := newReporter(&b).result(res); err != nil || b.String() != want {
		t.Errorf("got %q, %v", b.String(), err)
	}
}
