package bundle

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/compile"

	"github.com/sandgate/sandgate/internal/policy"
)

// BuildOptions say how a bundle is made.
type BuildOptions struct {
	// Revision is what the bundle calls itself. Empty: what .manifest says.
	Revision string
	// Optimize is OPA's level: 0 leaves the rules as they are, 1 evaluates what does
	// not depend on a call beforehand.
	Optimize int
	// Ignore are patterns of files that are left out, matched with the whole path and
	// with its last element.
	Ignore []string
}

// Build makes a bundle of the policy in a directory: the same files make the same
// bytes. Tests and signatures are left out. A policy that the daemon would refuse
// is an error.
func Build(ctx context.Context, dir string, o BuildOptions) ([]byte, error) {
	if o.Optimize < 0 || o.Optimize > 1 {
		return nil, fmt.Errorf("optimisation level %d: want 0 or 1", o.Optimize)
	}
	p, err := policy.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files, err := chosen(p.Files, o.Ignore)
	if err != nil {
		return nil, err
	}
	b, err := open(files, nil)
	if err != nil {
		return nil, err
	}
	if o.Revision != "" {
		b.Manifest.Revision = o.Revision
	}
	compiler := compile.New().WithBundle(b).WithAsBundle(true).WithRevision(b.Manifest.Revision).
		WithCapabilities(policy.Capabilities()).WithRegoVersion(ast.RegoV1).WithOptimizationLevel(o.Optimize)
	if o.Optimize > 0 {
		compiler = compiler.WithEntrypoints(strings.ReplaceAll(strings.TrimPrefix(policy.DecisionRef, "data."), ".", "/"),
			strings.ReplaceAll(strings.TrimPrefix(policy.VisibleRef, "data."), ".", "/"))
	}
	if err := compiler.Build(ctx); err != nil {
		return nil, err
	}
	if o.Optimize > 0 {
		if err := tidy(compiler.Bundle().Modules); err != nil {
			return nil, err
		}
	}
	raw, err := pack(compiler.Bundle())
	if err != nil {
		return nil, err
	}
	if err := fit(ctx, raw); err != nil {
		if o.Optimize > 0 {
			return nil, fmt.Errorf("%w\nwhat the optimisation made of it is refused; build without it", err)
		}
		return nil, err
	}
	return raw, nil
}

// fit sees that the daemon would take the bundle.
func fit(ctx context.Context, raw []byte) error {
	p, err := Read("built", raw, nil)
	if err != nil {
		return err
	}
	p.Name = ""
	engine, err := policy.New(ctx, policy.Config{NoPolicy: true, Isolations: []string{"runc", "gvisor"}})
	if err != nil {
		return err
	}
	if _, err := engine.Prepare(ctx, p); err != nil {
		return fmt.Errorf("%w\nthe daemon would refuse this policy too", err)
	}
	return nil
}

func chosen(files map[string][]byte, ignore []string) (map[string][]byte, error) {
	out := maps.Clone(files)
	for name := range files {
		drop := strings.HasSuffix(name, "_test.rego") || name == signaturesFile
		for _, pattern := range ignore {
			whole, err := path.Match(pattern, name)
			if err != nil {
				return nil, fmt.Errorf("--ignore %q is no pattern: %w", pattern, err)
			}
			last, _ := path.Match(pattern, path.Base(name))
			drop = drop || whole || last || strings.HasPrefix(name, strings.TrimSuffix(pattern, "/")+"/")
		}
		if drop {
			delete(out, name)
		}
	}
	return out, nil
}

// pack writes a bundle, sorted, so that its bytes follow from its content.
func pack(b *bundle.Bundle) ([]byte, error) {
	slices.SortFunc(b.Modules, func(a, c bundle.ModuleFile) int { return strings.Compare(a.Path, c.Path) })
	var out bytes.Buffer
	if err := bundle.NewWriter(&out).DisableFormat(true).UseModulePath(true).Write(*b); err != nil {
		return nil, fmt.Errorf("write the bundle: %w", err)
	}
	if out.Len() > MaxBytes {
		return nil, fmt.Errorf("the bundle has %d bytes, the most is %d", out.Len(), MaxBytes)
	}
	return out.Bytes(), nil
}

// Manifest is what a bundle says of itself.
type Manifest struct {
	Revision string   `json:"revision"`
	Roots    []string `json:"roots"`
	Signed   bool     `json:"signed"`
	Modules  int      `json:"modules"`
}

// Describe reads what a bundle says of itself, verifying nothing.
func Describe(raw []byte) (Manifest, error) {
	files, err := unpack(raw)
	if err != nil {
		return Manifest{}, err
	}
	var m Manifest
	if text, ok := files[manifestFile]; ok {
		if err := json.Unmarshal(text, &m); err != nil {
			return Manifest{}, fmt.Errorf(".manifest: %w", err)
		}
	}
	_, m.Signed = files[signaturesFile]
	for name := range files {
		if strings.HasSuffix(name, ".rego") {
			m.Modules++
		}
	}
	return m, nil
}
