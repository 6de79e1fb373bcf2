package python

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// reference is CPython's own reading of the files that are named on its standard input: one line of JSON for each.
const reference = `
import ast, json, sys
def text(n):
    if isinstance(n, ast.Name): return n.id
    if isinstance(n, ast.Attribute):
        b = text(n.value)
        return (b if b else "") + "." + n.attr
    return ""
for path in sys.stdin.read().split("\n"):
    if not path: continue
    try: tree = ast.parse(open(path, encoding="utf-8").read())
    except (SyntaxError, ValueError, RecursionError) as e:
        print(json.dumps({"error": str(e)})); continue
    imports, calls = set(), set()
    for n in ast.walk(tree):
        if isinstance(n, ast.Import): imports |= {a.name for a in n.names}
        elif isinstance(n, ast.ImportFrom): imports.add("." * n.level + (n.module or ""))
        elif isinstance(n, ast.Call): calls.add(text(n.func))
        for d in getattr(n, "decorator_list", []): calls.add(text(d))
    print(json.dumps({"imports": sorted(imports), "calls": sorted(calls)}))
`

// source is how n is written, as reference has it.
func source(n *node) string {
	switch n.kind {
	case isName:
		return n.name
	case isAttr:
		return source(n.x) + "." + n.name
	}
	return ""
}

// TestAgreesWithCPython reads the standard library and holds the imports and calls against those of CPython: of its
// tests those about syntax, and all of them with SANDGATE_PYTHON_ALL=1.
func TestAgreesWithCPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3 to compare with")
	}
	out, err := exec.Command(python, "-c", "import os; print(os.path.dirname(os.__file__))").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := sources(t, strings.TrimSpace(string(out)))
	cmd := exec.Command(python, "-W", "ignore", "-c", reference)
	cmd.Stdin = strings.NewReader(strings.Join(files, "\n"))
	cmd.Stderr = os.Stderr
	if out, err = cmd.Output(); err != nil {
		t.Fatal(err)
	}
	lines, same := bytes.Split(bytes.TrimSpace(out), []byte("\n")), 0
	for i, line := range lines {
		var want struct {
			Error          string
			Imports, Calls []string
		}
		if err := json.Unmarshal(line, &want); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(files[i])
		if err != nil {
			t.Fatal(err)
		}
		if want.Error != "" || len(raw) > maxBytes {
			continue // what Python does not run is of no interest
		}
		p, err := read(string(raw))
		if err != nil && strings.Contains(err.Error(), "declares the encoding") {
			continue // told so, on purpose
		}
		if err != nil {
			t.Errorf("%s: %v", files[i], err)
			continue
		}
		calls := map[string]bool{}
		for _, c := range p.calls {
			calls[source(c.x)] = true
		}
		if diff := cmp.Diff(want.Imports, sorted(p.imports)); diff != "" {
			t.Errorf("%s: imports -python +ours\n%s", files[i], diff)
		}
		if diff := cmp.Diff(want.Calls, sorted(calls)); diff != "" {
			t.Errorf("%s: calls -python +ours\n%s", files[i], diff)
		}
		same++
	}
	t.Logf("%d of %d files compared", same, len(files))
	if same < 50 {
		t.Errorf("only %d files were compared", same)
	}
}

// syntaxTests are the tests of the library that use the rare parts of the grammar.
var syntaxTests = []string{
	"annotations", "augassign", "await", "class", "compile", "coroutines", "decorators", "dictcomps", "except_star", "exceptions", "flufl", "format",
	"fstring", "future", "generators", "genexps", "global", "grammar", "keywordonlyarg", "lambda", "listcomps", "long", "named_expressions",
	"pep646_syntax", "patma", "positional_only_arg", "pyclbr", "setcomps", "slice", "string_literals", "strtod", "syntax", "tokenize",
	"tstring", "type_aliases", "type_params", "typing", "unicode_identifiers", "unpack", "unpack_ex", "unparse", "with", "yield_from",
}

// sources are the files to compare below dir.
func sources(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "site-packages" || d.Name() == "lib2to3") {
			return fs.SkipDir
		}
		name, isTest := strings.CutPrefix(strings.TrimSuffix(d.Name(), ".py"), "test_")
		inTests := strings.Contains(path, "/test/") || strings.Contains(path, "/idlelib/") || strings.Contains(path, "/tests/")
		if inTests && !d.IsDir() && os.Getenv("SANDGATE_PYTHON_ALL") == "" && (!isTest || !slices.Contains(syntaxTests, name)) {
			return nil
		}
		if strings.HasSuffix(path, ".py") && d.Type().IsRegular() {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}
