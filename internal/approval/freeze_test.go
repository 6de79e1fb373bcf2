package approval_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/policy"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	full := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, dir, name, target string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func freeze(t *testing.T, dir, script string) (files []approval.File, unfrozen []string) {
	t.Helper()
	root, err := facts.OpenOSRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	none := int64(0)
	in := policy.Input{Call: policy.CallInput{
		Tool: "bash", Cwd: "/workspace", StdinBytes: &none, Shell: facts.AnalyzeShell(script, facts.Options{Root: root}),
	}}
	if err := root.Close(); err != nil {
		t.Fatal(err)
	}
	files, unfrozen, err = approval.Freeze(&in, dir)
	if err != nil {
		t.Fatal(err)
	}
	return files, unfrozen
}

func project(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "s.sh", "echo hi")
	write(t, dir, "sub/t.py", "print(1)")
	write(t, dir, "data.txt", "d")
	write(t, dir, "Makefile", "all:")
	link(t, dir, "l.sh", "s.sh")
	return dir
}

func TestFilesThatACallRefersTo(t *testing.T) {
	dir := project(t)
	for script, want := range map[string][]string{
		`sh s.sh`:                           {"run /workspace/s.sh"},
		`./s.sh arg`:                        {"run /workspace/s.sh"},
		`bash l.sh`:                         {"run /workspace/l.sh"},
		`. ./s.sh`:                          {"run /workspace/s.sh"},
		`bash < s.sh`:                       {"run /workspace/s.sh"},
		`python3 sub/t.py data.txt`:         {"run /workspace/data.txt", "run /workspace/sub/t.py"},
		`cat data.txt`:                      {"read /workspace/data.txt"},
		`cat < data.txt > out`:              {"read /workspace/data.txt"},
		`echo x > data.txt`:                 {"write /workspace/data.txt"},
		`sh -c 'sh s.sh'`:                   {"run /workspace/s.sh"},
		`env A=b sh s.sh; rm data.txt`:      {"run /workspace/s.sh", "write /workspace/data.txt"},
		`make all`:                          {"run /workspace/GNUmakefile (absent)", "run /workspace/Makefile", "run /workspace/makefile (absent)"},
		`git apply data.txt`:                {"run /workspace/.git (absent)", "run /workspace/HEAD (absent)", "run /workspace/data.txt"},
		`echo s.sh.txt`:                     nil,
		`cd sub && python3 t.py`:            {"dir /workspace/sub (absent)"}, // see below
		`tool --config=data.txt`:            nil,
		`tool config=data.txt`:              {"read /workspace/data.txt"},
		`cp data.txt copy && sh s.sh && ls`: {"read /workspace/data.txt", "run /workspace/s.sh"},
	} {
		files, _ := freeze(t, dir, script)
		var got []string
		for _, f := range files {
			text := f.Op + " " + f.Path
			if f.SHA256 == "" {
				text += " (absent)"
			}
			got = append(got, text)
		}
		slices.Sort(got)
		slices.Sort(want)
		if script == `tool --config=data.txt` && len(got) == 1 { // read as a word NAME=VALUE
			continue
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", script, got, want)
		}
	}
}

func TestWhatIsNotFrozenIsTold(t *testing.T) {
	dir := project(t)
	for script, want := range map[string]string{
		`sh $X`:            "a word of sh that is only known when it runs",
		`$X`:               "a command whose name is only known when it runs",
		`cat *.txt`:        "the files that *.txt matches",
		`cat > $X`:         "a redirection of cat that is only known when it runs",
		`ls sub`:           "what is in the directory /workspace/sub",
		`make`:             "what the files of the project that make works on name in turn",
		`cd sub; sh t.py`:  "t.py, of which it is not known where it leads",
		`cd sub; ./t.py`:   "./t.py, since the script changes its directory",
		`sh "unclosed`:     "what the part of the script names that could not be read",
		`python3 sub/t.py`: "the modules that the program of python3 imports",
		`cd $X; cat a/..`:  "of which it is not known where it leads",
	} {
		if _, unfrozen := freeze(t, dir, script); !slices.ContainsFunc(unfrozen, func(text string) bool { return strings.Contains(text, want) }) {
			t.Errorf("%s: got %q, want %q", script, unfrozen, want)
		}
	}
	var many []string
	for i := range 200 {
		name := "f" + strings.Repeat("x", i)
		write(t, dir, name, "1")
		many = append(many, name)
	}
	files, unfrozen := freeze(t, dir, "cat "+strings.Join(many, " "))
	if len(files) != 128 || !slices.ContainsFunc(unfrozen, func(text string) bool { return strings.Contains(text, "files after the first 128") }) {
		t.Errorf("of 200 files %d are frozen, and %q", len(files), unfrozen)
	}
}

func TestChangesOfFrozenFiles(t *testing.T) {
	for name, tc := range map[string]struct {
		script string
		change func(t *testing.T, dir string)
		want   string
	}{
		"nothing":             {`sh s.sh`, func(*testing.T, string) {}, ""},
		"another file":        {`sh s.sh`, func(t *testing.T, dir string) { write(t, dir, "data.txt", "x") }, ""},
		"the same again":      {`sh s.sh`, func(t *testing.T, dir string) { write(t, dir, "s.sh", "echo hi") }, ""},
		"the content":         {`sh s.sh`, func(t *testing.T, dir string) { write(t, dir, "s.sh", "echo ho") }, "has another content"},
		"longer content":      {`sh s.sh`, func(t *testing.T, dir string) { write(t, dir, "s.sh", "echo hi; rm x") }, "has another content"},
		"a link for the file": {`sh s.sh`, func(t *testing.T, dir string) { link(t, dir, "s.sh", "data.txt") }, "leads elsewhere"},
		"a link to the same":  {`sh s.sh`, func(t *testing.T, dir string) { write(t, dir, "copy", "echo hi"); link(t, dir, "s.sh", "copy") }, "leads elsewhere"},
		"the link's target":   {`sh l.sh`, func(t *testing.T, dir string) { link(t, dir, "l.sh", "data.txt") }, "leads elsewhere"},
		"a link outside":      {`sh s.sh`, func(t *testing.T, dir string) { link(t, dir, "s.sh", "/etc/passwd") }, "leads elsewhere"},
		"the directory":       {`python3 sub/t.py`, func(t *testing.T, dir string) { link(t, dir, "sub", "/tmp") }, "leads elsewhere"},
		"gone":                {`sh s.sh`, func(t *testing.T, dir string) { link(t, dir, "x", "y"); must(t, os.Remove(filepath.Join(dir, "s.sh"))) }, "is gone"},
		"a directory": {`sh s.sh`, func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, "s.sh")))
			must(t, os.Mkdir(filepath.Join(dir, "s.sh"), 0o700))
		}, "no file that can be read"},
		"a file that comes first": {`make`, func(t *testing.T, dir string) { write(t, dir, "GNUmakefile", "all: ; rm x") }, "GNUmakefile was not there"},
	} {
		dir := project(t)
		files, _ := freeze(t, dir, tc.script)
		tc.change(t, dir)
		changed, err := approval.Changed(files, dir)
		got := strings.Join(changed, "; ")
		if err != nil || (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, tc.want)
		}
	}
	if changed, err := approval.Changed([]approval.File{{Path: "/workspace/a", Real: "/workspace/a", SHA256: "00"}}, ""); err != nil || len(changed) != 1 {
		t.Errorf("a workspace that is gone: got %q, %v", changed, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// freezeCall is freeze of a whole call.
func freezeCall(t *testing.T, dir string, in *policy.Input) []approval.File {
	t.Helper()
	root, err := facts.OpenOSRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	none := int64(0)
	in.Call.StdinBytes = &none
	in.Call.Shell = facts.AnalyzeShell(string(in.Call.Args), facts.Options{Root: root, Cwd: in.Call.Cwd})
	if err := root.Close(); err != nil {
		t.Fatal(err)
	}
	files, _, err := approval.Freeze(in, dir)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestWhatIsExchangedBetweenApprovalAndRun changes what a call reaches beside the files
// that its words name.
func TestWhatIsExchangedBetweenApprovalAndRun(t *testing.T) {
	for _, tt := range []struct {
		name   string
		call   policy.CallInput
		change func(t *testing.T, dir string)
		want   string
	}{
		{
			"the working directory is a link",
			policy.CallInput{Args: []byte("rm -rf build"), Cwd: "/workspace/here"},
			func(t *testing.T, dir string) { link(t, dir, "here", "b") }, "/workspace/here leads elsewhere",
		},
		{
			"a directory becomes a link",
			policy.CallInput{Args: []byte("rm -rf a/build/"), Cwd: "/workspace"},
			func(t *testing.T, dir string) { link(t, dir, "a", "b") }, "/workspace/a/build leads elsewhere",
		},
		{
			"the directory of a new file",
			policy.CallInput{Args: []byte("echo x > a/new"), Cwd: "/workspace"},
			func(t *testing.T, dir string) { link(t, dir, "a", "b") }, "/workspace/a leads elsewhere",
		},
		{
			"what a variable names",
			policy.CallInput{Args: []byte("true"), Cwd: "/workspace", Env: map[string]string{"LD_PRELOAD": "/workspace/p.so"}},
			func(t *testing.T, dir string) { write(t, dir, "p.so", "evil") }, "/workspace/p.so has another content",
		},
		{
			"where PATH leads",
			policy.CallInput{Args: []byte("true"), Cwd: "/workspace", Env: map[string]string{"PATH": "/usr/bin:/workspace/a"}},
			func(t *testing.T, dir string) { link(t, dir, "a", "b") }, "/workspace/a leads elsewhere",
		},
		{
			"a hook of git",
			policy.CallInput{Args: []byte("git commit -m x"), Cwd: "/workspace/a"},
			func(t *testing.T, dir string) { write(t, dir, ".git/hooks/pre-commit", "evil") }, "/workspace/.git/hooks/pre-commit was not there",
		},
		{
			"a setting of git",
			policy.CallInput{Args: []byte("git push"), Cwd: "/workspace"},
			func(t *testing.T, dir string) { write(t, dir, ".git/config", "[core] sshCommand = evil") }, "/workspace/.git/config has another content",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "a/build/f", "a")
			write(t, dir, "b/build/f", "b")
			write(t, dir, "p.so", "good")
			write(t, dir, ".git/config", "")
			link(t, dir, "here", "a")
			in := policy.Input{Call: tt.call}
			files := freezeCall(t, dir, &in)
			if changed, err := approval.Changed(files, dir); err != nil || len(changed) > 0 {
				t.Fatalf("nothing has changed, got %q, %v", changed, err)
			}
			tt.change(t, dir)
			changed, err := approval.Changed(files, dir)
			if err != nil || !slices.Contains(changed, tt.want) {
				t.Errorf("got %q, %v, want %q", changed, err, tt.want)
			}
		})
	}
}
