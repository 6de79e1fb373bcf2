package scenario

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/policies"
)

func newRunner(t *testing.T, cfg policy.Config) Runner {
	t.Helper()
	engine, err := policy.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Ready(); err != nil {
		t.Fatal(err)
	}
	tools, err := catalog.New(catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return Runner{Engine: engine, Catalog: tools}
}

func TestScenariosOfTheDefaultLibrary(t *testing.T) {
	runner := newRunner(t, policy.Config{})
	files, err := fs.Glob(policies.FS, "scenarios/*/scenario.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("scenario files: got %v, %v, want one for each profile", files, err)
	}
	for _, file := range files {
		t.Run(path.Base(path.Dir(file)), func(t *testing.T) {
			raw, err := policies.FS.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			suite, err := Parse(file, raw)
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			results := runner.Run(t.Context(), suite)
			if err := WriteText(&text, results); err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				if !r.Passed() {
					t.Fatalf("failing cases:\n%s", &text)
				}
			}
		})
	}
}

// tsvCase is a line of policies/testdata/*.tsv: decision, command, why.
type tsvCase struct {
	file, want, command, why string
	line                     int
}

// readTSV reads the labelled commands. The escapes are those of the files' header.
func readTSV(t *testing.T) []tsvCase {
	t.Helper()
	files, err := filepath.Glob("../../policies/testdata/bash_readonly*.tsv")
	if err != nil || len(files) == 0 {
		t.Fatalf("labelled commands: got %v, %v", files, err)
	}
	unescape := strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\t`, "\t", `\r`, "\r")
	var cases []tsvCase
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(raw), "\n") {
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			fields := strings.SplitN(line, "\t", 3)
			if len(fields) != 3 {
				t.Fatalf("%s:%d: want three fields", file, i+1)
			}
			cases = append(cases, tsvCase{filepath.Base(file), fields[0], unescape.Replace(fields[1]), fields[2], i + 1})
		}
	}
	return cases
}

// TestReadonlyDecidesEveryLabelledCommand puts the labelled commands through the
// facts and the policy that a real call goes through.
func TestReadonlyDecidesEveryLabelledCommand(t *testing.T) {
	runner := newRunner(t, policy.Config{})
	workspace := facts.NewMemFS(nil, map[string]string{"link": "/etc", "rel": "../outside"})
	cases := readTSV(t)
	for _, tt := range cases {
		c := Case{Profile: "readonly", Time: defaultTime, Session: policy.SessionInput{Profile: "readonly"}, Call: Call{Tool: "bash"}}
		c.Call.Args = []byte(fmt.Sprintf(`{"command": %s}`, text(tt.command)))
		in, err := runner.Input(workspace, c)
		if err != nil && tt.want == "ask" {
			continue // refused before the policy: never allowed, which is what ask is the floor of
		}
		if err != nil {
			t.Errorf("%s:%d: %q: %v", tt.file, tt.line, tt.command, err)
			continue
		}
		d := runner.Engine.Decide(t.Context(), in)
		if string(d.Outcome) != tt.want || strings.HasPrefix(d.Reasons[0].Rule, "daemon:") {
			t.Errorf("%s:%d: %q (%s): got %s by %+v, want %s", tt.file, tt.line, tt.command, tt.why, d.Outcome, d.Reasons, tt.want)
		}
	}
	t.Logf("%d labelled commands", len(cases))
}

func BenchmarkDecideReadonly(b *testing.B) {
	engine, err := policy.New(b.Context(), policy.Config{})
	if err != nil {
		b.Fatal(err)
	}
	tools, err := catalog.New(catalog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	runner := Runner{Engine: engine, Catalog: tools}
	workspace := facts.NewMemFS(map[string]string{"a.txt": "x"}, nil)
	for _, command := range []string{"true", "cat a.txt", "git log --oneline -n 20 | grep fix | cat", strings.Repeat("ls; ", 49) + "ls"} {
		c := Case{Session: policy.SessionInput{Profile: "readonly"}, Call: Call{Tool: "bash", Args: []byte(fmt.Sprintf(`{"command": %s}`, text(command)))}}
		b.Run(fmt.Sprintf("%d_bytes", len(command)), func(b *testing.B) {
			for b.Loop() {
				in, err := runner.Input(workspace, c)
				if err != nil {
					b.Fatal(err)
				}
				if d := engine.Decide(b.Context(), in); d.Outcome == policy.Deny {
					b.Fatal(d)
				}
			}
		})
	}
}
