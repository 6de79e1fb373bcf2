package gate_test

import (
	"strings"
	"testing"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
)

// TestAnApprovalThatIsOfNoUseIsToldSo: an approval does not lift what the profile demands
// of the cage, and who asks for one should know.
func TestAnApprovalThatIsOfNoUseIsToldSo(t *testing.T) {
	for access, want := range map[string]bool{"ro": true, "rw": false} {
		b := newAsking(t)
		b.policy.decide = func(in policy.Input) policy.Decision {
			d := b.decide(in)
			d.Obligations.Sandbox.Workspace = access
			return d
		}
		res := b.do(t, b.call("c1"))
		if got := strings.Contains(res.Message, "approved or not, the call cannot change anything"); res.Outcome != gate.OutcomeApprovalRequired || got != want {
			t.Errorf("workspace %s: got %s: %s", access, res.Outcome, res.Message)
		}
	}
}
