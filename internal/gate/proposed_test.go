package gate_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/changeset"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

// effecting is a policy that drops all changes, and keeps what it was asked.
type effecting struct {
	*decider
	saw policy.Input
}

func (e *effecting) DecideEffects(_ context.Context, in policy.Input) policy.Effects {
	e.saw = in
	return policy.Effects{Outcome: policy.Deny, Reasons: []policy.Reason{{Rule: "no", Message: "no"}}}
}

// TestEffectsAreDecidedOfTheCallThatRan: where policy rewrote the arguments, the changes
// are those of the new ones; what was sent is beside it.
func TestEffectsAreDecidedOfTheCallThatRan(t *testing.T) {
	run := func(_ context.Context, call sandbox.Call) (sandbox.Result, error) {
		res := sandboxtest.Exit(0, "")
		upper := t.TempDir()
		if err := os.WriteFile(filepath.Join(upper, "a"), []byte("new"), 0o600); err != nil {
			return res, err
		}
		o := &changeset.Overlay{Dir: call.Workspace.HostDir, UID: os.Getuid(), GID: os.Getgid(), Since: time.Now().Add(time.Hour)}
		var err error
		if o.Upper, err = os.Open(upper); err != nil {
			return res, err
		}
		if o.Lower, err = os.Open(o.Dir); err != nil {
			return res, err
		}
		res.Overlay = o
		return res, nil
	}
	var effects *effecting
	b := newBench(t, t.TempDir(), run, func(c *gate.Config) {
		own, _ := c.Policy.(*decider)
		effects = &effecting{decider: own}
		c.Policy = effects
	})
	b.policy.decide = rewrites(map[string]string{"cp a b": `{"command": "cp -n a b"}`})
	in := func(id, command string) (gate.Result, policy.Input) {
		call := bash(id, command)
		call.SessionID = "s"
		return b.do(t, call), effects.saw
	}
	res, saw := in("c1", "cp a b")
	if saw.Proposed == nil || string(saw.Proposed.Args) != `{"command":"cp a b"}` || saw.Proposed.Digest != res.Digest {
		t.Errorf("proposed: got %+v", saw.Proposed)
	}
	if !strings.Contains(string(saw.Call.Args), "cp -n a b") || len(saw.Call.Shell.Commands[0].Args) != 3 || saw.Call.TransformedFrom != res.Digest || saw.Session.ID != "s" {
		t.Errorf("the call is %s with %d words", saw.Call.Args, len(saw.Call.Shell.Commands[0].Args))
	}
	if saw.Ended == nil || len(saw.Changes) != 1 {
		t.Errorf("got the end %+v and the changes %+v", saw.Ended, saw.Changes)
	}
	if _, saw = in("c2", "cp c d"); saw.Proposed != nil || !strings.Contains(string(saw.Call.Args), "cp c d") {
		t.Errorf("of a call that ran as it was sent: got %s, proposed %+v", saw.Call.Args, saw.Proposed)
	}
}
