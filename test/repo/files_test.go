package repo

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// textFiles calls f with every text file that people of this project write.
func textFiles(t *testing.T, f func(path string, data []byte)) {
	t.Helper()
	walk(t, func(path string) {
		if strings.HasSuffix(path, "go.sum") || path == "LICENSE" {
			return
		}
		if data := read(t, path); !bytes.ContainsRune(data, 0) {
			f(path, data)
		}
	})
}

// TestNoLooseEnds: what is not done is an issue, not a remark in the code. The
// words are put together here so that this file does not hold them.
func TestNoLooseEnds(t *testing.T) {
	mark := regexp.MustCompile(`\b(` + "TO" + "DO|FIX" + "ME|XX" + `X)\b[:( ]`)
	textFiles(t, func(path string, data []byte) {
		if strings.Contains("/"+path, "/testdata/") {
			return
		}
		if found := mark.Find(data); found != nil {
			t.Errorf("%s contains %q: open an issue and do it, or leave it out", path, found)
		}
	})
}

// TestNoPathsOfAMachine: a clone must work anywhere.
func TestNoPathsOfAMachine(t *testing.T) {
	home := regexp.MustCompile(`(^|[\s"'=(:])(/wo` + `rk/|/ro` + `ot/go/)`)
	textFiles(t, func(path string, data []byte) {
		if found := home.Find(data); found != nil {
			t.Errorf("%s contains %q, a path of one developer's machine", path, bytes.TrimSpace(found))
		}
	})
}

func TestLicense(t *testing.T) {
	license := string(read(t, "LICENSE"))
	for _, want := range []string{"Apache License", "Version 2.0, January 2004", "END OF TERMS AND CONDITIONS"} {
		if !strings.Contains(license, want) {
			t.Errorf("LICENSE lacks %q", want)
		}
	}
}

// TestMakeTargetsHaveHelp: a target that a person may type says what it does.
func TestMakeTargetsHaveHelp(t *testing.T) {
	makefile := string(read(t, "Makefile"))
	target := regexp.MustCompile(`(?m)^([a-z0-9-]+):([^=\n]*)$`)
	matches := target.FindAllStringSubmatch(makefile, -1)
	if len(matches) < 10 {
		t.Fatalf("found only %d targets in the Makefile: this test would assert little", len(matches))
	}
	for _, m := range matches {
		if _, help, _ := strings.Cut(m[2], "## "); len(strings.TrimSpace(help)) < 5 {
			t.Errorf("Makefile: target %s has no '## help'", m[1])
		}
		if !strings.Contains(makefile, ".PHONY: "+m[1]+"\n") {
			t.Errorf("Makefile: target %s is not declared .PHONY", m[1])
		}
	}
}

// TestScriptsStopAtTheFirstError: a script that goes on after a failure lies.
func TestScriptsStopAtTheFirstError(t *testing.T) {
	textFiles(t, func(path string, data []byte) {
		if !bytes.HasPrefix(data, []byte("#!/bin/bash\n")) {
			return
		}
		if !bytes.Contains(data, []byte("\nset -euo pipefail\n")) {
			t.Errorf("%s lacks 'set -euo pipefail'", path)
		}
		if info, err := os.Stat(filepath.Join(root, path)); err != nil || info.Mode()&0o100 == 0 {
			t.Errorf("%s is a script and not executable", path)
		}
	})
}

// TestDocumentLinks: a link from one of our documents to a file of ours leads
// somewhere.
func TestDocumentLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)
	textFiles(t, func(file string, data []byte) {
		if !strings.HasSuffix(file, ".md") {
			return
		}
		for _, m := range link.FindAllSubmatch(data, -1) {
			to := string(m[1])
			if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, path.Dir(file), to)); err != nil {
				t.Errorf("%s links to %s, which is not there", file, to)
			}
		}
	})
}

// TestPinsAgree: what is linked into sandgate and what runs beside it must be of
// one version, or a test would prove something about another one.
func TestPinsAgree(t *testing.T) {
	required := func(file string) map[string]string {
		parsed, err := modfile.Parse(file, read(t, file), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(parsed.Replace) > 0 {
			t.Errorf("%s replaces modules: a clone elsewhere would build something else", file)
		}
		versions := map[string]string{}
		for _, r := range parsed.Require {
			versions[r.Mod.Path] = r.Mod.Version
		}
		return versions
	}
	ours := required("go.mod")
	for _, c := range []struct{ file, module string }{
		{"tools/containerd/go.mod", "github.com/containerd/containerd/v2"},
		{"tools/opa/go.mod", "github.com/open-policy-agent/opa"},
		{"tools/proto/go.mod", "google.golang.org/protobuf"},
		{"tools/gvisor/go.mod", "gvisor.dev/gvisor"},
	} {
		if got, want := required(c.file)[c.module], ours[c.module]; got != want || got == "" {
			t.Errorf("%s pins %s at %q, go.mod at %q", c.file, c.module, got, want)
		}
	}
}
