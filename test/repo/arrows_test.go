package repo

import (
	"slices"
	"strings"
	"testing"
)

// arrow forbids an import to all but a few folders.
type arrow struct {
	imports string   // the import path, or the beginning of one at a slash
	only    []string // folders that may have it
	not     []string // if set: only these folders may not have it
	tests   bool     // test files anywhere may have it as well
	why     string
}

// arrows are the design's: cmd -> daemon -> {rpc, mcp} -> gate -> the rest.
var arrows = []arrow{
	{
		imports: "github.com/open-policy-agent/opa",
		only:    []string{"internal/policy"},
		why:     "one package knows OPA, so that every decision is made and checked in one place",
	},
	{
		imports: "github.com/containerd/containerd",
		only:    []string{"sandbox/containerd", "test/bench"},
		why:     "containerd is one implementation behind sandbox.Runtime; the benchmark measures it bare",
	},
	{
		imports: module + "proto",
		only:    []string{"internal/rpc", "cmd/sandgate", "test"},
		tests:   true,
		why:     "wire types end at the fronts: the domain must not bend to the protocol",
	},
	{
		imports: "google.golang.org/grpc",
		only:    []string{"internal/rpc", "internal/daemon", "internal/logging", "internal/telemetry", "cmd/sandgate", "sandbox/containerd", "proto", "test"},
		tests:   true,
		why:     "status codes and transports belong to the fronts; below them errors are domain errors",
	},
	{
		imports: module + "internal",
		not:     []string{"sandbox"},
		why:     "the sandbox is a library of its own, usable without the daemon",
	},
	{
		imports: module + "internal/daemon",
		only:    []string{"internal/daemon", "cmd/sandgated", "test"},
		tests:   true,
		why:     "the composition root puts the parts together; no part may reach back into it",
	},
	{
		imports: module + "internal/rpc",
		only:    []string{"internal/rpc", "internal/daemon", "cmd/sandgate", "test"},
		why:     "the front calls the gate, never the other way",
	},
	{
		imports: module + "internal/mcp",
		only:    []string{"internal/mcp", "internal/daemon", "cmd/sandgate", "test"},
		why:     "the front calls the gate, never the other way",
	},
	{
		imports: module + "internal/gate",
		only:    []string{"internal/gate", "internal/rpc", "internal/mcp", "internal/daemon", "test"},
		tests:   true,
		why:     "only the fronts enter the gate; what it uses must not know it",
	},
	{
		imports: module + "cmd",
		only:    []string{"cmd"},
		why:     "commands are ends: what two of them need is a package",
	},
	{
		imports: "github.com/stretchr/testify",
		only:    nil,
		why:     "tests use the standard library and go-cmp",
	},
}

// allows reports whether a file may have the import.
func (a *arrow) allows(file *goFile, path string) bool {
	in := func(folder string) bool { return within(file.dir, folder) }
	switch {
	case !within(path, a.imports):
		return true
	case a.not != nil:
		return !slices.ContainsFunc(a.not, in)
	default:
		return a.tests && file.test || slices.ContainsFunc(a.only, in)
	}
}

func TestImportsFollowTheArrows(t *testing.T) {
	for _, file := range goFiles(t) {
		for _, path := range file.imports() {
			for _, a := range arrows {
				if !a.allows(file, path) {
					t.Errorf("%s imports %s: %s", file.path, path, a.why)
				}
			}
		}
	}
}

func TestArrowsTellAllowedFromForbidden(t *testing.T) {
	forbids := func(dir, path string, test bool) bool {
		return slices.ContainsFunc(arrows, func(a arrow) bool {
			return !a.allows(&goFile{dir: dir, test: test}, path)
		})
	}
	for _, c := range []struct {
		dir, path string
		test      bool
		want      bool
	}{
		{dir: "internal/policy", path: "github.com/open-policy-agent/opa/v1/rego", want: false},
		{dir: "internal/gate", path: "github.com/open-policy-agent/opa/v1/rego", want: true},
		{dir: "internal/policytest", path: "github.com/open-policy-agent/opa/v1/rego", want: true},
		{dir: "sandbox/oci", path: "github.com/containerd/containerd/v2/client", want: true},
		{dir: "sandbox/oci", path: "github.com/containerd/errdefs", want: false},
		{dir: "sandbox/cell", path: module + "internal/config", want: true},
		{dir: "internal/gate", path: module + "proto/sandgate/v1", want: true},
		{dir: "internal/gate", path: module + "proto/sandgate/v1", test: true, want: false},
		{dir: "internal/facts", path: module + "internal/gate", want: true},
	} {
		if got := forbids(c.dir, c.path, c.test); got != c.want {
			t.Errorf("forbidden(%s importing %s) = %v, want %v", c.dir, c.path, got, c.want)
		}
	}
}

// TestInitStaysSmall follows the imports of sandgate-init through this module:
// it starts once per cell and once per call, and whatever it links is inside the
// wall with the tool.
func TestInitStaysSmall(t *testing.T) {
	banned := []string{
		"github.com/open-policy-agent/opa", "google.golang.org/grpc", "google.golang.org/protobuf",
		"github.com/containerd/containerd", "go.uber.org/zap", "github.com/spf13/cobra", "net/http",
	}
	byDir := map[string][]*goFile{}
	for _, file := range goFiles(t) {
		if !file.test {
			byDir[file.dir] = append(byDir[file.dir], file)
		}
	}
	const start = "cmd/sandgate-init"
	if len(byDir[start]) == 0 {
		t.Fatalf("no Go files in %s: this test would assert nothing", start)
	}
	seen := map[string]bool{start: true}
	for queue := []string{start}; len(queue) > 0; queue = queue[1:] {
		for _, file := range byDir[queue[0]] {
			for _, path := range file.imports() {
				if slices.ContainsFunc(banned, func(b string) bool { return within(path, b) }) {
					t.Errorf("%s imports %s, and sandgate-init links it", file.path, path)
				}
				if dir, ours := strings.CutPrefix(path, module); ours && !seen[dir] {
					seen[dir] = true
					queue = append(queue, dir)
				}
			}
		}
	}
}
