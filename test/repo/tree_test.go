package repo

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is the path that imports of our own packages begin with.
const module = "github.com/sandgate/sandgate/"

// root is the repository's, seen from this package.
const root = "../.."

// goFile is one Go file of this module (not of the modules in tools/).
type goFile struct {
	path      string // slash-separated, from the root
	dir       string
	test      bool
	generated bool
	lines     int
	syntax    *ast.File
	fset      *token.FileSet
}

// imports are the paths that the file imports.
func (f *goFile) imports() []string {
	var paths []string
	for _, spec := range f.syntax.Imports {
		paths = append(paths, strings.Trim(spec.Path.Value, `"`))
	}
	return paths
}

// walk calls f for every file of the repository, with its slash-separated path
// from the root. What git ignores and git's own folder are left out.
func walk(t *testing.T, f func(path string)) {
	t.Helper()
	skip := []string{".git", "bin", ".cache", ".sandgate", "coverage"}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if entry.IsDir() {
			if slices.Contains(skip, rel) {
				return filepath.SkipDir
			}
			return nil
		}
		if entry.Type().IsRegular() {
			f(rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// read gives a file's content by its path from the root.
func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// goFiles parses all Go files of the module; folders called testdata are data.
func goFiles(t *testing.T) []*goFile {
	t.Helper()
	var files []*goFile
	fset := token.NewFileSet()
	walk(t, func(path string) {
		if !strings.HasSuffix(path, ".go") || strings.Contains("/"+path, "/testdata/") || strings.HasPrefix(path, "tools/") {
			return
		}
		data := read(t, path)
		syntax, err := parser.ParseFile(fset, path, data, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%s does not parse: %v", path, err)
			return
		}
		files = append(files, &goFile{
			path:      path,
			dir:       strings.TrimSuffix(path[:strings.LastIndex("/"+path, "/")], "/"),
			test:      strings.HasSuffix(path, "_test.go"),
			generated: ast.IsGenerated(syntax),
			lines:     bytes.Count(data, []byte("\n")),
			syntax:    syntax,
			fset:      fset,
		})
	})
	if len(files) < 10 {
		t.Fatalf("found only %d Go files: these tests would assert nothing", len(files))
	}
	return files
}

// within reports whether a slash-separated path is folder or lies below it.
func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/")
}
