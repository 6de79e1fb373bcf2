package facts

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// verdict folds the pointers of path facts into something that can be written down.
func verdict(resolved string, in *bool) string {
	switch {
	case in == nil:
		return "unknown " + resolved
	case *in:
		return "inside " + resolved
	}
	return "outside " + resolved
}

var pathCases = map[string]string{
	"README.md":                  "inside /workspace/README.md",
	".":                          "inside /workspace",
	"":                           "unknown ",
	"missing/x":                  "inside /workspace/missing/x",
	"missing/../link/passwd":     "outside ",
	"missing/../README.md":       "inside /workspace/README.md",
	"missing/../../x":            "outside ",
	"in/a.go":                    "inside /workspace/src/a.go",
	"abs/../README.md":           "inside /workspace/README.md",
	"in/../README.md":            "inside /workspace/README.md",
	"src/../../workspace/README": "inside /workspace/README",
	"sub/up/README.md":           "inside /workspace/README.md",
	"/workspace2/x":              "outside ",
	"/workspace/../etc/passwd":   "outside ",
	"../x":                       "outside ",
	"/etc/passwd":                "outside ",
	"/":                          "outside /",
	"..":                         "outside /",
	"/etc/../workspace/x":        "unknown ",
	"link":                       "outside ",
	"link/passwd":                "outside ",
	"link/../workspace/x":        "unknown ",
	"rel":                        "outside ",
	"loop":                       "unknown ",
	"loop/x":                     "unknown ",
	"a\x00b":                     "unknown ",
}

func TestAnalyzePath(t *testing.T) {
	for name, want := range pathCases {
		f := AnalyzePath("read", name, Options{Root: testFS})
		if got := verdict(f.Real, f.InWorkspace); got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
}

// TestAnalyzePathOnDisk holds the lookups in a real directory against those in memory.
func TestAnalyzePathOnDisk(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"src", "sub"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"README.md", "src/a.go", "-dash"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"link": "/etc", "rel": "../outside", "in": "src", "abs": "/workspace/src", "loop": "loop", "sub/up": "..",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := OpenOSRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := root.Close(); err != nil {
			t.Error(err)
		}
		f := AnalyzePath("read", "README.md", Options{Root: root})
		if f.InWorkspace != nil {
			t.Error("a closed root still knows something")
		}
	}()
	for name := range pathCases {
		mem := AnalyzePath("read", name, Options{Root: testFS})
		disk := AnalyzePath("read", name, Options{Root: root})
		if diff := cmp.Diff(mem, disk); diff != "" {
			t.Errorf("%q: -memory +disk:\n%s", name, diff)
		}
	}
	script := "cat *.md R* src/*.go l* -* s*/a.go"
	if diff := cmp.Diff(globs(testFS, script), globs(root, script)); diff != "" {
		t.Errorf("globs: -memory +disk:\n%s", diff)
	}
}

func globs(root FS, script string) []string {
	var out []string
	for _, g := range AnalyzeShell(script, Options{Root: root}).Commands[0].Args {
		out = append(out, *g.Value+" "+verdict(g.Real, g.InWorkspace))
	}
	return out
}

func TestGlobFacts(t *testing.T) {
	want := []string{
		"*.md inside ", "R* inside ", "src/*.go inside ", "l* unknown ", "-* unknown ", "s*/a.go unknown ", "* unknown ",
		"/etc/* outside ", "link/* outside ", "../* outside ", "none/* inside ", "[R]EADME.md inside ", "?dash unknown ",
		".* unknown ", ".g* inside ", "src/.* inside ", "src/* inside ",
	}
	got := globs(testFS, "cat *.md R* src/*.go l* -* s*/a.go * /etc/* link/* ../* none/* [R]EADME.md ?dash .* .g* src/.* src/*")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestGlobWithoutMatch(t *testing.T) {
	for pattern, want := range map[string]bool{
		"--include=*.go": true, "*.rs": true, "*.md": false, "none/*": true, "/etc/*": false, "l*": false, "-*": false,
		"s*/a.go": false,
	} {
		sh := AnalyzeShell("cat "+pattern, Options{Root: testFS})
		if got := sh.Commands[0].Args[0].NoMatch; got != want {
			t.Errorf("%s: got %v, want %v", pattern, got, want)
		}
	}
	if AnalyzeShell("cat *.rs", Options{}).Commands[0].Args[0].NoMatch {
		t.Error("without a root nothing is known about matches")
	}
}

func TestPathFactsNeedARoot(t *testing.T) {
	f := AnalyzePath("read", "README.md", Options{})
	if f.Abs != "/workspace/README.md" || f.InWorkspace != nil || f.Real != "" || f.Exists != nil {
		t.Errorf("got %+v, want the lexical path only", f)
	}
	if f := AnalyzePath("read", "x", Options{Cwd: "relative", Root: testFS}); f.Abs != "" || f.InWorkspace != nil {
		t.Errorf("a relative working directory: got %+v", f)
	}
}

func TestAnalyzePathKinds(t *testing.T) {
	for name, want := range map[string]string{"README.md": "file", "in": "dir", "missing": ""} {
		f := AnalyzePath("read", name, Options{Root: testFS})
		if f.Kind != want || f.Exists == nil || *f.Exists != (want != "") {
			t.Errorf("%s: kind %q exists %v, want %q", name, f.Kind, f.Exists, want)
		}
	}
}

// TestChangedDirectory tells how a relative path is known after a change of the working directory: only what holds
// whether or not the change succeeded.
func TestChangedDirectory(t *testing.T) {
	for script, want := range map[string]string{
		"cat README.md":                       "inside /workspace/README.md",
		"cd src; cat a.go":                    "inside ",
		"cd src && cat ../README.md":          "unknown ",
		"cd /etc; cat passwd":                 "unknown ",
		"cd link; cat passwd":                 "unknown ",
		"cd; cat x":                           "unknown ",
		"cd -; cat x":                         "unknown ",
		"cd $d; cat x":                        "unknown ",
		"cd sub; cat /workspace/x":            "inside /workspace/x",
		"CDPATH=/etc; cd src; cat x":          "unknown ",
		"pushd src; cat x":                    "unknown ",
		"$x; cat x":                           "unknown ",
		"eval \"$x\"; cat x":                  "unknown ",
		". f; cat x":                          "unknown ",
		"f() { cd /etc; }; f; cat x":          "unknown ",
		"while cat x; do cd ..; done; cat x":  "unknown ",
		"command cd /etc; cat x":              "unknown ",
		"eval cd /etc; cat x":                 "unknown ",
		"sh -c 'cd /etc'; cat x":              "inside /workspace/x",
		"env -C /etc true; cat x":             "inside /workspace/x",
		"builtin cd src; cat x":               "inside ",
		"trap 'cd /etc' DEBUG; cat x; cat x":  "unknown ",
		"git -C src log; cat x":               "inside /workspace/x",
		"shopt -s cdable_vars; cd src; cat x": "inside ",
	} {
		sh := AnalyzeShell(script, Options{Root: testFS})
		last := sh.Commands[len(sh.Commands)-1]
		g := last.Args[len(last.Args)-1]
		if got := verdict(g.Real, g.InWorkspace); got != want {
			t.Errorf("%s: got %s, want %s", script, got, want)
		}
	}
}

// TestGitReadsItsArgumentsWhereItIs: -C moves the arguments after it, not itself.
func TestGitReadsItsArgumentsWhereItIs(t *testing.T) {
	for script, want := range map[string]string{
		"git -C src log ../README.md":      "-C src log inside /workspace/README.md",
		"git -C src -C .. log README.md":   "-C src -C .. log inside /workspace/README.md",
		"git -C src log ../../x":           "-C src log outside ",
		"git -C link log x":                "-C link log unknown ",
		"git -C /etc log x":                "-C /etc log unknown ",
		"git -C $x log y":                  "-C ? log unknown ",
		"git --no-pager log README.md":     "--no-pager log inside /workspace/README.md",
		"git -C src -c a=b log /workspace": "-C src -c a=b log inside /workspace",
	} {
		c := AnalyzeShell(script, Options{Root: testFS}).Commands[0]
		got := ""
		for _, g := range c.Args[:len(c.Args)-1] {
			got += argText(g) + " "
		}
		last := c.Args[len(c.Args)-1]
		if got += verdict(last.Real, last.InWorkspace); got != want {
			t.Errorf("%s: got %q, want %q", script, got, want)
		}
	}
	c := AnalyzeShell("git -C ../x log", Options{Root: testFS}).Commands[0]
	if in := c.Args[1].InWorkspace; in == nil || *in {
		t.Error("the argument of -C itself is read where git starts")
	}
}

// TestOtherFilesAreNotLocated: what runs on another machine, in a container or another root has other files.
func TestOtherFilesAreNotLocated(t *testing.T) {
	for _, script := range []string{
		"ssh h cat /etc/x src/a.go", "docker exec c cat /etc/x src/a.go", "kubectl exec p -- cat /etc/x src/a.go", "chroot sub cat /etc/x src/a.go",
		"nsenter -t 1 -m cat /etc/x src/a.go", "ssh h 'sudo cat /etc/x src/a.go'",
	} {
		sh := AnalyzeShell(script, Options{Root: testFS})
		c := sh.Commands[len(sh.Commands)-1]
		if c.Name != "cat" || len(c.Args) != 2 || len(c.Files) != 2 {
			t.Fatalf("%s: %+v", script, c)
		}
		for i, g := range c.Args {
			if g.InWorkspace != nil || g.Path != "" || c.Files[i].InWorkspace != nil {
				t.Errorf("%s: %+v", script, g.PathFacts)
			}
		}
	}
}
