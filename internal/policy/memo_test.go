package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
)

// TestMemoDecidesAsThePolicy: whatever was decided before, and however often,
// a call gets what the policy says of it.
func TestMemoDecidesAsThePolicy(t *testing.T) {
	all := corpusScripts(t)
	var scripts []string
	every := 13
	if raced {
		every *= 10
	}
	for i := 0; i < len(all); i += every {
		scripts = append(scripts, all[i])
	}
	for name, dir := range corpusPolicies(t) {
		e := newEngine(t, Config{Dir: dir, Ceiling: SandboxObligations{Pids: 50}})
		rev := e.current.Load()
		if rev == nil {
			t.Fatal(e.Ready())
		}
		var calls []Input
		for _, profile := range rev.profiles {
			calls = append(calls, corpus(t, profile, scripts)...)
		}
		want := make([]string, len(calls))
		for i := range calls {
			in := e.Complete(calls[i])
			value, err := in.valueOf(rev.needs, rev.constants)
			if err != nil {
				t.Fatal(err)
			}
			want[i] = asJSON(t, stamp(e.evaluate(t.Context(), rev, value), in, rev.id))
		}
		for round := range 2 {
			for i := range calls {
				if got := asJSON(t, e.Decide(t.Context(), calls[i])); got != want[i] {
					t.Fatalf("%s: round %d: %s: got %s, want %s", name, round, calls[i].Call.Args, got, want[i])
				}
			}
		}
		if remembers := name != "beside"; (rev.memo != nil) != remembers { // its package reads session.seq
			t.Errorf("%s: has a memo: got %v, want %v", name, rev.memo != nil, remembers)
		}
	}
}

// TestMemoTellsInputsApart: inputs that differ in anything that a rule reads are
// different, also where OPA takes them for equal.
func TestMemoTellsInputsApart(t *testing.T) {
	seen := map[string]string{}
	for _, text := range []string{
		`{}`, `{"a": 1}`, `{"a": 1.0}`, `{"a": 1e0}`, `{"a": "1"}`, `{"a": null}`, `{"a": []}`, `{"a": {}}`, `{"a": [[]]}`,
		`{"a": [1]}`, `{"a": [1, 1]}`, `{"a": ["1", "1"]}`, `{"a": ["1\"1"]}`, `{"a": true}`, `{"a": false}`, `{"a": ""}`,
		`{"b": 1}`, `{"a": {"b": 1}}`, `{"a": {"b": 1}, "c": 2}`, `{"a": {"b": 1, "c": 2}}`, `{"a": ["b", 1]}`, `{"a": "\u0000"}`,
	} {
		value, err := parseInput([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		w := newKeyWriter()
		ok := w.of(value)
		key := w.whole()
		if other, taken := seen[string(key)]; taken || !ok {
			t.Errorf("%s has the key of %s", text, other)
		}
		seen[string(key)] = text
	}
	one, _ := parseInput([]byte(`{"a": 1, "b": {"c": 2, "d": 3}}`))
	two, _ := parseInput([]byte(`{"b": {"d": 3, "c": 2}, "a": 1}`))
	a, b := newKeyWriter(), newKeyWriter()
	if !a.of(one) || !b.of(two) || string(a.whole()) != string(b.whole()) {
		t.Errorf("got %q and %q for the same input", a.whole(), b.whole())
	}
	if a.of(ast.String(strings.Repeat("x", maxMemoKey+1))) {
		t.Error("a large input has a key")
	}
}

// TestMemoKeepsWhatThePolicySaid, and not that a call was cancelled or late; what
// a caller does to its decision is seen by nobody else.
func TestMemoKeepsWhatThePolicySaid(t *testing.T) {
	e := newEngine(t, Config{})
	in := benchInput("workspace", "sudo true")
	in.DecisionID = "d"
	gone, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the caller went away"))
	if d := e.Decide(gone, in); d.Reasons[0].Rule != RuleCancelled {
		t.Fatalf("got %+v", d)
	}
	want := e.Decide(t.Context(), in)
	if want.Outcome != Deny || want.Reasons[0].Command == nil {
		t.Fatalf("got %+v", want)
	}
	text := asJSON(t, want)
	*want.Reasons[0].Command, want.Reasons[0].Message = 7, "changed"
	again := e.Decide(t.Context(), in)
	if got := asJSON(t, again); got != text {
		t.Errorf("got %s, want %s", got, text)
	}
	*again.Reasons[0].Command = 7
	if got := asJSON(t, e.Decide(t.Context(), in)); got != text {
		t.Errorf("got %s, want %s", got, text)
	}
	if d := e.Decide(gone, in); d.Reasons[0].Rule != RuleCancelled {
		t.Errorf("a call that was cancelled got %+v", d)
	}
}

// TestClonedDecisionsShareNothing fills every field that can be written through.
func TestClonedDecisionsShareNothing(t *testing.T) {
	one := 1
	make1 := func() Decision {
		command := one
		return Decision{
			Reasons: []Reason{{Rule: "a", Command: &command}}, Warnings: []Reason{{Rule: "a"}}, Shadow: []Shadow{{Rule: "a"}},
			Ask: &AskTerms{Approvers: []string{"a"}}, Transform: &Transform{Args: json.RawMessage("{}")}, Labels: []string{"a"},
			Bounds: SandboxObligations{Mounts: []Mount{{Path: "a"}}},
			Obligations: Obligations{
				Sandbox: SandboxObligations{Mounts: []Mount{{Path: "a"}}},
				Exec:    ExecObligations{EnvSet: map[string]string{"a": "b"}, EnvDrop: []string{"a"}},
				Output:  OutputObligations{Redact: []string{"a"}, Patterns: map[string]string{"a": "b"}, Labels: []string{"a"}},
			},
		}
	}
	d, c := make1(), make1().clone()
	if diff := cmp.Diff(d, c); diff != "" {
		t.Errorf("the clone of a decision is another (-want +got):\n%s", diff)
	}
	c = d.clone()
	*c.Reasons[0].Command, c.Reasons[0].Rule, c.Warnings[0].Rule, c.Shadow[0].Rule, c.Labels[0] = 2, "x", "x", "x", "x"
	c.Ask.Approvers[0], c.Ask.Quorum, c.Transform.Args[0], c.Transform.From = "x", 9, 'x', "x"
	o := &c.Obligations
	o.Sandbox.Mounts[0].Path, c.Bounds.Mounts[0].Path = "x", "x"
	o.Exec.EnvSet["a"], o.Exec.EnvDrop[0], o.Output.Redact[0], o.Output.Patterns["a"], o.Output.Labels[0] = "x", "x", "x", "x", "x"
	if diff := cmp.Diff(make1(), d); diff != "" {
		t.Errorf("a change of the clone is seen (-want +got):\n%s", diff)
	}
}

// TestMemoIsBounded in number and bytes, and forgets the oldest first.
func TestMemoIsBounded(t *testing.T) {
	m := newGenerations(func(d Decision) int { return d.size() })
	var wait sync.WaitGroup
	for worker := range 4 {
		wait.Go(func() {
			for i := range maxMemoEntries {
				key := fmt.Appendf(nil, "%d %d", worker, i)
				m.keep(key, Decision{Labels: []string{string(key)}})
				if d, ok := m.find(key); ok && d.Labels[0] != string(key) {
					t.Errorf("%s: got %+v", key, d)
				}
			}
		})
	}
	wait.Wait()
	if len(m.young) > maxMemoEntries || len(m.old) > maxMemoEntries {
		t.Errorf("got %d and %d entries, want at most %d", len(m.young), len(m.old), maxMemoEntries)
	}
	for i := range 200 {
		m.keep(fmt.Appendf(nil, "large %d", i), Decision{Reasons: []Reason{{Message: strings.Repeat("x", 30_000)}}})
		if m.bytes > maxMemoBytes {
			t.Fatalf("got %d bytes, want at most %d", m.bytes, maxMemoBytes)
		}
	}
	m.keep([]byte("huge"), Decision{Reasons: []Reason{{Message: strings.Repeat("x", maxMemoBytes)}}})
	if _, ok := m.find([]byte("huge")); ok {
		t.Error("a huge decision is kept")
	}
}
