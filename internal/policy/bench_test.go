package policy

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/sandgate/sandgate/internal/facts"
)

// benchInput is a call of bash as the gate makes it: a unix caller, a session
// of many calls before, the facts of the script.
func benchInput(profile, script string) Input {
	id := 1000
	in := input(profile)
	in.Caller = CallerInput{ID: "unix:uid:1000", Transport: "unix", UID: &id, GID: &id, PID: &id, Exe: "/usr/bin/agent"}
	in.Session = SessionInput{ID: "s-1", Profile: profile, Seq: 700, Counts: map[string]int{"allow": 690, "ask": 6, "deny": 4}}
	for i := range int64(20) {
		in.Session.Recent = append(in.Session.Recent, RecentCall{Seq: 680 + i, Tool: "bash", Outcome: "EXITED", Digest: fmt.Sprintf("sha256:%064x", i)})
	}
	command, err := json.Marshal(map[string]string{"command": script})
	if err != nil {
		panic(err)
	}
	var none int64
	in.Call.Args, in.Call.StdinBytes = command, &none
	in.Call.Digest = fmt.Sprintf("sha256:%064x", 99)
	in.Call.Shell = facts.AnalyzeShell(script, facts.Options{Root: facts.NewMemFS(map[string]string{"README.md": "x"}, nil), Cwd: "/workspace"})
	return in
}

// BenchmarkDecideNew is a call that was not made before. One of a shape that was
// met before: only its arguments differ in every round. And one of a program that
// nobody ran lately, so that the policy is evaluated and the memo only costs.
func BenchmarkDecideNew(b *testing.B) {
	for _, profile := range []string{"workspace", "readonly", "open"} {
		e, err := New(b.Context(), Config{Version: "bench", Ceiling: SandboxObligations{Pids: 4096, WallTimeMs: 600_000}})
		if err != nil || e.Ready() != nil {
			b.Fatal(err, e.Ready())
		}
		decide := func(b *testing.B, in Input) {
			if d := e.Decide(b.Context(), in); d.Outcome == Deny {
				b.Fatalf("got %+v", d)
			}
		}
		b.Run(profile+"/shape", func(b *testing.B) {
			in, round := e.Complete(benchInput(profile, "true")), 0
			b.ReportAllocs()
			for b.Loop() {
				round++
				in.Call.Args = fmt.Appendf(nil, `{"command":"true","round":%d}`, round)
				decide(b, in)
			}
		})
		b.Run(profile+"/program", func(b *testing.B) {
			calls, round := make([]Input, 4*maxMemoEntries), 0
			for i := range calls {
				calls[i] = e.Complete(benchInput(profile, fmt.Sprintf("program%d", i)))
			}
			b.ReportAllocs()
			for b.Loop() {
				decide(b, calls[round%len(calls)])
				round++
			}
		})
	}
}

// BenchmarkDecideSession is the part of a call that its decision is, under each
// profile of the library: the smallest script, and one of four commands. All
// calls but the first were made before, see [memo].
func BenchmarkDecideSession(b *testing.B) {
	for _, profile := range []string{"workspace", "readonly", "open"} {
		for name, script := range map[string]string{
			"true": "true",
			"four": "git status && git log --oneline -n 20 | grep -v wip && cat README.md",
		} {
			b.Run(profile+"/"+name, func(b *testing.B) {
				e, err := New(b.Context(), Config{Version: "bench", Ceiling: SandboxObligations{Pids: 4096, WallTimeMs: 600_000}})
				if err != nil || e.Ready() != nil {
					b.Fatal(err, e.Ready())
				}
				in := e.Complete(benchInput(profile, script))
				want := Allow
				if profile == "readonly" && name == "true" {
					want = Ask
				}
				b.ReportAllocs()
				for b.Loop() {
					in.DecisionID = ""
					if d := e.Decide(b.Context(), in); d.Outcome != want {
						b.Fatalf("got %+v", d)
					}
				}
			})
		}
	}
}
