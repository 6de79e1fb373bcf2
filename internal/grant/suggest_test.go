package grant_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/proposal"
)

// asker decides calls by the default library.
type asker struct {
	engine *policy.Engine
	tools  *catalog.Catalog
	files  *facts.MemFS
}

func newAsker(t *testing.T) *asker {
	t.Helper()
	engine, err := policy.New(t.Context(), policy.Config{})
	if err != nil {
		t.Fatal(err)
	}
	tools, err := catalog.New(catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &asker{engine: engine, tools: tools, files: facts.NewMemFS(
		map[string]string{"src/a.go": "x", "src/b.go": "y", "docs/x.md": "z", "build/o": "o", "top.txt": "t", "run.sh": "ls"},
		map[string]string{"src/out": "/etc/passwd"},
	)}
}

func (a *asker) input(t *testing.T, profile, tool, args string, granted ...policy.GrantInput) policy.Input {
	t.Helper()
	declared, err := a.tools.Lookup(tool)
	if err != nil {
		t.Fatal(err)
	}
	canonical, _, err := declared.Accept(json.RawMessage(args))
	if err != nil {
		t.Fatal(err)
	}
	none := int64(0)
	call, shown, err := proposal.Build(declared, proposal.Call{ID: "c", Args: canonical, StdinBytes: &none}, a.files)
	if err != nil {
		t.Fatal(err)
	}
	in := policy.Input{
		Caller: policy.CallerInput{ID: "cli:test", Transport: "cli"}, Call: call, Tool: shown,
		Session: policy.SessionInput{ID: "s", Profile: profile, Granted: granted},
	}
	for _, g := range granted {
		in.Session.Grants = append(in.Session.Grants, g.ID)
	}
	return a.engine.Complete(in)
}

func script(command string) string {
	raw, err := json.Marshal(map[string]string{"command": command})
	if err != nil {
		panic(err) // a map of strings
	}
	return string(raw)
}

// grantOf is the grant that is offered for a call.
func (a *asker) grantOf(t *testing.T, profile, tool, args string) (policy.GrantInput, error) {
	t.Helper()
	in := a.input(t, profile, tool, args)
	d := a.engine.Decide(t.Context(), in)
	if d.Outcome != policy.Ask {
		t.Fatalf("%s %s: got %s, want ask", tool, args, d.Outcome)
	}
	class, err := grant.Suggest(&in, d.Reasons)
	if err != nil {
		return policy.GrantInput{}, err
	}
	g := grant.Grant{ID: "g1", Class: class, Terms: grant.Terms{Scope: grant.ScopeSession}}
	raw, err := json.Marshal(g) // as the journal brings it back
	if err != nil {
		t.Fatal(err)
	}
	var back grant.Grant
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	return back.Input(), nil
}

// TestGrantsAreAsNarrowAsTheySay: what is suggested for one call lets the policy allow
// that call and what differs in nothing that matters, and nothing else.
func TestGrantsAreAsNarrowAsTheySay(t *testing.T) {
	a := newAsker(t)
	for _, tc := range []struct {
		script, summary string
		allows, asks    []string
	}{
		{
			script:  `git commit -m "first"`,
			summary: "`git commit`, any text for -m",
			allows:  []string{`git commit -m 'another; rm -rf /'`, `git commit -m x && git status`, `git log -1; git commit -m x 2>&1`},
			asks: []string{
				`git commit --amend -m x`, `git commit -m x --no-verify`, `git push`, `git commit -m "$(id)"`, `GIT_DIR=x git commit -m x`,
				`git -c core.editor=x commit -m x`, `git commit -m x > log`, `./git commit -m x`, `git commit -m x && touch f`, `cd src && git commit -m x`,
				`eval git commit -m x`, `xargs git commit -m x`, `git commit -F src/a.go`, `for i in 1; do git commit -m x; done`, `git commit -m x &`,
			},
		},
		{
			script:  `git add src/a.go docs/x.md`,
			summary: "`git add`, files below /workspace/src, files below /workspace/docs",
			allows:  []string{`git add src/b.go`, `git add docs/x.md src/a.go`},
			asks:    []string{`git add top.txt`, `git add -A`, `git add .`, `git add src/out`, `git add build/o`, `git add src/../top.txt`},
		},
		{
			script: `mv -f build old`, summary: "exactly `mv -f build old`",
			allows: []string{`mv -f build old`, `ls; mv -f build old`, `mv -f build old | cat`},
			asks:   []string{`cat top.txt | mv -f build old`, `ls; echo x | mv -f build old`, `echo x |& mv -f build old`, `mv -f src old`, `mv -f build old src`, `mv build old`, `mv build old -f`, `mv -f bui* old`, `mv -f build src`},
		},
		{
			script: `touch src/new.go && mkdir -p src/x`, summary: "`touch`, files below /workspace/src; `mkdir [-p]`, files below /workspace/src",
			allows: []string{`touch src/c.go`, `mkdir -p src/y/z`, `mkdir src/q && touch src/q/r`},
			asks:   []string{`touch new.go`, `touch docs/y`, `mkdir -m 777 src/y`, `touch -t 1 src/c.go`},
		},
	} {
		g, err := a.grantOf(t, "readonly", "bash", script(tc.script))
		if err != nil {
			t.Errorf("%s: %v, want a grant", tc.script, err)
			continue
		}
		if g.Summary != tc.summary {
			t.Errorf("%s: got the summary %q, want %q", tc.script, g.Summary, tc.summary)
		}
		for _, other := range append(tc.allows, tc.script) {
			d := a.engine.Decide(t.Context(), a.input(t, "readonly", "bash", script(other), g))
			if d.Outcome != policy.Allow || len(d.Grants) != 1 || d.Reasons[0].Rule != "granted" {
				t.Errorf("%s granted, then %s: got %s by %v (%v), want allow by the grant", tc.script, other, d.Outcome, d.Grants, d.Reasons)
			}
		}
		for _, other := range tc.asks {
			d := a.engine.Decide(t.Context(), a.input(t, "readonly", "bash", script(other), g))
			if d.Outcome == policy.Allow || len(d.Grants) != 0 {
				t.Errorf("%s granted, then %s: got %s by %v, want it not granted", tc.script, other, d.Outcome, d.Grants)
			}
		}
	}
}

func TestWhatCannotBeNarrowedIsNotOffered(t *testing.T) {
	a := newAsker(t)
	for _, tc := range []struct{ script, want string }{
		{`git commit -m "$MSG"`, "parameter expansion"},
		{`$CMD x`, "changes its directory"},
		{`sh -c "mv x y"`, "nested script"},
		{`eval "$X"`, "code that is not known"},
		{`bash run.sh`, "code that is not known"},
		{`make`, "code that is not known"},
		{`python3 -c 'print(1)'`, ""},
		{`cd src && mv a.go b.go`, "changes its directory"},
		{`echo x > top.txt`, "redirected"},
		{`mv src/*.go docs`, "only known when it runs"},
		{`A=x mv y z`, "assignment"},
		{`cat top.txt | patch -p1`, "writes into a pipe"},
		{`mv x y &`, "background"},
		{`if true; then mv x y; fi`, "uses if"},
		{`f() { mv x y; }; f`, "defines commands"},
		{`mv "unclosed`, "could not be read"},
		{`./run.sh`, ""},
	} {
		if g, err := a.grantOf(t, "readonly", "bash", script(tc.script)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %+v, %v, want no offer because of %q", tc.script, g, err, tc.want)
		}
	}
	in := a.input(t, "readonly", "bash", script("mv x y"))
	asked := []policy.Reason{{Rule: "r", Message: "m"}}
	for name, spoil := range map[string]func(*policy.Input){
		"variables":                func(in *policy.Input) { in.Call.Env = map[string]string{"A": "b"} },
		"a streamed input":         func(in *policy.Input) { in.Call.StdinBytes = nil },
		"an input":                 func(in *policy.Input) { n := int64(1); in.Call.StdinBytes = &n },
		"a terminal":               func(in *policy.Input) { in.Call.Terminal = true },
		"a Python program":         func(in *policy.Input) { in.Call.Python = &facts.Python{} },
		"an unknown directory":     func(in *policy.Input) { in.Call.Shell.Cwd.InWorkspace = nil },
		"more than a person reads": func(in *policy.Input) { in.Call.Shell.Truncated = true },
	} {
		own := in
		shell := *in.Call.Shell
		own.Call.Shell = &shell
		spoil(&own)
		if class, err := grant.Suggest(&own, asked); err == nil {
			t.Errorf("%s: got %+v, want no offer", name, class)
		}
	}
	for _, reasons := range [][]policy.Reason{nil, {{Rule: "daemon:more", Message: "and 3 more"}}} {
		if class, err := grant.Suggest(&in, reasons); err == nil {
			t.Errorf("the reasons %v: got %+v, want no offer", reasons, class)
		}
	}
}

func TestGrantsOfFileTools(t *testing.T) {
	a := newAsker(t)
	g, err := a.grantOf(t, "readonly", "write_file", `{"path": "docs/x.md", "content": "1"}`)
	if err != nil || g.Summary != "write_file of any file below /workspace/docs" {
		t.Fatalf("got %q, %v", g.Summary, err)
	}
	for args, want := range map[string]policy.Outcome{
		`{"path": "docs/new.md", "content": "2"}`:    policy.Allow,
		`{"path": "docs/../top.txt", "content": ""}`: policy.Ask,
		`{"path": "src/a.go", "content": "2"}`:       policy.Ask,
	} {
		if d := a.engine.Decide(t.Context(), a.input(t, "readonly", "write_file", args, g)); d.Outcome != want {
			t.Errorf("%s: got %s (%v), want %s", args, d.Outcome, d.Reasons, want)
		}
	}
	top, err := a.grantOf(t, "readonly", "write_file", `{"path": "top.txt", "content": "1"}`)
	if err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]policy.Outcome{
		`{"path": "top.txt", "content": "1"}`: policy.Allow,
		`{"path": "top.txt", "content": "2"}`: policy.Ask,
	} {
		if d := a.engine.Decide(t.Context(), a.input(t, "readonly", "write_file", args, top)); d.Outcome != want {
			t.Errorf("%s: got %s (%v), want %s", args, d.Outcome, d.Reasons, want)
		}
	}
}

// TestASummaryCannotLie: nothing in a summary is taken for something else by a reader
// or his terminal.
func TestASummaryCannotLie(t *testing.T) {
	a := newAsker(t)
	g, err := a.grantOf(t, "readonly", "bash", script("mv 'a`; harmless' 'b\u00e9c' 'd e' f"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "exactly `mv \"a`; harmless\" \"b\\u00e9c\" \"d e\" f`"; g.Summary != want {
		t.Errorf("got %s, want %s", g.Summary, want)
	}
	for _, hidden := range []string{"\u202e", "\x1b[2J"} {
		if g, err := a.grantOf(t, "readonly", "bash", script("mv 'a"+hidden+"b' c")); err == nil {
			t.Errorf("%q in a word: got %+v, want no offer", hidden, g)
		}
	}
}
