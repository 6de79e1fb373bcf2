package policy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// This file is what the tools of policy authors, the packages below this one,
// need of it: the files of a policy as the daemon reads them, compiled under its
// rules, and its answers judged as the engine judges them.

// DecisionRef is the document that decides, VisibleRef the one that says which
// tools are shown.
const (
	DecisionRef = decisionQuery
	VisibleRef  = visibleQuery
)

// ReservedPrefix marks the rule ids that only sandgate itself may use.
const ReservedPrefix = reservedPrefix

// Source is the files of one policy, read and not yet understood. It is
// immutable and safe for concurrent use.
type Source struct{ src sources }

// OpenSource reads the policy of a directory, or the default library for "".
func OpenSource(dir string) (Source, error) {
	src, err := readSources(dir)
	return Source{src}, err
}

// Name is EmbeddedSource or the directory.
func (s Source) Name() string { return s.src.name }

// Files are the names of the files below the source, sorted.
func (s Source) Files() []string { return slices.Sorted(maps.Keys(s.src.files)) }

// Body is the content of one of Files. It must not be changed.
func (s Source) Body(name string) []byte { return s.src.files[name] }

// Shown is the name of one of Files in messages: with the directory before it.
func (s Source) Shown(name string) string { return s.src.shownName(name) }

// Modules parses the Rego, with its tests if wanted, by the names that messages
// show. The error names every file that cannot be parsed.
func (s Source) Modules(tests bool) (map[string]*ast.Module, error) {
	return s.src.modules(capabilities(), tests)
}

// Store holds the data files.
func (s Source) Store() (storage.Store, error) { return s.src.store() }

// Capabilities are the built-ins that a policy may use.
func Capabilities() *ast.Capabilities { return capabilities() }

// ForbiddenBuiltin reports whether OPA has a built-in function of that name that
// policies may not use.
func ForbiddenBuiltin(name string) bool {
	return slices.Contains(forbiddenBuiltins, name) || slices.ContainsFunc(
		ast.CapabilitiesForThisVersion().Builtins, func(b *ast.Builtin) bool { return b.Name == name && b.Nondeterministic })
}

// Compile compiles modules as the daemon does: strict, typed by the input
// schema, without the forbidden built-ins.
func Compile(ctx context.Context, mods map[string]*ast.Module, store storage.Store) (*ast.Compiler, error) {
	return compile(ctx, mods, store, capabilities())
}

// NewLooseCompiler makes a compiler with the schemas and capabilities of the
// daemon that is not strict: for policies that a tool has changed.
func NewLooseCompiler() (*ast.Compiler, error) {
	schemas, err := schemaSet()
	if err != nil {
		return nil, err
	}
	return ast.NewCompiler().WithCapabilities(capabilities()).WithSchemas(schemas).WithUseTypeCheckAnnotations(true), nil
}

// CheckCompiled says why the daemon would refuse to decide by a policy that
// compiles: an entry point is missing, or it allows what no policy may allow.
func CheckCompiled(ctx context.Context, compiler *ast.Compiler, store storage.Store) error {
	if err := checkEntryPoints(compiler); err != nil {
		return err
	}
	rev := &revision{profiles: profileNames(compiler)}
	var err error
	if rev.decision, err = prepareQuery(compiler, store, newPatternCache(ctx), decisionQuery); err != nil {
		return err
	}
	return checkSamples(ctx, Config{DecisionTimeout: DefaultDecisionTimeout, Isolations: []string{"runc", "gvisor"}}, rev)
}

// Question is one document of a compiled policy, to be asked for many times. It
// is safe for concurrent use.
type Question struct{ q query }

// NewQuestion prepares the question what the document at ref is.
func NewQuestion(ctx context.Context, compiler *ast.Compiler, store storage.Store, ref string) (Question, error) {
	q, err := prepareQuery(compiler, store, newPatternCache(ctx), ref)
	return Question{q}, err
}

// Ask returns what the document is for the input: nothing where it is undefined.
func (q Question) Ask(ctx context.Context, input ast.Value, tracers ...topdown.QueryTracer) ([]ast.Value, error) {
	return q.q.ask(ctx, input, tracers...)
}

// InputValue is a completed input as OPA takes it.
func InputValue(in Input) (ast.Value, error) { return in.value() }

// ParseInput reads an input document as EvalRaw does.
func ParseInput(raw []byte) (ast.Value, error) {
	value, err := parseInput(raw)
	if err != nil {
		return nil, err
	}
	return withPrograms(value), nil
}

// Judge validates what the decision document of a policy is, as the engine does
// it: what is no decision becomes a deny of sandgate's own.
func Judge(answers []ast.Value, cfg Config) Decision { return validate(answers, cfg) }

// DecideTraced is Decide under tracers.
func (e *Engine) DecideTraced(ctx context.Context, input ast.Value, tracers ...topdown.QueryTracer) Decision {
	return e.decideValue(ctx, input, tracers...)
}

// RuleSources says where the policy that decides speaks of a rule id.
func (e *Engine) RuleSources(rule string) []RuleSource {
	rev := e.current.Load()
	if rev == nil {
		return nil
	}
	return rev.rules[rule]
}

// IsTest reports whether a file holds Rego tests, which the daemon does not load.
func IsTest(name string) bool { return strings.HasSuffix(name, "_test.rego") }

// String names the source.
func (s Source) String() string { return fmt.Sprintf("policy %s", s.src.name) }
