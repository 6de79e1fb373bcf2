package gate_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/internal/policy"
)

// real puts the policy of the daemon in the place of the one of functions.
func (b *asking) real(t *testing.T) {
	t.Helper()
	engine, err := policy.New(t.Context(), policy.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b.policy.decide = func(in policy.Input) policy.Decision { return engine.Decide(t.Context(), engine.Complete(in)) }
}

// TestCodeThatIsNotKnownIsGrantedAsItIs: people are asked about make once, and again when
// what it is told to do is another thing.
func TestCodeThatIsNotKnownIsGrantedAsItIs(t *testing.T) {
	b := newAskingWith(t, func(c *gate.Config) {
		c.Roles = func(who gate.Caller) gate.Roles {
			return gate.Roles{Names: []string{"operator"}, Admin: who.ID == bob.ID}
		}
	})
	b.real(t)
	b.write(t, "Makefile", "test:\n\techo ok\n")
	call := func(id, command string) gate.Call {
		c := bash(id, command)
		c.WorkspaceDir, c.SessionID, c.Profile = b.ws, "s", "readonly"
		return c
	}
	a := b.ask(t, call("c1", "make test"))
	if a.Offer == nil || a.Offer.Exact == nil || !strings.HasPrefix(a.Offer.Summary, "exactly `make test`, run by code that was not reviewed") {
		t.Fatalf("offered %+v (%s)", a.Offer, a.NoOffer)
	}
	bound := map[string]bool{} // whether it was there
	for _, f := range a.Offer.Exact.Files {
		bound[f.Path] = f.SHA256 != ""
	}
	if there, known := bound["/workspace/GNUmakefile"]; !bound["/workspace/Makefile"] || there || !known {
		t.Errorf("it is held to %v", bound)
	}
	if len(a.Offer.Exact.Unfrozen) == 0 {
		t.Error("it does not say that the Makefile may name other files")
	}
	if _, err := b.Approve(t.Context(), bob, a.ID, a.Binding, "", &grant.Terms{Scope: grant.ScopeCaller}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("for all sessions: got %v, want InvalidArgument", err)
	}
	if _, err := b.Approve(t.Context(), bob, a.ID, a.Binding, "", &grant.Terms{}); err != nil {
		t.Fatal(err)
	}
	b.do(t, call("c1", "make test"))
	b.want(t, call("c2", "make test"), exited, "granted", 2)
	described := call("c3", "make test")
	described.Args = []byte(`{"command":"make test","description":"run the tests again","timeout_ms":1000}`)
	b.want(t, described, exited, "granted", 3)

	for id, other := range map[string]gate.Call{
		"other words": call("d1", "make test install"), "one more command": call("d2", "make test; make test"),
	} {
		if res := b.do(t, other); res.Outcome != askedAgain {
			t.Errorf("%s: got %s, want it asked", id, res.Outcome)
		}
	}
	with := call("d3", "make test")
	with.Env = map[string]string{"MAKEFLAGS": "-f other"}
	inside := call("d4", "make test")
	inside.Cwd = "/workspace/sub"
	session := call("d5", "make test")
	session.SessionID = "s2"
	elsewhere := call("d6", "make test")
	elsewhere.WorkspaceDir = t.TempDir()
	for name, other := range map[string]gate.Call{"variables": with, "another directory": inside, "another session": session, "another workspace": elsewhere} {
		if res := b.do(t, other); res.Outcome != askedAgain {
			t.Errorf("%s: got %s, want it asked", name, res.Outcome)
		}
	}

	b.write(t, "Makefile", "test:\n\trm -rf /workspace\n")
	if res := b.do(t, call("e1", "make test")); res.Outcome != askedAgain {
		t.Errorf("with another Makefile: got %s, want it asked", res.Outcome)
	}
	b.write(t, "Makefile", "test:\n\techo ok\n")
	b.write(t, "GNUmakefile", "test:\n\trm -rf /workspace\n") // goes before the other
	if res := b.do(t, call("e2", "make test")); res.Outcome != askedAgain {
		t.Errorf("with a file that was not there: got %s, want it asked", res.Outcome)
	}
}

// TestRaceFileOfAGrantChanged: after policy has seen that the grant holds.
func TestRaceFileOfAGrantChanged(t *testing.T) {
	b := newAskingWith(t, func(c *gate.Config) {
		c.Roles = func(who gate.Caller) gate.Roles {
			return gate.Roles{Names: []string{"operator"}, Admin: who.ID == bob.ID}
		}
	})
	b.real(t)
	b.write(t, "Makefile", "all:\n")
	call := func(id string) gate.Call {
		c := bash(id, "make")
		c.WorkspaceDir, c.SessionID, c.Profile = b.ws, "s", "readonly"
		return c
	}
	a := b.ask(t, call("c1"))
	if _, err := b.Approve(t.Context(), bob, a.ID, a.Binding, "", &grant.Terms{}); err != nil {
		t.Fatal(err)
	}
	b.do(t, call("c1"))
	b.beforeRun = func() { b.write(t, "Makefile", "all:\n\trm -rf .\n") }
	b.want(t, call("c2"), denied, "daemon:approval-void", 1)
	list, err := b.ListGrants(t.Context(), alice)
	if err != nil || len(list) != 1 || list[0].Used != 0 {
		t.Errorf("got the grants %+v, %v, want one that was not used", list, err)
	}
}

// TestNoGrantOfCodeThatNobodyLookedAt: what a call runs has to be among the files that its
// grant would be held to.
func TestNoGrantOfCodeThatNobodyLookedAt(t *testing.T) {
	b := newAskingWith(t, nil)
	b.real(t)
	b.write(t, "Makefile", "all:\n")
	b.write(t, "large", "")
	if err := os.Truncate(filepath.Join(b.ws, "large"), 64<<20-1); err != nil {
		t.Fatal(err)
	}
	c := bash("c1", "cat large; make")
	c.WorkspaceDir, c.SessionID, c.Profile = b.ws, "s", "readonly"
	if a := b.ask(t, c); a.Offer != nil || !strings.Contains(a.NoOffer, "/workspace/Makefile, which is too large") {
		t.Errorf("offered %+v (%s)", a.Offer, a.NoOffer)
	}
}
