package proposal_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/gowebpki/jcs"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/proposal"
)

// benchCalls are the calls of the benchmarks, from the smallest to one that a
// person would no longer review.
var benchCalls = []struct{ name, tool, args string }{
	{"true", "bash", `{"command":"true"}`},
	{"git_status", "bash", `{"command":"git status --short"}`},
	{"pipe", "bash", `{"command":"git log --oneline -n 20 | grep -v fix | cat README.md src/a.go","description":"look"}`},
	{"build", "bash", `{"command":"cd src && go build ./... && go test ./... 2>&1 | tail -n 20","timeout_ms":60000}`},
	{"50_commands", "bash", `{"command":"` + strings.Repeat("ls src; ", 49) + `ls"}`},
	{"read_file", "read_file", `{"path":"src/a.go"}`},
}

var benchProfiles = []string{"open", "readonly", "workspace"}

type bench struct {
	tools  *catalog.Catalog
	engine *policy.Engine
	root   facts.FS
}

func newBench(b testing.TB) *bench {
	b.Helper()
	tools, err := catalog.New(catalog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	engine, err := policy.New(b.Context(), policy.Config{
		Ceiling: policy.SandboxObligations{WallTimeMs: 600_000, CPUMillis: 2000, MemoryBytes: 1 << 30, Pids: 512}, Version: "bench",
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := engine.Ready(); err != nil {
		b.Fatal(err)
	}
	return &bench{tools, engine, facts.NewMemFS(map[string]string{"README.md": "x", "src/a.go": "x", ".git/config": "x"}, nil)}
}

// prepare is what the gate does before it decides: the arguments checked and
// brought into their canonical form, the program, the digest.
func (bb *bench) prepare(b testing.TB, name, args string) (catalog.Tool, json.RawMessage, string) {
	tool, err := bb.tools.Lookup(name)
	if err != nil {
		b.Fatal(err)
	}
	canonical, _, err := tool.Accept(json.RawMessage(args))
	if err != nil {
		b.Fatal(err)
	}
	raw, err := json.Marshal(struct {
		Version   int               `json:"v"`
		Tool      string            `json:"tool"`
		Args      json.RawMessage   `json:"args"`
		Cwd       string            `json:"cwd"`
		Env       map[string]string `json:"env"`
		Stdin     string            `json:"stdin"`
		Workspace string            `json:"workspace"`
		Session   string            `json:"session"`
	}{1, name, canonical, "/workspace", nil, "", "", "s1"})
	if err != nil {
		b.Fatal(err)
	}
	if raw, err = jcs.Transform(raw); err != nil {
		b.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	return tool, canonical, "sha256:" + hex.EncodeToString(sum[:])
}

// input is what the gate gives the policy.
func (bb *bench) input(b testing.TB, tool catalog.Tool, args json.RawMessage, digest, profile string) policy.Input {
	call, decl, err := proposal.Build(tool, proposal.Call{ID: "c1", Args: args, StdinBytes: new(int64), Digest: digest}, bb.root)
	if err != nil {
		b.Fatal(err)
	}
	uid := 1000
	return bb.engine.Complete(policy.Input{
		Caller: policy.CallerInput{ID: "unix:uid:1000", Transport: "unix", UID: &uid, GID: &uid, PID: &uid, Exe: "/usr/bin/agent"},
		Agent:  policy.AgentInput{Name: "agent", Version: "1", Model: "m"},
		Session: policy.SessionInput{
			ID: "s1", Profile: profile, Seq: 7, Counts: map[string]int{"allow": 6, "ask": 0, "deny": 1}, Labels: []string{},
			Recent: []policy.RecentCall{{Seq: 6, Tool: "bash", Outcome: "EXITED", Digest: digest}},
		},
		Call: call, Tool: decl,
	})
}

// BenchmarkWay is everything between the arrival of a call and its decision:
// what Execute spends on validate, facts and decide.
func BenchmarkWay(b *testing.B) {
	bb := newBench(b)
	for _, profile := range benchProfiles {
		for _, c := range benchCalls {
			b.Run(fmt.Sprintf("%s/%s", profile, c.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					tool, args, digest := bb.prepare(b, c.tool, c.args)
					if d := bb.engine.Decide(b.Context(), bb.input(b, tool, args, digest, profile)); d.Reasons == nil {
						b.Fatal(d)
					}
				}
			})
		}
	}
}

// BenchmarkWayNew is the way of calls that were not made before: a word or a path
// of theirs is another each time.
func BenchmarkWayNew(b *testing.B) {
	bb := newBench(b)
	for _, profile := range benchProfiles {
		for _, c := range []struct{ name, tool, args string }{
			{"true", "bash", `{"command":"true %d"}`},
			{"git", "bash", `{"command":"git log -n %d"}`},
			{"read_file", "read_file", `{"path":"src/a-%d.go"}`},
		} {
			b.Run(fmt.Sprintf("%s/%s", profile, c.name), func(b *testing.B) {
				b.ReportAllocs()
				for n := 0; b.Loop(); n++ {
					tool, args, digest := bb.prepare(b, c.tool, fmt.Sprintf(c.args, n))
					if d := bb.engine.Decide(b.Context(), bb.input(b, tool, args, digest, profile)); d.Reasons == nil {
						b.Fatal(d)
					}
				}
			})
		}
	}
}

// BenchmarkStage is the same, each stage by itself.
func BenchmarkStage(b *testing.B) {
	bb := newBench(b)
	for _, c := range benchCalls {
		tool, args, digest := bb.prepare(b, c.tool, c.args)
		b.Run("prepare/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bb.prepare(b, c.tool, c.args)
			}
		})
		b.Run("accept/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := tool.Accept(json.RawMessage(c.args)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("facts/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bb.input(b, tool, args, digest, "open")
			}
		})
		for _, profile := range benchProfiles {
			in := bb.input(b, tool, args, digest, profile)
			b.Run("decide/"+profile+"/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if d := bb.engine.Decide(b.Context(), in); d.Reasons == nil {
						b.Fatal(d)
					}
				}
			})
		}
	}
}
