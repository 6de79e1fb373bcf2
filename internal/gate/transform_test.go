package gate_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox"
)

// rewrites is a policy that makes one command of another, and allows all.
func rewrites(to map[string]string) func(policy.Input) policy.Decision {
	return func(in policy.Input) policy.Decision {
		d := policy.Decision{ID: in.DecisionID, Outcome: policy.Allow, Reasons: []policy.Reason{{Rule: "r", Message: "m"}}}
		var args struct{ Command string }
		if err := json.Unmarshal(in.Call.Args, &args); err != nil {
			panic(err) // the gate gives canonical arguments
		}
		if next, ok := to[args.Command]; ok {
			d.Transform = &policy.Transform{Args: json.RawMessage(next)}
		}
		return d
	}
}

func TestTransformedCallIsDecidedAgainAndRuns(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, nil)
	decide := rewrites(map[string]string{"git push": `{"command": "git push --dry-run"}`})
	b.policy.decide = func(in policy.Input) policy.Decision {
		d := decide(in)
		if in.Call.TransformedFrom == "" {
			d.Obligations.Sandbox.Pids = 7
		}
		return d
	}
	res := b.do(t, bash("c1", "git push"))
	calls := b.runtime.Calls()
	if len(calls) != 1 || !slices.Contains(calls[0].Argv, "git push --dry-run") || calls[0].Limits.Pids != 7 {
		t.Fatalf("ran %+v", calls)
	}
	in := b.policy.last(t)
	tr := res.Decision.Transform
	if tr == nil || tr.From != res.Digest || tr.To != in.Call.Digest || in.Call.TransformedFrom != res.Digest || in.Call.Shell.Commands[0].Git == nil && len(in.Call.Shell.Commands[0].Args) != 2 {
		t.Fatalf("transform %+v of %s, second input %+v", tr, res.Digest, in.Call)
	}
	raw := b.rawRecords(t)
	var intent struct {
		Digest   string
		Args     json.RawMessage
		Decision policy.Decision
	}
	if err := json.Unmarshal(raw[0].Data, &intent); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{res.Digest, `{"command":"git push"}`, `{"command":"git push --dry-run"}`, tr.To},
		[]string{intent.Digest, string(intent.Args), string(intent.Decision.Transform.Args), intent.Decision.Transform.To}); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
}

func TestTransformFailsClosed(t *testing.T) {
	for _, tt := range []struct {
		name, message string
		to            map[string]string
		decide        func(policy.Input) policy.Decision
	}{
		{name: "not the tool's arguments", to: map[string]string{"a": `{"cmd": "b"}`}, message: "cmd"},
		{name: "no end", to: map[string]string{"a": `{"command": "b"}`, "b": `{"command": "c"}`}, message: "rewrite the new arguments again"},
		{name: "to and fro", to: map[string]string{"a": `{"command": "b"}`, "b": `{"command": "a"}`}, message: "rewrite the new arguments again"},
		{name: "into what is denied", message: "no b", decide: func(in policy.Input) policy.Decision {
			if in.Call.TransformedFrom != "" {
				return policy.Decision{Outcome: policy.Deny, Reasons: []policy.Reason{{Rule: "no-b", Message: "no b"}}}
			}
			return rewrites(map[string]string{"a": `{"command": "b"}`})(in)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, t.TempDir(), nil, nil)
			if b.policy.decide = tt.decide; tt.decide == nil {
				b.policy.decide = rewrites(tt.to)
			}
			res := b.do(t, bash("c1", "a"))
			if res.Outcome != gate.OutcomeDenied || !strings.Contains(res.Message, tt.message) || len(b.runtime.Calls()) != 0 {
				t.Errorf("%s %q, want a deny with %q", res.Outcome, res.Message, tt.message)
			}
		})
	}
}

func TestTransformThatChangesNothingIsNone(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, nil)
	b.policy.decide = rewrites(map[string]string{"a": `{ "command": "a" }`})
	if res := b.do(t, bash("c1", "a")); res.Outcome != "EXITED" || res.Decision.Transform != nil || len(b.policy.asked) != 1 {
		t.Errorf("%s, transform %+v, asked %d times", res.Outcome, res.Decision.Transform, len(b.policy.asked))
	}
}

func TestOutputIsRedacted(t *testing.T) {
	token := "AKIA" + "ABCDEFGHIJKLMNOP"
	b := newBench(t, t.TempDir(), func(_ context.Context, c sandbox.Call) (sandbox.Result, error) {
		var offset int64
		for _, piece := range []string{"key " + token[:7], token[7:] + "\nTCK-", "12\n"} {
			c.Observer.Output(sandbox.Stdout, offset, []byte(piece))
			offset += int64(len(piece))
		}
		out := sandbox.Output{Head: []byte("key " + token + "\nTCK-12\n"), TotalBytes: offset}
		cut := sandbox.Output{Head: []byte("x AKIAABC"), Tail: []byte("MNOP y"), TotalBytes: 1000}
		return sandbox.Result{Outcome: sandbox.OutcomeExited, Stdout: out, Stderr: cut, Receipt: sandbox.Receipt{CellID: "c"}}, nil
	}, nil)
	b.policy.decide = func(in policy.Input) policy.Decision {
		d := rewrites(nil)(in)
		d.Obligations.Output = policy.OutputObligations{Redact: []string{"aws-key"}, Patterns: map[string]string{"ticket": `TCK-\d+`}}
		return d
	}
	seen := &outputs{}
	res, err := b.Execute(t.Context(), bash("c1", "x"), seen)
	if err != nil {
		t.Fatal(err)
	}
	const want = "key [masked]\n[masked]\n"
	if string(res.Stdout.Head) != want || res.Stdout.Truncated() || !strings.HasPrefix(string(seen.text), want) || strings.Contains(string(seen.text), "AKIA") || seen.gaps != 0 {
		t.Errorf("result %q, stream %q with %d gaps, want %q", res.Stdout.Head, seen.text, seen.gaps, want)
	}
	if string(res.Stderr.Head) != "x [masked]" || string(res.Stderr.Tail) != "[masked] y" || !res.Stderr.Truncated() {
		t.Errorf("cut output: %q %q %d", res.Stderr.Head, res.Stderr.Tail, res.Stderr.TotalBytes)
	}
	if diff := cmp.Diff(map[string]int64{"aws-key": 1, "ticket": 1}, res.Redactions); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	raw := b.rawRecords(t)
	if !strings.Contains(string(raw[1].Data), `"redactions":{"aws-key":1,"ticket":1}`) {
		t.Errorf("recorded %s", raw[1].Data)
	}
}

// outputs keeps what an observer is told of stdout.
type outputs struct {
	text []byte
	gaps int
}

func (o *outputs) Decided(string, policy.Decision) {}
func (o *outputs) Started(sandbox.Receipt)         {}
func (o *outputs) Output(stream sandbox.Stream, offset int64, data []byte) {
	if stream != sandbox.Stdout {
		return
	}
	if offset != int64(len(o.text)) {
		o.gaps++
	}
	o.text = append(o.text, data...)
}
