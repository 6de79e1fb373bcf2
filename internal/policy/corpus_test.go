package policy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/policies"
)

// corpusScripts are the labelled commands of the library, and as many that are
// made of pieces of them: two in a row, one with a byte less, words exchanged.
func corpusScripts(tb testing.TB) []string {
	tb.Helper()
	files, err := filepath.Glob("../../policies/testdata/*.tsv")
	if err != nil || len(files) < 4 {
		tb.Fatalf("labelled commands: got %v, %v", files, err)
	}
	escapes := strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\t`, "\t", `\r`, "\r")
	scripts := []string{"", "true", "bash -c true", "git status", "cd src && cat ../README.md", "cat README.md | grep x > out/y"}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			if fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(fields) >= 3 && !strings.HasPrefix(line, "#") {
				scripts = append(scripts, escapes.Replace(fields[1]))
			}
		}
	}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same scripts in every run
	some := func() string { return scripts[random.IntN(len(scripts))] }
	for range len(scripts) {
		a, b := some(), some()
		switch random.IntN(3) {
		case 0:
			a += []string{" && ", " | ", "; ", "\n", " || "}[random.IntN(5)] + b
		case 1:
			if a != "" {
				at := random.IntN(len(a))
				a = a[:at] + a[at+1:]
			}
		default:
			words, others := strings.Fields(a), strings.Fields(b)
			if len(words) > 0 && len(others) > 0 {
				words[random.IntN(len(words))] = others[random.IntN(len(others))]
			}
			a = strings.Join(words, " ")
		}
		scripts = append(scripts, a)
	}
	return scripts
}

// corpus are calls of many kinds under a profile: the scripts, in the workspace
// and elsewhere, with facts and without, and tools without a script.
func corpus(tb testing.TB, profile string, scripts []string) []Input {
	tb.Helper()
	root := facts.NewMemFS(map[string]string{"README.md": "x", "src/a.go": "x", "out/": "", ".git/config": ""},
		map[string]string{"link": "/etc", "rel": "../outside"})
	var calls []Input
	for i, script := range scripts {
		in := input(profile)
		in.DecisionID, in.Time = fmt.Sprint(i), "2026-01-01T00:00:00Z"
		args, err := json.Marshal(map[string]string{"command": script})
		if err != nil {
			tb.Fatal(err)
		}
		in.Call.Args, in.Session.Seq, in.Call.ID = args, int64(i), fmt.Sprint("c", i)
		if i%17 == 0 {
			in.Call.Cwd = "/workspace/src"
		}
		in.Caller.Tenant = []string{"", "", "strict"}[i%3]
		in.Daemon.Environment = []string{"", "production"}[i%2]
		in.Call.Shell = facts.AnalyzeShell(script, facts.Options{Root: root, Cwd: in.Call.Cwd})
		switch i % 97 {
		case 1:
			in.Call.Shell = nil
		case 2:
			in.Call.Shell.Overflow = true
		case 3:
			in.Schema, in.Tool.Name = "", "other"
		case 4:
			in.Session.Profile = "none-of-" + profile
		}
		calls = append(calls, in)
	}
	yes, no := true, false
	for i, path := range []string{"/workspace/a", "/etc/passwd", "/usr/lib/x", "/workspace/.git/config", "/tmp/x", "../x", "/workspace/x\xff"} {
		for _, op := range []string{"read", "write", "delete", "list", "glob"} {
			for _, inside := range []*bool{&yes, &no, nil} {
				for _, effects := range [][]string{{"read"}, {"write"}, {"execute"}, {"network"}, {}, {"read", "teleport"}} {
					in := input(profile)
					in.DecisionID, in.Time = fmt.Sprint(len(calls)), "2026-01-01T00:00:00Z"
					in.Call.Tool, in.Tool.Name, in.Tool.Effects = op+"_file", op+"_file", effects
					in.Call.Args = json.RawMessage(`{"path":"x"}`)
					in.Call.Files = []facts.File{{Op: op, Path: path, Abs: path, InWorkspace: inside}}
					if i == 0 && op == "list" {
						in.Call.Files = nil
					}
					calls = append(calls, in)
				}
			}
		}
	}
	return calls
}

// libraryWith is a directory with the default library and more files.
func libraryWith(tb testing.TB, more map[string]string) string {
	tb.Helper()
	dir := tb.TempDir()
	files := map[string]string{}
	err := fs.WalkDir(policies.FS, "sandgate", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(name, "_test.rego") {
			return err
		}
		body, err := policies.FS.ReadFile(name)
		files[name] = string(body)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	maps.Copy(files, more)
	writePolicy(tb, dir, files)
	return dir
}

// corpusPolicies are the library alone, with modes, and with the packages of an
// operator and of a tenant beside it.
func corpusPolicies(tb testing.TB) map[string]string {
	tb.Helper()
	extra := `package sandgate.extra.mine

deny contains {"rule": "mine", "message": "no curl"} if {
	some command in input.call.shell.commands
	command.base == "curl"
}

ask contains {"rule": "mine-too", "message": input.call.tool} if "wc" in input.call.shell.programs

obligations := {"sandbox": {"pids": 100}}

ask_terms := {"quorum": 2, "approvers": ["role:operator", "role:b"]} if input.daemon.environment == "production"

labels contains "seen" if input.session.seq > 10
`
	tenant := "package sandgate.tenants.strict\n\nimport data.sandgate.lib.shell\n\n" +
		"deny contains {\"rule\": \"theirs\", \"message\": command.base} if {\n\tsome command in input.call.shell.commands\n\tshell.network(command)\n}\n"
	modes := `{"modes": {"outside-workspace": "warn", "network": "shadow", "not-read-only": {"default": "warn", "environments": {"production": "enforce"}}},
		"ask": {"approvers": ["role:operator"], "quorum": 1, "on_timeout": "deny"}}`
	return map[string]string{
		"library": libraryWith(tb, nil),
		"modes":   libraryWith(tb, map[string]string{"sandgate/config/data.json": modes}),
		"beside":  libraryWith(tb, map[string]string{"sandgate/extra/mine.rego": extra, "sandgate/tenants/strict.rego": tenant}),
	}
}

// TestWriteCorpus writes what is decided on the corpus to the file that
// SANDGATE_DECISIONS names, for two versions of the library to be compared.
func TestWriteCorpus(t *testing.T) {
	name := os.Getenv("SANDGATE_DECISIONS")
	if name == "" {
		t.Skip("SANDGATE_DECISIONS names no file to write to")
	}
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	scripts := corpusScripts(t)
	for policy, dir := range corpusPolicies(t) {
		e := newEngine(t, Config{Dir: dir, Ceiling: SandboxObligations{Pids: 50, WallTimeMs: 1000}})
		if err := e.Ready(); err != nil {
			t.Fatal(policy, err)
		}
		for _, profile := range e.Status().Profiles {
			for i, in := range corpus(t, profile, scripts) {
				d := e.Decide(t.Context(), in)
				d.Revision = ""
				if _, err := fmt.Fprintf(w, "%s %s %d %s\n", policy, profile, i, asJSON(t, d)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
