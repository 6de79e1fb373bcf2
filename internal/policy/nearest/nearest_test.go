package nearest

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/policy"
)

// forbidding decides that none of the words may be in the arguments, the
// directory or the variables.
func forbidding(words ...string) Decide {
	return func(_ context.Context, c Call) (policy.Decision, error) {
		raw, err := json.Marshal(c)
		if err != nil || strings.Contains(string(raw), "unknown") {
			return policy.Decision{}, errors.New("refused before the policy")
		}
		d := policy.Decision{Outcome: policy.Allow}
		for _, word := range words {
			if strings.Contains(string(raw), word) {
				d.Outcome = policy.Deny
				d.Reasons = append(d.Reasons, policy.Reason{Rule: "no-" + word})
			}
		}
		if d.Outcome == policy.Allow {
			d.Reasons = []policy.Reason{{Rule: "fine"}}
		}
		return d, nil
	}
}

func TestSearch(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		words        []string
		want         string // the script; empty: none is allowed
	}{
		{"one command of a list", "ls; rm x; pwd", []string{"rm"}, "ls; pwd"},
		{"the last command", "ls && rm x", []string{"rm"}, "ls"},
		{"one argument", "cat a /etc/b c", []string{"/etc"}, "cat a c"},
		{"a redirect", "ls > /tmp/x", []string{"/tmp"}, "ls"},
		{"an assignment", "A=1 ls", []string{"A="}, "ls"},
		{"the only path becomes one inside", "cat </etc/b", []string{"/etc", "cat\""}, "cat <b"},
		{"two commands", "ls; rm x; pwd; mv a b", []string{"rm", "mv"}, "ls; pwd"},
		{"four commands", "ls; rm x; mv a b; cp a b; ln a b", []string{"rm", "mv", "cp", "ln"}, "ls"},
		{"inside a block", "{ ls; rm x; }", []string{"rm"}, "{ ls;  }"},
		{"nothing helps", "rm x", []string{"rm"}, ""},
		{"not parsed", "rm '", []string{"rm"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args, err := json.Marshal(map[string]string{"command": tt.script})
			if err != nil {
				t.Fatal(err)
			}
			decide := forbidding(tt.words...)
			before, err := decide(t.Context(), Call{Args: args})
			if err != nil {
				t.Fatal(err)
			}
			got := Search(t.Context(), Call{Args: args}, before, decide, Options{ScriptArg: "command"})
			if got.Found != (tt.want != "") || got.Script != tt.want || got.Exhausted {
				t.Errorf("got %+v, want the script %q", got, tt.want)
			}
		})
	}
}

func TestSearchOfOtherParts(t *testing.T) {
	call := Call{Args: json.RawMessage(`{"path":"/etc/passwd","mode":"x"}`), Cwd: "/tmp", Env: map[string]string{"SECRET": "1"}}
	for _, tt := range []struct {
		name  string
		words []string
		want  []string
	}{
		{"a path", []string{"/etc"}, []string{"without the argument path"}},
		{"a path that must be there", []string{"/etc", `{"mode":"x"}`}, []string{`with the path "passwd" in the workspace instead of "/etc/passwd"`}},
		{"a variable", []string{"SECRET"}, []string{"without the variable SECRET"}},
		{"the directory", []string{"/tmp"}, []string{"in the workspace itself instead of /tmp"}},
	} {
		decide := forbidding(tt.words...)
		before := policy.Decision{Outcome: policy.Deny, Reasons: make([]policy.Reason, 2)}
		got := Search(t.Context(), call, before, decide, Options{PathArgs: []string{"path"}})
		if diff := cmp.Diff(tt.want, got.Changes); diff != "" || !got.Found || !cmp.Equal(got.Rules, []string{"fine"}) {
			t.Errorf("%s: %+v (-want +got):\n%s", tt.name, got, diff)
		}
	}
}

func TestSearchIsBounded(t *testing.T) {
	args, err := json.Marshal(map[string]string{"command": strings.Repeat("rm x; ", 300) + "rm y"})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	got := Search(t.Context(), Call{Args: args}, policy.Decision{Outcome: policy.Deny}, func(context.Context, Call) (policy.Decision, error) {
		n++
		return policy.Decision{Outcome: policy.Deny}, nil
	}, Options{ScriptArg: "command", Most: 50})
	if n != 50 || got.Evaluations != 50 || got.Found || !got.Exhausted {
		t.Errorf("%d evaluations, %+v", n, got)
	}
}
