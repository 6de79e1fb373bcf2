package catalog

import (
	"encoding/json"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Sources of a declaration.
const (
	SourceBuiltin  = "builtin"
	SourceOperator = "operator"
)

// Tool is one declared tool. Values are shared between callers: do not change
// what its fields point to.
type Tool struct {
	// Name is [a-z][a-z0-9_-]{0,63}, as MCP and the model APIs want it.
	Name string
	// Title is a short name for people. Optional.
	Title string
	// Description is written for a model to read.
	Description string
	// InputSchema is the JSON Schema (2020-12) of the arguments, an object
	// schema that takes no additional properties.
	InputSchema json.RawMessage
	Annotations Annotations
	// Effects say what the tool can do at all: "read", "write", "delete",
	// "execute", "network", or an operator's own words.
	Effects []string
	// Risk is low, medium, high or critical.
	Risk string
	// Source is SourceBuiltin or SourceOperator.
	Source string
	// Image is the image that the tool wants; empty: the daemon's default.
	Image    string
	Defaults Defaults
	Facts    Facts
	// Digest is of the whole declaration, "sha256:…": another one under the same name is
	// another tool to whoever has approved calls of this one.
	Digest string

	exec    execution
	schema  *jsonschema.Schema
	maxArgs int
}

// Annotations are MCP's hints of a tool. They inform policy and hosts; they
// prove nothing.
type Annotations struct {
	ReadOnlyHint    bool `json:"readOnlyHint"`
	DestructiveHint bool `json:"destructiveHint"`
	IdempotentHint  bool `json:"idempotentHint"`
	OpenWorldHint   bool `json:"openWorldHint"`
}

// Map returns the annotations by MCP's names.
func (a Annotations) Map() map[string]bool {
	return map[string]bool{
		"readOnlyHint": a.ReadOnlyHint, "destructiveHint": a.DestructiveHint,
		"idempotentHint": a.IdempotentHint, "openWorldHint": a.OpenWorldHint,
	}
}

// Defaults are the limits that the tool wants where policy says nothing. Zero:
// the daemon's default. The daemon's ceiling holds in any case.
type Defaults struct {
	WallTimeMs  int64 `json:"wall_time_ms,omitempty"`
	CPUMillis   int64 `json:"cpu_millis,omitempty"`
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
	Pids        int64 `json:"pids,omitempty"`
	OutputBytes int64 `json:"output_bytes,omitempty"`
	DiskBytes   int64 `json:"disk_bytes,omitempty"`
	FileBytes   int64 `json:"file_bytes,omitempty"`
	OpenFiles   int64 `json:"open_files,omitempty"`
}

// Facts declare which arguments mean something that sandgate can look into.
type Facts struct {
	// ShellArg names the argument that is a bash script. Optional.
	ShellArg string `json:"shell,omitempty"`
	// PythonArg names the argument that is a Python program. Optional.
	PythonArg string `json:"python,omitempty"`
	// Paths name the arguments that are paths. Optional.
	Paths []PathArg `json:"paths,omitempty"`
}

// PathArg is one argument that is a path, or an array of paths.
type PathArg struct {
	Arg string `json:"arg"`
	Op  PathOp `json:"op"`
	// Default is the path that is meant when the argument is absent; empty: none.
	Default string `json:"default,omitempty"`
	// Recursive: everything below the path is meant as well.
	Recursive bool `json:"recursive,omitempty"`
}

// PathOp is what the tool does with a path.
type PathOp string

// The operations on paths.
const (
	PathRead   PathOp = "read"
	PathWrite  PathOp = "write"
	PathList   PathOp = "list"
	PathDelete PathOp = "delete"
)

// Command is a call's program as it has to be run.
type Command struct {
	Argv []string
	// Env are the declaration's own variables, "NAME=value".
	Env []string
	// Stdin is the JSON document of the arguments when StdinIsArgs; the call's
	// own stdin cannot be used then.
	Stdin       []byte
	StdinIsArgs bool
	// Timeout is the deadline that the arguments ask for; 0: none. It can
	// shorten the policy's, never lengthen it.
	Timeout time.Duration
}

// TakesStdin tells whether the program reads the call's own stdin.
func (t Tool) TakesStdin() bool { return t.exec.Stdin != stdinArgs }

// Program is the program that the tool runs, as declared.
func (t Tool) Program() string {
	if len(t.exec.Argv) == 0 {
		return ""
	}
	return t.exec.Argv[0].Literal
}
