package main

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// An answer that comes a second time, when the call has run, must not say that it will.
func TestApprovedSaysWhereItIs(t *testing.T) {
	for state, want := range map[sandgatev1.ApprovalState]string{
		sandgatev1.ApprovalState_APPROVAL_STATE_PENDING:  "ap-1: your approval is noted; it needs 2 more, by others\n",
		sandgatev1.ApprovalState_APPROVAL_STATE_APPROVED: "ap-1: approved; the call runs when its host sends it again, unless it waits\n",
		sandgatev1.ApprovalState_APPROVAL_STATE_USED:     "ap-1: approved, and the call has run by it\n",
	} {
		var b strings.Builder
		cmd := &cobra.Command{}
		cmd.SetOut(&b)
		a := &sandgatev1.Approval{ApprovalId: "ap-1", State: state, Quorum: 3, Votes: []*sandgatev1.ApprovalVote{{}}}
		if err := approved(cmd, a); err != nil || b.String() != want {
			t.Errorf("%s: got %q, %v", state, b.String(), err)
		}
	}
}

// A session with both ends tells both: one that is used again and again ends all the same.
func TestBothEndsOfASessionAreTold(t *testing.T) {
	at := time.Date(2026, 1, 31, 15, 0, 0, 0, time.Local) //nolint:gosmopolitan // as people are shown it
	s := &sandgatev1.Session{
		IdleTimeout: durationpb.New(time.Hour), IdleExpireTime: timestamppb.New(at), ExpireTime: timestamppb.New(at.Add(time.Hour)),
	}
	if got, want := endText(s), "2026-01-31 15:00:00, if it is not used for 1h0m0s; at the latest 2026-01-31 16:00:00"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	s.ExpireTime = nil
	if got, want := endText(s), "2026-01-31 15:00:00, if it is not used for 1h0m0s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What did not run, or of which nobody knows for how long, did not run for 0s.
func TestNoTimeIsToldOfWhatDidNotRun(t *testing.T) {
	st := &sandgatev1.GetCallResponse{
		CallId: "c1", State: sandgatev1.CallState_CALL_STATE_FINISHED,
		Result: &sandgatev1.Result{Outcome: sandgatev1.Outcome_OUTCOME_UNKNOWN, Duration: &sandgatev1.Durations{Run: durationpb.New(0)}},
	}
	var b strings.Builder
	if err := printCall(&b, st); err != nil || strings.Contains(b.String(), "ran") {
		t.Errorf("got %q, %v", b.String(), err)
	}
	st.Result.Duration.Run = durationpb.New(2 * time.Second)
	b.Reset()
	if err := printCall(&b, st); err != nil || !strings.Contains(b.String(), "ran     2s\n") {
		t.Errorf("got %q, %v", b.String(), err)
	}
}

// A daemon whose disk is full answers and is ready, and runs nothing: doctor says so.
func TestAFullDiskOfTheJournalIsTold(t *testing.T) {
	for want, j := range map[string]*sandgatev1.JournalState{
		"journal: 1 KiB, 2 records since the start\n":                                                     {SizeBytes: 1024, Records: 2},
		"journal: 1 KiB, 2 records since the start, its disk is full: no call runs until there is room\n": {SizeBytes: 1024, Records: 2, Full: true, Failing: true},
	} {
		var b strings.Builder
		loadOf(&sandgatev1.GetLoadResponse{Journal: j}).print(&b, palette{})
		if !strings.HasSuffix(b.String(), want) {
			t.Errorf("got %q, want %q at its end", b.String(), want)
		}
	}
}

// Whose approver's token is wrong must not be sent to another variable and another file.
func TestAWrongTokenIsLookedForInTheRightPlace(t *testing.T) {
	approver := status.Error(codes.Unauthenticated, "the token that was sent is none of approvals.tokens_file")
	if got := explain(approver); strings.Contains(got, "SANDGATE_TOKEN") || !strings.Contains(got, "SANDGATE_APPROVER_TOKEN") {
		t.Errorf("got %q", got)
	}
	if got := explain(status.Error(codes.Unauthenticated, "no such token")); !strings.Contains(got, "SANDGATE_TOKEN") {
		t.Errorf("got %q", got)
	}
}
