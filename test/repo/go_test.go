package repo

import (
	"go/ast"
	"strings"
	"testing"
)

const (
	maxFileLines     = 600 // split before; aim at 60 to 250
	maxFunctionLines = 100 // ask why above 45
	minPackageDoc    = 60  // bytes: a sentence at least
)

func TestEveryPackageHasAComment(t *testing.T) {
	type state struct{ handwritten, documented bool }
	packages := map[string]*state{}
	for _, file := range goFiles(t) {
		// An external test package speaks for the package beside it.
		name := file.dir + " (package " + strings.TrimSuffix(file.syntax.Name.Name, "_test") + ")"
		if packages[name] == nil {
			packages[name] = &state{}
		}
		p := packages[name]
		p.handwritten = p.handwritten || !file.generated
		p.documented = p.documented || len(file.syntax.Doc.Text()) >= minPackageDoc
	}
	for name, p := range packages {
		if p.handwritten && !p.documented {
			t.Errorf("%s has no package comment: say what it is, who calls it and what it must never do", name)
		}
	}
}

func TestNoGoInTheRoot(t *testing.T) {
	for _, file := range goFiles(t) {
		if file.dir == "" {
			t.Errorf("%s lies in the root: every package has a folder", file.path)
		}
	}
}

func TestGoFilesAreShort(t *testing.T) {
	for _, file := range goFiles(t) {
		if !file.generated && file.lines > maxFileLines {
			t.Errorf("%s has %d lines, at most %d are allowed: split it by idea", file.path, file.lines, maxFileLines)
		}
	}
}

func TestFunctionsAreShort(t *testing.T) {
	for _, file := range goFiles(t) {
		if file.generated || file.test {
			continue
		}
		for _, decl := range file.syntax.Decls {
			function, ok := decl.(*ast.FuncDecl)
			if !ok || function.Body == nil {
				continue
			}
			lines := file.fset.Position(function.End()).Line - file.fset.Position(function.Pos()).Line + 1
			if lines > maxFunctionLines {
				t.Errorf("%s: %s has %d lines, at most %d are allowed", file.path, function.Name.Name, lines, maxFunctionLines)
			}
		}
	}
}

// TestNoInitFunctions keeps the wiring in internal/daemon, where it can be read.
func TestNoInitFunctions(t *testing.T) {
	for _, file := range goFiles(t) {
		if file.generated {
			continue
		}
		for _, decl := range file.syntax.Decls {
			function, ok := decl.(*ast.FuncDecl)
			if ok && function.Recv == nil && function.Name.Name == "init" && !pinsMainThread(function) {
				t.Errorf("%s has an init function: parts are put together by hand in internal/daemon", file.path)
			}
		}
	}
}

// pinsMainThread reports whether a function does nothing but lock the main
// goroutine to the main thread, which only an init function can.
func pinsMainThread(function *ast.FuncDecl) bool {
	if len(function.Body.List) != 1 {
		return false
	}
	statement, ok := function.Body.List[0].(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := statement.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	of, ok := selector.X.(*ast.Ident)
	return ok && of.Name == "runtime" && selector.Sel.Name == "LockOSThread"
}
