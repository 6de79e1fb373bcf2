package gate_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/grant"
)

const deployTool = `
name: deploy
description: puts a version in place
input_schema: {type: object, additionalProperties: false, properties: {version: {type: string}}}
effects: [execute]
risk: high
exec: {argv: [PROGRAM, {arg: version}]}
`

// TestAnotherToolUnderTheSameName: what was approved and granted is void when the operator
// declares the tool otherwise.
func TestAnotherToolUnderTheSameName(t *testing.T) {
	tools := t.TempDir()
	declare := func(program string) {
		text := strings.Replace(deployTool, "PROGRAM", program, 1)
		if err := os.WriteFile(filepath.Join(tools, "deploy.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	declare("echo")
	b := newAskingWith(t, func(c *gate.Config) {
		var err error
		if c.Catalog, err = catalog.New(catalog.Options{Dir: tools}); err != nil {
			t.Fatal(err)
		}
	})
	b.grantable = true
	call := func(id string) gate.Call {
		return gate.Call{ID: id, Caller: alice, Tool: "deploy", Args: []byte(`{"version":"1"}`), WorkspaceDir: b.ws}
	}
	granted := b.ask(t, call("c1"))
	if _, err := b.Approve(t.Context(), bob, granted.ID, granted.Binding, "", &grant.Terms{}); err != nil {
		t.Fatal(err)
	}
	b.want(t, call("c1"), exited, "unsure", 1)
	b.want(t, call("c2"), exited, "unsure", 2) // by the grant
	b.grantable = false
	pending, approved := b.ask(t, call("c3")), b.ask(t, call("c4"))
	b.approve(t, approved)
	b.grantable = true

	b.start(t)
	b.want(t, call("c5"), exited, "unsure", 1) // nothing has changed

	declare("rm")
	b.start(t)
	if _, err := b.Approve(t.Context(), bob, pending.ID, pending.Binding, "", nil); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "declaration") {
		t.Errorf("approved what is another tool now: got %v, want FailedPrecondition", err)
	}
	res := b.want(t, call("c4"), askedAgain, "unsure", 0)
	if res.ApprovalID == approved.ID || b.stateOf(t, approved.ID) != approval.Void || !strings.Contains(res.Decision.Warnings[0].Message, "declaration of its tool") {
		t.Errorf("the approval is %s, the question %s says %+v", b.stateOf(t, approved.ID), res.ApprovalID, res.Decision.Warnings)
	}
	b.want(t, call("c6"), askedAgain, "unsure", 0) // by no grant
}
