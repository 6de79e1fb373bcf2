package failpoint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// declared are the constants of failpoint.go, by name.
func declared(t *testing.T) map[string]Point {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "failpoint.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	points := map[string]Point{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
			text, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			points[spec.Names[0].Name] = Point(text)
		}
		return true
	})
	return points
}

func TestAllHasEveryPointOnce(t *testing.T) {
	all, points := All(), declared(t)
	if len(points) < 40 || len(all) != len(points) {
		t.Errorf("%d points are declared, All returns %d", len(points), len(all))
	}
	for name, p := range points {
		if !slices.Contains(all, p) {
			t.Errorf("All does not return %s", name)
		}
	}
	slices.Sort(all)
	if n := len(slices.Compact(all)); n != len(points) {
		t.Errorf("%d different points, want %d", n, len(points))
	}
}

// TestEveryPointHasItsPlace: a point that nobody calls would never be tested, and
// nobody would miss it.
func TestEveryPointHasItsPlace(t *testing.T) {
	const root = "../.."
	used := map[string][]string{}
	for _, dir := range []string{"internal", "sandbox", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path) //nolint:gosec // of this repository
			if err != nil {
				return err
			}
			for name := range declared(t) {
				if strings.Contains(string(text), "(failpoint."+name+")") || strings.Contains(string(text), "(failpoint."+name+",") {
					used[name] = append(used[name], path)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, p := range declared(t) {
		if len(used[name]) == 0 {
			t.Errorf("nothing calls failpoint.At(failpoint.%s), the point %s", name, p)
		}
	}
}

// TestNormalBuildCannotBeArmed runs this test's program again with a point armed.
func TestNormalBuildCannotBeArmed(t *testing.T) {
	if Built {
		t.Skip("this program is built with points")
	}
	if os.Getenv("SANDGATE_FAILPOINTS") != "" {
		At(GateDecided)
		Torn(JournalTorn, 1, func(int) { t.Error("something was torn") })
		if err := Err(JournalWritten); err != nil {
			t.Error(err)
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestNormalBuildCannotBeArmed$") //nolint:gosec // this very program
	cmd.Env = append(os.Environ(), "SANDGATE_FAILPOINTS=gate/decided=kill,journal/torn=kill,journal/written=error:eio")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// plain and pointed do the same work, the one without points; each is a call of its
// own, since b.Loop keeps what is called in it from being inlined.
func plain(n int) int { return n + 1 }

func pointed(n int) int {
	At(GateDecided)
	Torn(JournalTorn, n, func(k int) { n += k })
	if err := Err(JournalWritten); err != nil {
		return 0
	}
	return n + 1
}

// BenchmarkAt shows what three points cost beside none.
func BenchmarkAt(b *testing.B) {
	for name, work := range map[string]func(int) int{"plain": plain, "pointed": pointed} {
		b.Run(name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				n = work(n)
			}
		})
	}
}
