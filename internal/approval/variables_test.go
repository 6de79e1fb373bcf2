package approval_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/policy"
)

// frozen is what is held of a call with variables of its own, a word each, with what is
// not held at the end.
func frozen(t *testing.T, dir, script string, env map[string]string) []string {
	t.Helper()
	root, err := facts.OpenOSRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	none := int64(0)
	in := policy.Input{Call: policy.CallInput{
		Tool: "bash", Cwd: "/workspace", StdinBytes: &none, Env: env, Shell: facts.AnalyzeShell(script, facts.Options{Root: root}),
	}}
	if err := root.Close(); err != nil {
		t.Fatal(err)
	}
	files, unfrozen, err := approval.Freeze(&in, dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		text := strings.TrimPrefix(f.Path, "/workspace/")
		if f.SHA256 == "" && f.Op == approval.OpRun {
			text += " (absent)"
		}
		out = append(out, text)
	}
	return append(out, unfrozen...)
}

// TestWhatVariablesSayIsHeld: a program that PATH finds in the workspace, a library or a
// start file can be exchanged between the approval and the run as a script can, and can
// come where there was none.
func TestWhatVariablesSayIsHeld(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "bin/deploy", "echo good")
	write(t, dir, "rc", "echo good")
	write(t, dir, "x.so", "ELF")
	for name, c := range map[string]struct {
		script string
		env    map[string]string
		want   []string // each has to be there
		not    string
	}{
		"PATH of the call":              {"deploy", map[string]string{"PATH": "/workspace/bin:/usr/bin"}, []string{"bin/deploy", "what is in the directory /workspace/bin"}, ""},
		"PATH of the command":           {"PATH=/workspace/bin:/usr/bin deploy", nil, []string{"bin/deploy"}, ""},
		"PATH of the script":            {"export PATH=bin; deploy", nil, []string{"bin/deploy"}, ""},
		"a program that is not there":   {"PATH=/workspace/bin:/usr/bin ls", nil, []string{"bin/ls (absent)"}, ""},
		"a directory that is not there": {"deploy", map[string]string{"PATH": "/workspace/new:/usr/bin"}, []string{"new (absent)", "new/deploy (absent)"}, ""},
		"the working directory":         {"rc", map[string]string{"PATH": "/usr/bin:"}, []string{"rc"}, ""},
		"PATH that is not known":        {"PATH=/workspace/bin:$PATH deploy", nil, []string{"what the variable PATH names, which is only known when it runs"}, ""},
		"after cd":                      {"cd bin; PATH=.:/usr/bin deploy", nil, []string{"what the variable PATH names, which is only known when it runs"}, ""},
		"a library":                     {"ls", map[string]string{"LD_PRELOAD": "/workspace/x.so /workspace/y.so"}, []string{"x.so", "y.so (absent)"}, ""},
		"a start file":                  {"ls", map[string]string{"BASH_ENV": "rc"}, []string{"rc"}, ""},
		"a start file of the script":    {"BASH_ENV=late bash -c ls", nil, []string{"late (absent)"}, ""},
		"an option":                     {"node -v", map[string]string{"NODE_OPTIONS": "--require=/workspace/rc"}, []string{"rc"}, ""},
		"any other variable":            {"OUT=/workspace/new ls", map[string]string{"DEST": "/workspace/other"}, nil, "(absent)"},
	} {
		got := frozen(t, dir, c.script, c.env)
		for _, want := range c.want {
			if !slices.Contains(got, want) {
				t.Errorf("%s: got %q, want %q among it", name, got, want)
			}
		}
		if c.not != "" && strings.Contains(strings.Join(got, "\n"), c.not) {
			t.Errorf("%s: got %q, want no %q", name, got, c.not)
		}
	}
}
