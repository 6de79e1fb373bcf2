package proposal

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/policy"
)

func lookup(t *testing.T, name string) catalog.Tool {
	t.Helper()
	c, err := catalog.New(catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tool, err := c.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return tool
}

func TestBuildDerivesTheShellFacts(t *testing.T) {
	args := json.RawMessage(`{"command": "git status; cat /etc/passwd"}`)
	in, tool, err := Build(lookup(t, "bash"), Call{ID: "c1", Args: args}, facts.NewMemFS(nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	if in.ID != "c1" || in.Tool != "bash" || in.Cwd != "/workspace" || string(in.Args) != string(args) || in.Files != nil {
		t.Errorf("got %+v", in)
	}
	if in.Shell == nil || !in.Shell.Parsed || len(in.Shell.Commands) != 2 || in.Shell.Commands[1].Base != "cat" {
		t.Fatalf("shell: got %+v", in.Shell)
	}
	if inside := in.Shell.Commands[1].Args[0].InWorkspace; inside == nil || *inside {
		t.Errorf("in_workspace of /etc/passwd: got %v, want false", inside)
	}
	if tool.Name != "bash" || tool.Source != catalog.SourceBuiltin || len(tool.Effects) == 0 || !tool.Annotations["destructiveHint"] {
		t.Errorf("tool: got %+v", tool)
	}
}

func TestBuildDerivesTheFileFacts(t *testing.T) {
	fs := facts.NewMemFS(map[string]string{"a.txt": "x"}, map[string]string{"link": "/etc"})
	yes, no := true, false
	for _, tt := range []struct {
		name, tool, args string
		want             []facts.File
	}{
		{
			"inside", "read_file", `{"path": "a.txt"}`,
			[]facts.File{{Op: "read", Path: "a.txt", Abs: "/workspace/a.txt", Real: "/workspace/a.txt", Exists: &yes, Kind: "file", InWorkspace: &yes}},
		},
		{
			"through a symlink that leaves", "read_file", `{"path": "link/passwd"}`,
			[]facts.File{{Op: "read", Path: "link/passwd", Abs: "/workspace/link/passwd", InWorkspace: &no}},
		},
		{
			"the default of an absent argument", "list_dir", `{}`,
			[]facts.File{{Op: "list", Path: ".", Abs: "/workspace", Real: "/workspace", Exists: &yes, Kind: "dir", InWorkspace: &yes}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in, _, err := Build(lookup(t, tt.tool), Call{Args: json.RawMessage(tt.args)}, fs)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, in.Files); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if in.Shell != nil {
				t.Errorf("shell: got %+v, want none", in.Shell)
			}
		})
	}
}

func TestBuildWithoutAWorkspaceKnowsNothing(t *testing.T) {
	in, _, err := Build(lookup(t, "read_file"), Call{Args: json.RawMessage(`{"path": "a.txt"}`)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(in.Files) != 1 || in.Files[0].InWorkspace != nil || in.Files[0].Real != "" {
		t.Errorf("got %+v, want a path of which nothing is known", in.Files)
	}
}

func TestBuildReadsListsOfPaths(t *testing.T) {
	tool := catalog.Tool{Name: "many", Facts: catalog.Facts{Paths: []catalog.PathArg{{Arg: "paths", Op: "delete"}, {Arg: "other", Op: "read"}}}}
	in, _, err := Build(tool, Call{Args: json.RawMessage(`{"paths": ["a", "../b"]}`)}, facts.NewMemFS(nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	if len(in.Files) != 2 || in.Files[0].Op != "delete" || !*in.Files[0].InWorkspace || *in.Files[1].InWorkspace {
		t.Errorf("got %+v", in.Files)
	}
}

func TestBuildRefusesWhatValidateWouldRefuse(t *testing.T) {
	many := catalog.Tool{Name: "many", Facts: catalog.Facts{Paths: []catalog.PathArg{{Arg: "paths"}}}}
	for name, tt := range map[string]struct {
		tool catalog.Tool
		call Call
	}{
		"not an object":       {lookup(t, "bash"), Call{Args: json.RawMessage(`[]`)}},
		"null":                {lookup(t, "bash"), Call{Args: json.RawMessage(`null`)}},
		"not JSON":            {lookup(t, "bash"), Call{Args: json.RawMessage(`{`)}},
		"script of a number":  {lookup(t, "bash"), Call{Args: json.RawMessage(`{"command": 1}`)}},
		"path of a number":    {lookup(t, "read_file"), Call{Args: json.RawMessage(`{"path": 1}`)}},
		"path null":           {lookup(t, "list_dir"), Call{Args: json.RawMessage(`{"path": null}`)}},
		"number among paths":  {many, Call{Args: json.RawMessage(`{"paths": ["a", 1]}`)}},
		"relative directory":  {lookup(t, "bash"), Call{Args: json.RawMessage(`{"command": "ls"}`), Cwd: "src"}},
		"directory with NUL":  {lookup(t, "bash"), Call{Args: json.RawMessage(`{"command": "ls"}`), Cwd: "/a\x00"}},
		"two JSON documents":  {lookup(t, "bash"), Call{Digest: "sha256:00", Args: json.RawMessage(`{"command": "ls"} {}`)}},
		"half a JSON literal": {lookup(t, "bash"), Call{Args: json.RawMessage(`{"command": tru}`)}},
	} {
		if _, _, err := Build(tt.tool, tt.call, nil); !errors.Is(err, errdefs.ErrInvalidArgument) {
			t.Errorf("%s: got %v, want an invalid argument", name, err)
		}
	}
}

// The facts are a contract with the authors of policies: what Build makes must
// be what the schema of the input describes, or the schema misleads them.
func TestBuiltInputDecidesInTheDefaultLibrary(t *testing.T) {
	e, err := policy.New(t.Context(), policy.Config{})
	if err != nil || e.Ready() != nil {
		t.Fatal(err, e.Ready())
	}
	in := policy.Input{Session: policy.SessionInput{Profile: "readonly"}}
	in.Call, in.Tool, err = Build(lookup(t, "bash"), Call{Args: json.RawMessage(`{"command": "cat a.txt"}`)}, facts.NewMemFS(map[string]string{"a.txt": ""}, nil))
	if err != nil {
		t.Fatal(err)
	}
	if d := e.Decide(t.Context(), in); d.Outcome != policy.Allow {
		t.Errorf("cat a.txt: got %+v, want allow", d)
	}
}

func TestBuildDerivesThePythonFacts(t *testing.T) {
	args := json.RawMessage(`{"code": "import os\nos.system('ls')\nopen('/etc/x')"}`)
	in, _, err := Build(lookup(t, "python"), Call{Args: args}, facts.NewMemFS(nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	p := in.Python
	if p == nil || !p.Parsed || len(p.Runs) != 1 || len(p.Opens) != 1 || *p.Opens[0].InWorkspace {
		t.Errorf("got %+v", p)
	}
	if in.Shell != nil || in.Git != nil || in.Kubectl != nil {
		t.Errorf("facts of other programs: %+v", in)
	}
}

// TestBuildDerivesTheFactsOfADeclaredProgram: a tool of the operator that runs kubectl or git has their facts.
func TestBuildDerivesTheFactsOfADeclaredProgram(t *testing.T) {
	dir := t.TempDir()
	declaration := `name: kube
description: Runs kubectl.
input_schema: {type: object, additionalProperties: false, required: [args], properties: {args: {type: array, items: {type: string}}}}
annotations: {readOnlyHint: false, destructiveHint: true, idempotentHint: false, openWorldHint: true}
effects: [network]
risk: high
exec: {argv: [/usr/bin/kubectl, {arg: args, spread: true}]}
`
	if err := os.WriteFile(filepath.Join(dir, "kube.yaml"), []byte(declaration), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := catalog.New(catalog.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	tool, err := c.Lookup("kube")
	if err != nil {
		t.Fatal(err)
	}
	in, _, err := Build(tool, Call{Args: json.RawMessage(`{"args": ["delete", "po", "web", "-n", "prod"]}`)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if k := in.Kubectl; k == nil || k.Verb != "delete" || k.Namespace != "prod" || k.Resources[0].Type != "pods" || !k.Complete {
		t.Errorf("got %+v", k)
	}
}
