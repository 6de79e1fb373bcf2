package filetool

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// every calls each tool on a path.
func every(path string) map[string]m {
	return map[string]m{
		"read_file":  {"path": path},
		"write_file": {"path": path, "content": "overwritten"},
		"edit_file":  {"path": path, "old_string": "canary", "new_string": "x"},
		"list_dir":   {"path": path},
		"glob":       {"path": path, "pattern": "**"},
		"grep":       {"path": path, "pattern": "canary", "output_mode": "content"},
	}
}

func TestNoToolLeavesTheWorkspace(t *testing.T) {
	b := newBox(t)
	b.write("in/file", "x\n")
	b.link("/etc/passwd", "abs")
	b.link(b.canary, "canary")
	b.link("../outside/canary", "rel")
	b.link("../outside", "dir")
	b.link("in/../../outside", "dotdot")
	b.link("rel", "chain")
	b.link("/proc/self/root", "magic")
	for path, code := range map[string]string{
		"abs": codeSymlink, "canary": codeSymlink, "rel": codeSymlink, "chain": codeSymlink,
		"dir/canary": codeSymlink, "dotdot/canary": codeSymlink, "magic/etc/passwd": codeSymlink,
		"dir/new": codeSymlink, "dir/new/deep": codeSymlink,
		"../outside/canary":                 codeOutside,
		"in/../../outside/canary":           codeOutside,
		"/workspace/../outside/canary":      codeOutside,
		"/workspace-evil/file":              codeOutside,
		"/etc/passwd":                       codeOutside,
		"/":                                 codeOutside,
		"//etc/passwd":                      codeOutside,
		"..":                                codeOutside,
		"/proc/self/root/etc/passwd":        codeOutside,
		"/workspace/../workspace-evil/file": codeOutside,
	} {
		for tool, args := range every(path) {
			b.fails(code, tool, args)
		}
	}
	// What is a path to some is a plain name to us.
	b.ok("write_file", m{"path": "..%2foutside%2fcanary", "content": "inside"})
	if got := b.read("..%2foutside%2fcanary"); got != "inside" {
		t.Errorf("percent-encoded name: %q", got)
	}
}

func TestBadPathsAreRefused(t *testing.T) {
	b := newBox(t)
	for _, path := range []string{"", "a\x00b", strings.Repeat("x", 5000)} {
		for tool, args := range every(path) {
			b.fails(codeUsage, tool, args)
		}
	}
	b.fails(codeUsage, "read_file", m{"path": strings.Repeat("x", 300)}) // one element is too long for the kernel
	var out, errs bytes.Buffer
	if code := run("read_file", b.dir, workspacePath, strings.NewReader("{\"path\":\"\xff\"}"), &out, &errs); code != exitUsage || !strings.Contains(errs.String(), "UTF-8") {
		t.Errorf("invalid UTF-8: exit %d, %s", code, &errs)
	}
}

func TestIrregularFilesNeverBlock(t *testing.T) {
	b := newBox(t)
	if err := unix.Mkfifo(b.path("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Close(sock); err != nil {
			t.Error(err)
		}
	}()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel(here, b.path("sock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(sock, &unix.SockaddrUnix{Name: rel}); err != nil {
		t.Skipf("bind a socket in the test directory: %v", err)
	}
	b.link("/dev/zero", "zero")
	b.link("fifo", "tofifo")
	for _, path := range []string{"fifo", "tofifo", "sock"} {
		for _, tool := range []string{"read_file", "write_file", "edit_file", "grep"} {
			b.fails(codeIrregular, tool, every(path)[tool])
		}
		if code, out, _ := b.run("glob", every(path)["glob"]); code != exitError {
			t.Errorf("glob in %s: exit %d, %s", path, code, out)
		}
	}
	for tool, args := range every("zero") {
		b.fails(codeSymlink, tool, args)
	}
	if out := b.ok("grep", m{"pattern": "x"}); out != "[no files with matches found]\n" {
		t.Errorf("grep over them: %q", out)
	}
}

func TestHugeFilesAreBounded(t *testing.T) {
	b := newBox(t)
	b.write("sparse", "text\n")
	if err := os.Truncate(b.path("sparse"), 1<<40); err != nil {
		t.Skipf("sparse file: %v", err)
	}
	b.fails(codeBinary, "read_file", m{"path": "sparse"})
	b.fails(codeTooLarge, "edit_file", m{"path": "sparse", "old_string": "text", "new_string": "x"})
	b.ok("grep", m{"pattern": "text", "path": "sparse"})

	long := strings.Repeat("x", 3<<20)
	b.write("long", "a\n"+long+"\nb\n")
	out := b.ok("read_file", m{"path": "long"})
	if len(out) > 3000 || !strings.Contains(out, "… [line cut]") || !strings.Contains(out, "     3\tb\n") {
		t.Errorf("a long line: %d bytes, ends %q", len(out), out[max(0, len(out)-40):])
	}
	b.write("many", strings.Repeat(strings.Repeat("y", 100)+"\n", 50_000))
	out = b.ok("read_file", m{"path": "many", "limit": 20000})
	if len(out) > maxReadOutput+4096 || !strings.Contains(out, "go on with offset") {
		t.Errorf("many lines: %d bytes", len(out))
	}
	if out := b.ok("grep", m{"path": "many", "pattern": "y", "output_mode": "content", "head_limit": 10000}); len(out) > maxGrepOutput+4096 {
		t.Errorf("grep: %d bytes", len(out))
	}
}

func TestWritingBreaksHardLinks(t *testing.T) {
	b := newBox(t)
	if err := os.Link(b.canary, b.path("hard")); err != nil {
		t.Skipf("hard link: %v", err)
	}
	b.ok("write_file", m{"path": "hard", "content": "new"})
	b.write("x", "")
	if err := os.Remove(b.path("hard")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(b.canary, b.path("hard")); err != nil {
		t.Fatal(err)
	}
	b.ok("edit_file", m{"path": "hard", "old_string": "canary", "new_string": "new"})
	// newBox's cleanup looks at the canary.
}

// A directory that turns into a symbolic link out of the workspace and back, as
// fast as it can, while files are written below it.
func TestRaceOfDirectoryAndLinkWritesNothingOutside(t *testing.T) {
	b := newBox(t)
	if err := os.Mkdir(b.path("real"), 0o700); err != nil {
		t.Fatal(err)
	}
	b.link("../outside", "evil")
	if err := os.Mkdir(b.path("d"), 0o700); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			if err := unix.Renameat2(unix.AT_FDCWD, b.path("d"), unix.AT_FDCWD, b.path("evil"), unix.RENAME_EXCHANGE); err != nil {
				t.Errorf("exchange: %v", err)
				return
			}
		}
	})
	wrote, refused := 0, 0
	for range 3000 {
		code, _, errs := b.run("write_file", m{"path": "d/canary", "content": "overwritten"})
		switch {
		case code == 0:
			wrote++
		case strings.Contains(errs, codeSymlink) || strings.Contains(errs, codeNotFound) || strings.Contains(errs, codeChanged) ||
			strings.Contains(errs, codeNotDir):
			refused++
		default:
			t.Fatalf("exit %d: %s", code, errs)
		}
		if code, out, _ := b.run("read_file", m{"path": "d/canary"}); code == 0 && strings.Contains(out, "canary content") {
			t.Fatal("read what is outside")
		}
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%d written inside, %d refused", wrote, refused)
	if wrote == 0 || refused == 0 {
		t.Skip("the race was not met on this machine")
	}
}

func TestArgumentsAreChecked(t *testing.T) {
	b := newBox(t)
	var out, errs bytes.Buffer
	for tool, args := range map[string]string{
		"read_file": `{"path":1}`, "write_file": `{"path":"x"}`, "edit_file": `{"path":"x","old_string":"a","new_string":"a"}`,
		"list_dir": `[]`, "glob": `{"pattern":"[","path":"."}`, "grep": `{"pattern":"("}`, "nosuch": `{}`,
	} {
		errs.Reset()
		if code := run(tool, b.dir, workspacePath, strings.NewReader(args), &out, &errs); code != exitUsage || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%s %s: exit %d, %q; want 2 and one line", tool, args, code, &errs)
		}
	}
	for _, pattern := range []string{"../*", "a/../../b", "/etc/*", "{..,x}/*"} {
		code, out, errs := b.run("glob", m{"pattern": pattern})
		if code == 0 && out != "[no files found]\n" {
			t.Errorf("glob %s: %s%s", pattern, out, errs)
		}
	}
}

func TestOutsideCwd(t *testing.T) {
	b := newBox(t)
	b.write("f", "x\n")
	if code, _, errs := b.runIn("/tmp", "read_file", m{"path": "f"}); code != exitError || !strings.Contains(errs, codeOutside) {
		t.Errorf("relative path outside: exit %d, %s", code, errs)
	}
	if code, out, _ := b.runIn("/tmp", "read_file", m{"path": "/workspace/f"}); code != 0 || out != "     1\tx\n" {
		t.Errorf("absolute path: exit %d, %q", code, out)
	}
	b.write("sub/g", "y\n")
	if code, out, _ := b.runIn("/workspace/sub", "read_file", m{"path": "g"}); code != 0 || out != "     1\ty\n" {
		t.Errorf("in a sub-directory: exit %d, %q", code, out)
	}
	if code, out, _ := b.runIn("/workspace/sub", "read_file", m{"path": "../f"}); code != 0 || out != "     1\tx\n" {
		t.Errorf("dots that stay inside: exit %d, %q", code, out)
	}
}

func TestReadOnlyAndFullFileSystemsAreToldApart(t *testing.T) {
	for err, code := range map[error]string{
		syscall.EROFS: codeReadOnly, syscall.ENOSPC: codeNoSpace, syscall.EDQUOT: codeNoSpace, syscall.EFBIG: codeNoSpace,
		syscall.EACCES: codeDenied, syscall.ELOOP: codeSymlink, syscall.EIO: codeIO,
	} {
		if got := explain("f", &os.PathError{Op: "open", Path: "/secret/host/path", Err: err}); !strings.HasPrefix(got.Error(), code+": ") || strings.Contains(got.Error(), "/secret") {
			t.Errorf("%v: got %v, want %s without the path on the machine", err, got, code)
		}
	}
}
