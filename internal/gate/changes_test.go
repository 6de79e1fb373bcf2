package gate_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

// writing runs calls that write a file named as their id into their workspace.
func writing(_ context.Context, call sandbox.Call) (sandbox.Result, error) {
	if call.Workspace.ReadOnly {
		return sandboxtest.Exit(0, ""), nil
	}
	name := filepath.Join(call.Workspace.HostDir, call.ID)
	err := os.MkdirAll(call.Workspace.HostDir, 0o700)
	return sandboxtest.Exit(0, ""), errors.Join(err, os.WriteFile(name, nil, 0o600))
}

// TestChangesAreTold says of each kind of call what its result tells of changes.
func TestChangesAreTold(t *testing.T) {
	var inner func()
	b := newBench(t, t.TempDir(), func(ctx context.Context, call sandbox.Call) (sandbox.Result, error) {
		if do := inner; do != nil {
			inner = nil
			do()
		}
		return writing(ctx, call)
	}, nil)
	readOnly := false
	b.policy.decide = func(in policy.Input) policy.Decision {
		d := policy.Decision{ID: in.DecisionID, Outcome: policy.Allow, Reasons: []policy.Reason{{Rule: "test-allow"}}}
		if readOnly {
			d.Obligations.Sandbox.Workspace = "ro"
		}
		return d
	}
	run := func(id string, set func(*gate.Call)) gate.Result {
		t.Helper()
		call := gate.Call{ID: id, Caller: alice, Tool: "bash", Args: []byte(`{"command":"true"}`), SessionID: "s"}
		if set != nil {
			set(&call)
		}
		res, err := b.Execute(t.Context(), call, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c := res.Changes; c != nil { // the sandbox's ids are longer
			for i := range c.Created {
				c.Created[i] = c.Created[i][:1]
			}
		}
		return res
	}
	want := func(name string, res gate.Result, changes *gate.Changes, why gate.ChangesUnknown) {
		t.Helper()
		if d := cmp.Diff(changes, res.Changes); d != "" || res.ChangesUnknown != why {
			t.Errorf("%s: %q, want %q; changes (-want +got):\n%s", name, res.ChangesUnknown, why, d)
		}
	}
	want("by default", run("a", nil), &gate.Changes{Created: []string{"a"}}, "")
	want("sent again", run("a", nil), &gate.Changes{Created: []string{"a"}}, "")
	want("asked for", run("b", func(c *gate.Call) { c.WantChanges = true }), &gate.Changes{Created: []string{"b"}}, "")
	want("not wanted", run("c", func(c *gate.Call) { c.NoChanges = true }), nil, gate.ChangesNotWanted)
	inner = func() { run("e", func(c *gate.Call) { c.NoChanges = true }) }
	want("beside another", run("d", nil), &gate.Changes{Created: []string{"d", "e"}, Shared: true}, "")
	inner = func() {
		if _, err := b.UploadFile(t.Context(), alice, "s", "y", 0o600, strings.NewReader("of the host")); err != nil {
			t.Error(err)
		}
	}
	want("beside an upload", run("x", nil), &gate.Changes{Created: []string{"x", "y"}, Shared: true}, "")
	want("alone again", run("f", nil), &gate.Changes{Created: []string{"f"}}, "")
	readOnly = true
	want("read only", run("g", nil), &gate.Changes{}, "")
}
