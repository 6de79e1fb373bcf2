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

// freezeAt is freeze in a directory of the workspace.
func freezeAt(t *testing.T, dir, cwd, script string) (files []approval.File, unfrozen []string) {
	t.Helper()
	root, err := facts.OpenOSRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	none := int64(0)
	in := policy.Input{Call: policy.CallInput{
		Tool: "bash", Cwd: cwd, StdinBytes: &none, Shell: facts.AnalyzeShell(script, facts.Options{Cwd: cwd, Root: root}),
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

// TestWhatAProgramFindsAround: what it would obey instead of what was frozen must not
// come, and what it obeys above the working directory stays.
func TestWhatAProgramFindsAround(t *testing.T) {
	for name, tc := range map[string]struct {
		script string
		change func(t *testing.T, dir string)
		want   string
	}{
		"a repository in a nearer directory": {"git commit -m x", func(t *testing.T, dir string) {
			write(t, dir, "sub/deep/.git/config", "[core]\n\tfsmonitor = ./evil")
		}, "/workspace/sub/deep/.git was not there"},
		"a directory becomes a repository": {"git status", func(t *testing.T, dir string) {
			write(t, dir, "sub/HEAD", "ref: refs/heads/main")
		}, "/workspace/sub/HEAD was not there"},
		"a repository behind one that is none": {"git commit -m x", func(t *testing.T, dir string) {
			write(t, dir, ".git/hooks/pre-commit", "evil")
		}, "/workspace/.git/hooks/pre-commit was not there"},
		"a file that names another repository": {"git status", func(t *testing.T, dir string) {
			write(t, dir, "sub/.git", "gitdir: /workspace/evil")
		}, "/workspace/sub/.git was not there"},
		"the project above": {"npm test", func(t *testing.T, dir string) {
			write(t, dir, "package.json", `{"scripts":{"test":"evil"}}`)
		}, "/workspace/package.json has another content"},
		"a nearer project": {"npm test", func(t *testing.T, dir string) {
			write(t, dir, "sub/package.json", `{"scripts":{"test":"evil"}}`)
		}, "/workspace/sub/package.json was not there"},
		"settings of cargo above": {"cargo build", func(t *testing.T, dir string) {
			write(t, dir, ".cargo/config.toml", "[build]\nrustc-wrapper = 'evil'")
		}, "/workspace/.cargo/config.toml was not there"},
		"a module in the place of one of the system": {"python3 -B -m build --wheel", func(t *testing.T, dir string) {
			write(t, dir, "sub/deep/build.py", "evil")
		}, "/workspace/sub/deep/build.py was not there"},
		"a module of a package": {"python3 -Bmpkg.tool", func(t *testing.T, dir string) {
			write(t, dir, "sub/deep/pkg/tool.py", "evil")
		}, "/workspace/sub/deep/pkg/tool.py has another content"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, ".git/config", "[core]\n")
			write(t, dir, "package.json", `{"scripts":{"test":"ok"}}`)
			write(t, dir, "sub/deep/pkg/tool.py", "print(1)")
			if strings.Contains(name, "that is none") {
				if err := os.MkdirAll(filepath.Join(dir, "sub/deep/.git"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			files, _ := freezeAt(t, dir, "/workspace/sub/deep", tc.script)
			if changed, err := approval.Changed(files, dir); err != nil || len(changed) > 0 {
				t.Fatalf("as it was: %q, %v", changed, err)
			}
			tc.change(t, dir)
			changed, err := approval.Changed(files, dir)
			if err != nil || !slices.Contains(changed, tc.want) {
				t.Errorf("got %q, %v, want %q", changed, err, tc.want)
			}
		})
	}
}

// TestWhatCouldNotBeFrozenIsLeftOut: a file that is too large to be frozen, or is one too
// many, is told from things that never are frozen.
func TestWhatCouldNotBeFrozenIsLeftOut(t *testing.T) {
	dir := project(t)
	if _, unfrozen := freeze(t, dir, "make; ls sub; cat *.txt; sh $X"); len(unfrozen) < 4 || approval.LeftOut(unfrozen) != "" {
		t.Errorf("of %q %q was left out", unfrozen, approval.LeftOut(unfrozen))
	}
	write(t, dir, "large", "")
	if err := os.Truncate(filepath.Join(dir, "large"), 64<<20-1); err != nil {
		t.Fatal(err)
	}
	if _, unfrozen := freeze(t, dir, "cat large; make"); approval.LeftOut(unfrozen) != "/workspace/Makefile, which is too large" {
		t.Errorf("of %q %q was left out", unfrozen, approval.LeftOut(unfrozen))
	}
	script := "cat"
	for i := range 128 {
		name := "f" + strings.Repeat("x", i)
		write(t, dir, name, "1")
		script += " " + name
	}
	if _, unfrozen := freeze(t, dir, script+"; make"); approval.LeftOut(unfrozen) == "" {
		t.Errorf("nothing was left out of %q", unfrozen)
	}
}
