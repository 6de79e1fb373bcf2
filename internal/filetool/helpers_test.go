package filetool

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// box is a workspace with something outside that must not be reached.
type box struct {
	t      *testing.T
	dir    string // the workspace
	canary string // a file outside
}

func newBox(t *testing.T) *box {
	t.Helper()
	top := t.TempDir()
	b := &box{t: t, dir: filepath.Join(top, "workspace"), canary: filepath.Join(top, "outside", "canary")}
	for _, d := range []string{b.dir, filepath.Dir(b.canary), filepath.Join(top, "workspace-evil")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	b.write("../outside/canary", "canary content\n")
	b.write("../workspace-evil/file", "canary content\n")
	t.Cleanup(func() {
		if got := b.read("../outside/canary"); got != "canary content\n" {
			t.Errorf("the canary outside became %q", got)
		}
		entries, err := os.ReadDir(filepath.Dir(b.canary))
		if err != nil || len(entries) != 1 {
			t.Errorf("outside are %v (%v), want the canary alone", entries, err)
		}
	})
	return b
}

func (b *box) path(name string) string { return filepath.Join(b.dir, name) }

func (b *box) write(name, content string) {
	b.t.Helper()
	if err := os.MkdirAll(filepath.Dir(b.path(name)), 0o700); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(b.path(name), []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) read(name string) string {
	b.t.Helper()
	raw, err := os.ReadFile(b.path(name))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(raw)
}

func (b *box) link(target, name string) {
	b.t.Helper()
	if err := os.Symlink(target, b.path(name)); err != nil {
		b.t.Fatal(err)
	}
}

// run runs a tool in the workspace's top directory.
func (b *box) run(tool string, args map[string]any) (code int, stdout, stderr string) {
	b.t.Helper()
	return b.runIn(workspacePath, tool, args)
}

func (b *box) runIn(cwd, tool string, args map[string]any) (code int, stdout, stderr string) {
	b.t.Helper()
	raw, err := json.Marshal(args)
	if err != nil {
		b.t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code = run(tool, b.dir, cwd, bytes.NewReader(raw), &out, &errs)
	return code, out.String(), errs.String()
}

// ok runs a tool that must succeed and returns its result.
func (b *box) ok(tool string, args map[string]any) string {
	b.t.Helper()
	code, out, errs := b.run(tool, args)
	if code != 0 || errs != "" {
		b.t.Fatalf("%s %v: exit %d, %s", tool, args, code, errs)
	}
	return out
}

// fails runs a tool that must fail with the code, in one line, and returns it.
func (b *box) fails(want, tool string, args map[string]any) string {
	b.t.Helper()
	code, out, errs := b.run(tool, args)
	wantExit := exitError
	if want == codeUsage {
		wantExit = exitUsage
	}
	if code != wantExit || !strings.HasPrefix(errs, tool+": "+want+": ") || strings.Count(errs, "\n") != 1 {
		b.t.Errorf("%s %v: exit %d, stdout %.200q, stderr %.300q; want exit %d with %s", tool, args, code, out, errs, wantExit, want)
	}
	if strings.Contains(out+errs, "canary content") {
		b.t.Errorf("%s %v told what is outside", tool, args)
	}
	return errs
}

type m = map[string]any
