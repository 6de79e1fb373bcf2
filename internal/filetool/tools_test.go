package filetool

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func equal(t *testing.T, what, want, got string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestReadFile(t *testing.T) {
	b := newBox(t)
	b.write("f", "one\ntwo\n\nfour")
	b.write("empty", "")
	b.write("latin", "caf\xe9\n")
	b.write("bin", "a\x00b")
	b.link("f", "link")
	equal(t, "all", "     1\tone\n     2\ttwo\n     3\t\n     4\tfour\n", b.ok("read_file", m{"path": "f"}))
	equal(t, "absolute", b.ok("read_file", m{"path": "f"}), b.ok("read_file", m{"path": "/workspace//f"}))
	equal(t, "through a link inside", b.ok("read_file", m{"path": "f"}), b.ok("read_file", m{"path": "link"}))
	equal(t, "part", "     2\ttwo\n     3\t\n[there is more: lines 2 to 3 are shown of a file of 13 bytes; go on with offset 4]\n",
		b.ok("read_file", m{"path": "f", "offset": 2, "limit": 2}))
	equal(t, "last lines", "     3\t\n     4\tfour\n", b.ok("read_file", m{"path": "f", "offset": 3, "limit": 2}))
	equal(t, "empty", "[the file is empty]\n", b.ok("read_file", m{"path": "empty"}))
	equal(t, "latin-1", "     1\tcaf\uFFFD\n[the file is not valid UTF-8: what could not be read is shown as \uFFFD]\n", b.ok("read_file", m{"path": "latin"}))
	if got := b.fails(codeUsage, "read_file", m{"path": "f", "offset": 9}); !strings.Contains(got, "the file has 4 lines") {
		t.Errorf("beyond the end: %s", got)
	}
	b.fails(codeBinary, "read_file", m{"path": "bin"})
	b.fails(codeIsDir, "read_file", m{"path": "."})
	b.fails(codeNotFound, "read_file", m{"path": "nosuch"})
	b.fails(codeNotDir, "read_file", m{"path": "f/x"})
}

func TestWriteFile(t *testing.T) {
	b := newBox(t)
	equal(t, "new", "created a/b/f: 8 bytes, 2 lines\n", b.ok("write_file", m{"path": "a/b/f", "content": "one\ntwo\n"}))
	equal(t, "content", "one\ntwo\n", b.read("a/b/f"))
	if err := os.Chmod(b.path("a/b/f"), 0o751); err != nil {
		t.Fatal(err)
	}
	equal(t, "replace", "replaced a/b/f: 0 bytes, 0 lines\n", b.ok("write_file", m{"path": "a/b/f", "content": ""}))
	if info, err := os.Stat(b.path("a/b/f")); err != nil || info.Mode().Perm() != 0o751 {
		t.Errorf("mode: %v %v, want 0751", info.Mode(), err)
	}
	b.link("a/b/f", "link")
	b.link("../b/f", "a/b/link2")
	b.ok("write_file", m{"path": "link", "content": "through"})
	b.ok("write_file", m{"path": "a/b/link2", "content": "through2"})
	equal(t, "through links", "through2", b.read("a/b/f"))
	if info, err := os.Lstat(b.path("link")); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v %v", info.Mode(), err)
	}
	b.link("new-target", "dangling")
	b.ok("write_file", m{"path": "dangling", "content": "x"})
	equal(t, "dangling link", "x", b.read("new-target"))
	b.link("loop", "loop")
	b.fails(codeSymlink, "write_file", m{"path": "loop", "content": "x"})
	b.fails(codeIsDir, "write_file", m{"path": "a", "content": "x"})
	b.fails(codeUsage, "write_file", m{"path": "new/", "content": "x"})
	b.fails(codeNotDir, "write_file", m{"path": "new-target/x", "content": "x"})
	if err := os.Chmod(b.path("new-target"), 0o400); err != nil {
		t.Fatal(err)
	}
	b.fails(codeDenied, "write_file", m{"path": "new-target", "content": "y"})
	entries, err := os.ReadDir(b.path("a/b"))
	if err != nil || len(entries) != 2 {
		t.Errorf("something temporary is left: %v %v", entries, err)
	}
}

func TestEditFile(t *testing.T) {
	b := newBox(t)
	reset := func() { b.write("f", "func a() {\n\treturn 1\n}\nfunc b() {\n\treturn 1\n}\n") }
	reset()
	equal(t, "unique", "edited f: replaced 1 place, the first at line 4\n",
		b.ok("edit_file", m{"path": "f", "old_string": "func b() {\n\treturn 1", "new_string": "func b() {\n\treturn 2"}))
	equal(t, "content", "func a() {\n\treturn 1\n}\nfunc b() {\n\treturn 2\n}\n", b.read("f"))
	reset()
	equal(t, "all", "edited f: replaced 2 places, the first at line 2\n",
		b.ok("edit_file", m{"path": "f", "old_string": "return 1", "new_string": "", "replace_all": true}))
	equal(t, "content", "func a() {\n\t\n}\nfunc b() {\n\t\n}\n", b.read("f"))
	reset()
	for _, tt := range []struct{ name, old, code, hint string }{
		{"several", "return 1", codeAmbiguous, `2 times in "f" (at lines 2, 5)`},
		{"indentation", "    return 1", codeNoMatch, "line 2 is the same but for white space"},
		{"near", "func c() {", codeNoMatch, `nearest is line 1: "func a() {"`},
		{"line numbers", "     1\tfunc a() {\n     2\t\treturn 1", codeNoMatch, "leave out the line numbers"},
		{"nothing like it", "zzz", codeNoMatch, "read the file again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := b.fails(tt.code, "edit_file", m{"path": "f", "old_string": tt.old, "new_string": "x"}); !strings.Contains(got, tt.hint) {
				t.Errorf("got %s, want %q in it", got, tt.hint)
			}
		})
	}
	b.write("crlf", "a\r\nb\r\n")
	if got := b.fails(codeNoMatch, "edit_file", m{"path": "crlf", "old_string": "a\nb", "new_string": "x"}); !strings.Contains(got, "CRLF") {
		t.Errorf("CRLF: %s", got)
	}
	b.ok("edit_file", m{"path": "crlf", "old_string": "b", "new_string": "c"})
	equal(t, "CRLF is kept", "a\r\nc\r\n", b.read("crlf"))
	b.fails(codeNotFound, "edit_file", m{"path": "nosuch", "old_string": "a", "new_string": "b"})
	b.fails(codeUsage, "edit_file", m{"path": "f", "old_string": "", "new_string": "b"})
}

func TestListDir(t *testing.T) {
	b := newBox(t)
	equal(t, "empty", "[the directory is empty]\n", b.ok("list_dir", m{}))
	b.write("b.txt", "12345")
	b.write(".hidden", "")
	b.write("dir/x", "")
	b.write("new\nline", "")
	b.link("b.txt", "link")
	equal(t, "list", strings.Join([]string{
		"file             0  .hidden",
		"file             5  b.txt",
		"dir              -  dir/",
		"link             -  link -> b.txt",
		`file             0  "new\nline"`,
		"",
	}, "\n"), b.ok("list_dir", m{"path": "/workspace"}))
	b.fails(codeNotDir, "list_dir", m{"path": "b.txt"})
	b.fails(codeNotFound, "list_dir", m{"path": "nosuch"})
	for i := range maxListed + 5 {
		b.write(fmt.Sprintf("many/%05d", i), "")
	}
	out := b.ok("list_dir", m{"path": "many"})
	if n := strings.Count(out, "\n"); n != maxListed+1 || !strings.HasSuffix(out, "[there is more: 1000 of 1005 entries are shown; use glob]\n") {
		t.Errorf("%d lines, end %q", n, out[len(out)-80:])
	}
}

func tree(b *box) {
	for _, f := range []string{"main.go", "main_test.go", "a/x.go", "a/b/y.go", "a/b/z.ts", ".git/config.go", ".github/w.yml"} {
		b.write(f, "package x\n")
	}
	b.link("a", "linked")
	b.link("main.go", "link.go")
}

func TestGlob(t *testing.T) {
	b := newBox(t)
	tree(b)
	for _, tt := range []struct {
		pattern, path string
		want          string
	}{
		{"**/*.go", ".", "a/b/y.go a/x.go link.go main.go main_test.go"},
		{"*.go", ".", "link.go main.go main_test.go"},
		{"a/**/*.{go,ts}", ".", "a/b/y.go a/b/z.ts a/x.go"},
		{"**/*.go", "a", "a/b/y.go a/x.go"},
		{"*.go", "/workspace/a", "/workspace/a/x.go"},
		{"./main.go", ".", "main.go"},
		{".github/*", ".", ".github/w.yml"},
		{"m?in.go", ".", "main.go"},
	} {
		got := strings.Join(strings.Fields(b.ok("glob", m{"pattern": tt.pattern, "path": tt.path})), " ")
		equal(t, tt.pattern+" in "+tt.path, tt.want, got)
	}
	equal(t, "nothing", "[no files found]\n", b.ok("glob", m{"pattern": "*.rs"}))
	b.fails(codeNotDir, "glob", m{"pattern": "*", "path": "main.go"})
	b.fails(codeUsage, "glob", m{"pattern": "../*"})
	b.fails(codeUsage, "glob", m{"pattern": "/etc/*"})
	b.fails(codeUsage, "glob", m{"pattern": "[a"})
	for i := range maxGlobbed + 1 {
		b.write(fmt.Sprintf("many/%05d", i), "")
	}
	out := b.ok("glob", m{"pattern": "many/*"})
	if n := strings.Count(out, "\n"); n != maxGlobbed+1 || !strings.Contains(out, "[there is more: the first 1000 files are shown") {
		t.Errorf("%d lines", n)
	}
}

func TestGrep(t *testing.T) {
	b := newBox(t)
	b.write("a.go", "one\nTwo match\nthree\nfour\nfive\nsix match\nseven\n")
	b.write("sub/b.txt", "match\n")
	b.write("bin", "match\x00")
	b.write(".git/c", "match\n")
	b.link("a.go", "link.go")
	for _, tt := range []struct {
		name string
		args m
		want string
	}{
		{"files", m{"pattern": "match"}, "a.go\nsub/b.txt\n"},
		{"content", m{"pattern": "match", "output_mode": "content"}, "a.go:2:Two match\na.go:6:six match\nsub/b.txt:1:match\n"},
		{"count", m{"pattern": "match", "output_mode": "count"}, "a.go:2\nsub/b.txt:1\n"},
		{"case", m{"pattern": "two", "-i": true}, "a.go\n"},
		{"no match", m{"pattern": "two"}, "[no files with matches found]\n"},
		{"glob on names", m{"pattern": "match", "glob": "*.txt"}, "sub/b.txt\n"},
		{"glob on paths", m{"pattern": "match", "glob": "sub/*"}, "sub/b.txt\n"},
		{"one file", m{"pattern": "^m", "path": "sub/b.txt", "output_mode": "content"}, "sub/b.txt:1:match\n"},
		{"directory", m{"pattern": "m", "path": "sub"}, "sub/b.txt\n"},
		{"after", m{"pattern": "one", "output_mode": "content", "-A": 1}, "a.go:1:one\na.go-2-Two match\n"},
		{
			"context",
			m{"pattern": "one|five", "output_mode": "content", "-C": 1},
			"a.go:1:one\na.go-2-Two match\n--\na.go-4-four\na.go:5:five\na.go-6-six match\n",
		},
		{
			"context that meets",
			m{"pattern": "one|four", "output_mode": "content", "-B": 2},
			"a.go:1:one\na.go-2-Two match\na.go-3-three\na.go:4:four\n",
		},
		{
			"limit",
			m{"pattern": "e", "output_mode": "content", "head_limit": 2, "path": "a.go"},
			"a.go:1:one\na.go:3:three\n[there is more: the first 2 matches are shown; narrow the search]\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) { equal(t, "result", tt.want, b.ok("grep", tt.args)) })
	}
	if got := b.fails(codeUsage, "grep", m{"pattern": "a(?=b)"}); !strings.Contains(got, "RE2") {
		t.Errorf("look-ahead: %s", got)
	}
	b.fails(codeUsage, "grep", m{"pattern": "x", "output_mode": "json"})
	b.fails(codeNotFound, "grep", m{"pattern": "x", "path": "nosuch"})
	b.write("evil", strings.Repeat("a", 60_000)+"\n")
	b.ok("grep", m{"pattern": "(a+)+$", "path": "evil"}) // linear in the length of the line
}

func TestUnreadableIsToldAndDoesNotEndASearch(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can read everything")
	}
	b := newBox(t)
	b.write("a", "match\n")
	b.write("no", "match\n")
	if err := os.Chmod(b.path("no"), 0); err != nil {
		t.Fatal(err)
	}
	equal(t, "result", "a\n[1 files or directories could not be searched]\n", b.ok("grep", m{"pattern": "match"}))
}
