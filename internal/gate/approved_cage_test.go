package gate_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
)

// TestAnApprovalIsOfTheCageThatWasShown: approvers see how the call runs, with the defaults
// and ceilings of the daemon, and it runs no other way.
func TestAnApprovalIsOfTheCageThatWasShown(t *testing.T) {
	memory := int64(64 << 20)
	b := newAskingWith(t, func(c *gate.Config) { c.Defaults.MemoryBytes = memory })
	decide := b.policy.decide
	readOnly := func() {
		b.policy.decide = func(in policy.Input) policy.Decision {
			d := decide(in)
			d.Obligations.Sandbox.Workspace, d.Obligations.Sandbox.Pids = "ro", 3
			return d
		}
	}
	readOnly()
	a := b.ask(t, b.call("c1"))
	want := approval.Run{Cage: defaults(), Image: "host"}
	want.Cage.Workspace, want.Cage.Pids = "ro", 3
	if diff := cmp.Diff(want, a.Bound.Run); diff != "" {
		t.Errorf("it is shown to run (-want +got):\n%s", diff)
	}
	b.approve(t, a)
	memory = 1 << 30 // the operator has given calls more
	b.start(t)
	decide = b.policy.decide
	readOnly()
	res := b.want(t, b.call("c1"), askedAgain, "unsure", 0)
	if b.stateOf(t, a.ID) != approval.Void || !strings.Contains(res.Decision.Warnings[0].Message, "another cage") ||
		!strings.HasPrefix(res.Decision.Warnings[0].Remediation, "have it approved anew") { // no file has changed
		t.Errorf("the approval is %s, warnings %+v", b.stateOf(t, a.ID), res.Decision.Warnings)
	}
	anew, err := b.approvals.Get(t.Context(), res.ApprovalID)
	if err != nil {
		t.Fatal(err)
	}
	b.approve(t, anew)
	detached := b.call("c1") // without anybody waiting, and with another deadline
	_, ended, err := b.Start(t.Context(), detached)
	if err != nil || ended == nil || ended.Outcome != askedAgain || ended.ApprovalID == anew.ID {
		t.Errorf("sent as a background call: got %+v, %v, want it asked anew", ended, err)
	}
	b.want(t, b.call("c1"), askedAgain, "unsure", 0)
}
