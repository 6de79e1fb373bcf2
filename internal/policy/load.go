package policy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"sigs.k8s.io/yaml"

	"github.com/sandgate/sandgate/policies"
)

// Bounds of a policy directory: more is taken for a mistake in the path.
const (
	maxPolicyFiles = 2_000
	maxPolicyBytes = 32 << 20
	maxPolicyDepth = 16
)

// EmbeddedSource is Status.Source of the default library.
const EmbeddedSource = "embedded"

// sources are the files of one policy as read, before anything is understood.
type sources struct {
	name  string            // EmbeddedSource or the directory
	files map[string][]byte // slash-separated path below the directory
	// author is what its author calls this revision. Empty: what .manifest says.
	author string
}

// readSources reads the policy of a directory, or the default one for "".
func readSources(dir string) (sources, error) {
	if dir == "" {
		files, err := readPolicyFS(policies.FS)
		return sources{name: EmbeddedSource, files: files}, err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return sources{}, fmt.Errorf("policy directory: %w", err)
	}
	if !info.IsDir() {
		return sources{}, fmt.Errorf("policy directory %s is not a directory", dir)
	}
	files, err := readPolicyFS(os.DirFS(dir))
	if err != nil {
		return sources{}, fmt.Errorf("policy directory %s: %w", dir, err)
	}
	return sources{name: dir, files: files}, nil
}

// readPolicyFS reads what makes a policy: Rego, files called data.json or
// data.yaml, and .manifest. Hidden directories are left out (a mounted
// ConfigMap holds its former content in one); symlinks are followed (it shows
// its present content through them).
func readPolicyFS(fsys fs.FS) (map[string][]byte, error) {
	r := policyReader{fsys: fsys, files: map[string][]byte{}, left: maxPolicyBytes}
	if err := r.dir(".", 0); err != nil {
		return nil, err
	}
	return r.files, nil
}

type policyReader struct {
	fsys  fs.FS
	files map[string][]byte
	left  int64 // bytes
}

func (r *policyReader) dir(name string, depth int) error {
	if depth > maxPolicyDepth {
		return fmt.Errorf("%s: more than %d directories deep: is there a loop of symlinks?", name, maxPolicyDepth)
	}
	entries, err := fs.ReadDir(r.fsys, name)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := r.entry(path.Join(name, entry.Name()), depth); err != nil {
			return err
		}
	}
	return nil
}

func (r *policyReader) entry(name string, depth int) error {
	info, err := fs.Stat(r.fsys, name)
	if err != nil {
		if !isPolicyFile(name) {
			return nil // a dangling symlink that is none of ours
		}
		return err
	}
	switch {
	case info.IsDir() && strings.HasPrefix(path.Base(name), "."):
		return nil
	case info.IsDir():
		return r.dir(name, depth+1)
	case !isPolicyFile(name):
		return nil
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", name)
	case len(r.files) >= maxPolicyFiles:
		return fmt.Errorf("more than %d policy files: is this the right directory?", maxPolicyFiles)
	}
	body, err := readBounded(r.fsys, name, r.left)
	if err != nil {
		return err
	}
	r.left -= int64(len(body))
	r.files[name] = body
	return nil
}

func isPolicyFile(name string) bool {
	switch path.Base(name) {
	case "data.json", "data.yaml":
		return true
	case ".manifest", signaturesFile:
		return name == path.Base(name)
	}
	return isRego(name)
}

// signaturesFile holds the signature of a policy; it is no part of its content.
const signaturesFile = ".signatures.json"

func isRego(name string) bool { return strings.HasSuffix(name, ".rego") }

func readBounded(fsys fs.FS, name string, limit int64) (_ []byte, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	body, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("more than %d bytes of policy: is this the right directory?", maxPolicyBytes)
	}
	return body, nil
}

// names are the files that the daemon loads, sorted: all but the tests.
func (s sources) names() []string {
	var names []string
	for name := range s.files {
		if !strings.HasSuffix(name, "_test.rego") && name != signaturesFile {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// revision names this very content: what .manifest says, followed by a hash of
// names and contents, so that no two contents share a revision.
func (s sources) revision() (string, error) {
	sum := sha256.New()
	for _, name := range s.names() {
		body := sha256.Sum256(s.files[name])
		_, _ = fmt.Fprintf(sum, "%s %x\n", name, body) // a hash never fails
	}
	short := "sha256:" + hex.EncodeToString(sum.Sum(nil))[:16]
	if s.author != "" {
		return s.author + "@" + short, nil
	}
	raw, ok := s.files[".manifest"]
	if !ok {
		return short, nil
	}
	var manifest struct {
		Revision string `json:"revision"`
	}
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return "", fmt.Errorf(".manifest: %w", err)
	}
	if manifest.Revision == "" {
		return short, nil
	}
	return manifest.Revision + "@" + short, nil
}

// modules parses the Rego of the policy, with its tests if wanted. The keys are
// the names that error messages and Explain show.
func (s sources) modules(caps *ast.Capabilities, tests bool) (map[string]*ast.Module, error) {
	mods := map[string]*ast.Module{}
	var errs []error
	for name, body := range s.files {
		if !isRego(name) || (!tests && strings.HasSuffix(name, "_test.rego")) {
			continue
		}
		shown := s.shownName(name)
		mod, err := ast.ParseModuleWithOpts(shown, string(body), ast.ParserOptions{
			Capabilities: caps, ProcessAnnotation: true, RegoVersion: ast.RegoV1,
		})
		switch {
		case err != nil:
			errs = append(errs, err)
		case mod == nil:
			errs = append(errs, fmt.Errorf("%s: no package: the file is empty", shown))
		default:
			mods[shown] = mod
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if len(mods) == 0 {
		return nil, fmt.Errorf("%s holds no .rego file", s.name)
	}
	return mods, nil
}

func (s sources) shownName(name string) string {
	if s.name == EmbeddedSource {
		return "policies/" + name
	}
	return path.Join(s.name, name)
}

// store holds the base documents.
func (s sources) store() (storage.Store, error) {
	docs, err := s.documents()
	if err != nil {
		return nil, err
	}
	return storeOf(docs), nil
}

func storeOf(docs map[string]any) storage.Store {
	return inmem.NewFromObjectWithOpts(docs, inmem.OptReturnASTValuesOnRead(true))
}

// documents reads the base documents: sandgate/config/data.json is data.sandgate.config.
func (s sources) documents() (map[string]any, error) {
	root := map[string]any{}
	for _, name := range s.names() {
		base := path.Base(name)
		if base != "data.json" && base != "data.yaml" {
			continue
		}
		doc, err := decodeData(s.files[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.shownName(name), err)
		}
		if err := graft(root, path.Dir(name), doc); err != nil {
			return nil, fmt.Errorf("%s: %w", s.shownName(name), err)
		}
	}
	return root, nil
}

func decodeData(raw []byte) (map[string]any, error) {
	asJSON, err := yaml.YAMLToJSONStrict(raw)
	if err != nil {
		return nil, err
	}
	doc := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(asJSON))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	return doc, nil
}

// graft puts the members of doc below the folder dir of root. Two files must
// not say the same, since which of them counts would be chance.
func graft(root map[string]any, dir string, doc map[string]any) error {
	at := root
	if dir != "." {
		for key := range strings.SplitSeq(dir, "/") {
			if _, taken := at[key]; !taken {
				at[key] = map[string]any{}
			}
			next, ok := at[key].(map[string]any)
			if !ok {
				return fmt.Errorf("another file gives %q a value", key)
			}
			at = next
		}
	}
	for key, value := range doc {
		if _, taken := at[key]; taken {
			return fmt.Errorf("%q is given by another file too", key)
		}
		at[key] = value
	}
	return nil
}

// capabilities are the built-ins that a policy may use: none that reaches the
// network, reads the daemon's environment or the clock, or is random. The time
// of a call is input.time.
func capabilities() *ast.Capabilities {
	caps := ast.CapabilitiesForThisVersion()
	caps.Builtins = slices.DeleteFunc(slices.Clone(caps.Builtins), func(b *ast.Builtin) bool {
		return b.Nondeterministic || slices.Contains(forbiddenBuiltins, b.Name)
	})
	caps.AllowNet = []string{} // schemas neither
	return caps
}

// forbiddenBuiltins are forbidden by name, whatever OPA says about them.
var forbiddenBuiltins = []string{
	"http.send", "net.lookup_ip_addr", "opa.runtime", "time.now_ns", "rand.intn", "uuid.rfc4122",
	// These can take any time and memory in one call, which nothing stops.
	"graph.reachable_paths", "regex.globs_match", "strings.render_template", "bits.lsh", "net.cidr_expand",
	"rego.parse_module", "json.match_schema", "json.verify_schema", "providers.aws.sign_req",
	"graphql.parse", "graphql.parse_and_verify", "graphql.parse_query", "graphql.parse_schema", "graphql.is_valid", "graphql.schema_is_valid",
}

// compile makes a compiler of the modules: strict, typed by the input schema,
// without the forbidden built-ins. Modules of data.system, which mask OPA's
// decision logs, have another input; they are checked and left out.
func compile(ctx context.Context, mods map[string]*ast.Module, store storage.Store, caps *ast.Capabilities) (*ast.Compiler, error) {
	schemas, err := schemaSet()
	if err != nil {
		return nil, err
	}
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, err
	}
	defer store.Abort(ctx, txn)
	strict := func() *ast.Compiler {
		return ast.NewCompiler().WithCapabilities(caps).WithStrict(true).
			WithPathConflictsCheck(storage.NonEmpty(ctx, store, txn))
	}
	deciding := maps.Clone(mods)
	maps.DeleteFunc(deciding, func(_ string, mod *ast.Module) bool { return mod.Package.Path.HasPrefix(systemRef) })
	if len(deciding) < len(mods) {
		all := map[string]*ast.Module{}
		for name, mod := range mods {
			all[name] = mod.Copy()
		}
		if err := compileErrors(strict(), all); err != nil {
			return nil, err
		}
	}
	compiler := strict().WithSchemas(schemas).WithUseTypeCheckAnnotations(true)
	return compiler, compileErrors(compiler, deciding)
}

// systemRef is what OPA keeps for itself: masks of its logs, manifests of bundles.
var systemRef = ast.MustParseRef("data.system")

func compileErrors(compiler *ast.Compiler, mods map[string]*ast.Module) error {
	compiler.Compile(mods)
	if !compiler.Failed() {
		return nil
	}
	for _, e := range compiler.Errors {
		for _, name := range forbiddenBuiltins {
			if strings.HasSuffix(e.Message, "undefined function "+name) {
				return fmt.Errorf("%w (%s is not available to policies: a decision must follow from its input alone, in a bounded time)",
					compiler.Errors, name)
			}
		}
	}
	return compiler.Errors
}

// schemaSet are the schemas of the library: input types the input of every
// policy, whether it is annotated or not.
func schemaSet() (*ast.SchemaSet, error) {
	set := ast.NewSchemaSet()
	for name, file := range map[string]string{"input": "input.json", "decision": "decision/decision.json"} {
		raw, err := policies.FS.ReadFile("schemas/" + file)
		if err != nil {
			return nil, fmt.Errorf("schema %s: %w", name, err)
		}
		var schema any
		if err := json.Unmarshal(raw, &schema); err != nil {
			return nil, fmt.Errorf("schema %s: %w", name, err)
		}
		set.Put(ast.SchemaRootRef.Append(ast.StringTerm(name)), schema)
		if name == "input" {
			set.Put(ast.SchemaRootRef, schema)
		}
	}
	return set, nil
}
