// Package catalog knows the tools: their names, descriptions, argument schemas
// and how their arguments become a program's argv or stdin. Declarations are
// YAML or JSON files: the built-in ones are embedded, operators add a directory
// of their own. The gate calls it to validate a proposed call and to get the
// command to run; the fact builders call it to learn which arguments are
// scripts and paths. It must never run anything and never template arguments
// into a shell: an argument is a whole argv item or part of a JSON document on
// stdin.
package catalog

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed builtin/*.yaml
var builtinFiles embed.FS

// Bounds of what is loaded.
const (
	maxDeclarationBytes = 256 << 10
	maxTools            = 512
)

// DefaultInitPath is where sandgate-init is found in a cell: the program that
// holds the file tools (`sandgate-init tool NAME`).
const DefaultInitPath = "/.sandgate/init"

// Options say what a Catalog is made of.
type Options struct {
	// Dir holds the operator's declarations (*.yaml, *.yml, *.json, not in
	// sub-directories). Optional. A tool of the same name as a built-in one is an
	// error: what a policy says of a built-in tool would silently apply to
	// another program.
	Dir string
	// Disable names built-in tools that are left out. An unknown name is an error.
	Disable []string
	// InitPath is the path of sandgate-init in a cell. Empty: DefaultInitPath.
	InitPath string
	// MaxArgsBytes bounds the arguments of one call. 0: DefaultMaxArgsBytes.
	MaxArgsBytes int
}

// DefaultMaxArgsBytes is the default bound of one call's arguments as JSON.
const DefaultMaxArgsBytes = 1 << 20

// Catalog is the immutable set of declared tools. It is safe for concurrent use.
type Catalog struct {
	tools   map[string]Tool
	names   []string // sorted
	maxArgs int
}

// New loads the built-in tools and the operator's. All declarations are checked
// here, so that a broken one is found at start and not by a model; the error
// names file and field.
func New(opts Options) (*Catalog, error) {
	if opts.InitPath == "" {
		opts.InitPath = DefaultInitPath
	}
	if !path.IsAbs(opts.InitPath) {
		return nil, fmt.Errorf("init path %q: want an absolute path inside the cell", opts.InitPath)
	}
	if opts.MaxArgsBytes == 0 {
		opts.MaxArgsBytes = DefaultMaxArgsBytes
	}
	if opts.MaxArgsBytes < 2 {
		return nil, fmt.Errorf("max args bytes is %d: want at least 2", opts.MaxArgsBytes)
	}
	c := &Catalog{tools: make(map[string]Tool), maxArgs: opts.MaxArgsBytes}
	if err := c.loadFS(builtinFiles, "builtin", SourceBuiltin, opts.InitPath); err != nil {
		return nil, fmt.Errorf("load built-in tools: %w", err)
	}
	for _, name := range opts.Disable {
		if _, ok := c.tools[name]; !ok {
			return nil, fmt.Errorf("disable tool %q: no such built-in tool", name)
		}
		delete(c.tools, name)
	}
	if opts.Dir != "" {
		if err := c.loadFS(os.DirFS(opts.Dir), ".", SourceOperator, opts.InitPath); err != nil {
			return nil, fmt.Errorf("load tools of %q: %w", opts.Dir, err)
		}
	}
	for name := range c.tools {
		c.names = append(c.names, name)
	}
	slices.Sort(c.names)
	return c, nil
}

// Tools returns all tools, sorted by name.
func (c *Catalog) Tools() []Tool {
	out := make([]Tool, 0, len(c.names))
	for _, n := range c.names {
		out = append(out, c.tools[n])
	}
	return out
}

// Lookup returns the tool of that name, or an *UnknownToolError.
func (c *Catalog) Lookup(name string) (Tool, error) {
	if t, ok := c.tools[name]; ok {
		return t, nil
	}
	return Tool{}, &UnknownToolError{Name: name, Near: near(name, c.names), Known: slices.Clone(c.names)}
}

func (c *Catalog) loadFS(fsys fs.FS, dir, source, initPath string) error {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return fmt.Errorf("read directory: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") || !isDeclaration(e.Name()) {
			continue
		}
		raw, err := readDeclaration(fsys, path.Join(dir, e.Name()))
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
		tool, err := parseDeclaration(raw, source, initPath)
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
		if old, ok := c.tools[tool.Name]; ok {
			return fmt.Errorf("%s: tool %q is already declared (%s)", e.Name(), tool.Name, old.Source)
		}
		if len(c.tools) >= maxTools {
			return fmt.Errorf("%s: more than %d tools", e.Name(), maxTools)
		}
		tool.maxArgs = c.maxArgs
		c.tools[tool.Name] = tool
	}
	return nil
}

func isDeclaration(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

func readDeclaration(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if info.Size() > maxDeclarationBytes {
		return nil, fmt.Errorf("%d bytes: a declaration has at most %d", info.Size(), maxDeclarationBytes)
	}
	return fs.ReadFile(fsys, name)
}
