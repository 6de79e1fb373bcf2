package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
)

// The entry points of every policy.
const (
	decisionQuery = "data.sandgate.decision"
	visibleQuery  = "data.sandgate.visible"
	profilesRef   = "data.sandgate.profiles"
)

// revision is one policy, compiled and proved fit to decide. Immutable.
type revision struct {
	id       string
	source   string
	files    []string
	profiles []string
	decision query
	visible  query
	effects  query
	rules    ruleIndex

	needs     needs
	constants *constants
	memo      *memo // nil: none
	standing  *standing
}

// load makes a revision of what the configuration names, or says why it must
// not decide.
func load(ctx context.Context, cfg Config) (*revision, error) {
	src, err := readSources(cfg.Dir)
	if err != nil {
		return nil, err
	}
	return makeRevision(ctx, cfg, src)
}

// makeRevision compiles what was read.
func makeRevision(ctx context.Context, cfg Config, src sources) (*revision, error) {
	boundBuiltins()
	if err := src.check(); err != nil {
		return nil, err
	}
	id, err := src.revision()
	if err != nil {
		return nil, err
	}
	caps := capabilities()
	mods, err := src.modules(caps, false)
	if err != nil {
		return nil, err
	}
	docs, err := src.documents()
	if err != nil {
		return nil, err
	}
	store := storeOf(docs)
	inlineFunctions(mods)
	guardRules(mods)
	barRules(mods, docs)
	compiler, err := compile(ctx, mods, store, caps)
	if err != nil {
		return nil, src.compileError(ctx, caps, store, err)
	}
	if err := checkEntryPoints(compiler); err != nil {
		return nil, err
	}
	rev := &revision{
		id: id, source: src.name, files: src.names(),
		profiles: profileNames(compiler), rules: indexRules(compiler),
		needs: needsOf(compiler), constants: newConstants(cfg.Ceiling),
	}
	rev.standing = newStanding(compiler)
	patterns := newPatternCache(ctx)
	if rev.decision, err = prepareQuery(compiler, store, patterns, decisionQuery); err != nil {
		return nil, err
	}
	rev.memo = newMemo(rev.needs, newWordUse(compiler, rev.decision.body))
	if rev.visible, err = prepareQuery(compiler, store, patterns, visibleQuery); err != nil {
		return nil, err
	}
	if rev.effects, err = prepareQuery(compiler, store, patterns, effectsQuery); err != nil {
		return nil, err
	}
	return rev, errors.Join(checkSamples(ctx, cfg, rev), checkEffects(ctx, cfg, rev))
}

// compileError says what is wrong with the rules as they are written, since the
// guarded ones may be several for one.
func (s sources) compileError(ctx context.Context, caps *ast.Capabilities, store storage.Store, guarded error) error {
	mods, err := s.modules(caps, false)
	if err != nil {
		return err
	}
	if _, err := compile(ctx, mods, store, caps); err != nil {
		return err
	}
	return guarded
}

// checkEntryPoints sees that the policy can answer at all, and that its answer
// is a deny where nothing else is defined.
func checkEntryPoints(compiler *ast.Compiler) error {
	rules := compiler.GetRulesExact(ast.MustParseRef(decisionQuery))
	if len(rules) == 0 {
		return fmt.Errorf("%s is not defined: a policy needs a rule `decision` in the package sandgate", decisionQuery)
	}
	at := slices.IndexFunc(rules, func(r *ast.Rule) bool { return r.Default })
	if at < 0 {
		return fmt.Errorf("%s has no default: add `default decision := {\"outcome\": \"deny\", …}`", decisionQuery)
	}
	if outcome := rules[at].Head.Value; outcome == nil || stringAt(outcome.Value, "outcome") != string(Deny) {
		return fmt.Errorf("the default of %s must have the outcome \"deny\"", decisionQuery)
	}
	if len(compiler.GetRulesExact(ast.MustParseRef(visibleQuery))) == 0 {
		return fmt.Errorf("%s is not defined: without it no tool can be shown to anybody", visibleQuery)
	}
	return nil
}

// profileNames lists the packages directly below data.sandgate.profiles.
func profileNames(compiler *ast.Compiler) []string {
	prefix := ast.MustParseRef(profilesRef)
	var names []string
	for _, mod := range compiler.Modules {
		ref := mod.Package.Path
		if !ref.HasPrefix(prefix) || len(ref) != len(prefix)+1 {
			continue
		}
		if name, ok := ref[len(prefix)].Value.(ast.String); ok && !slices.Contains(names, string(name)) {
			names = append(names, string(name))
		}
	}
	slices.Sort(names)
	return names
}

// checkSamples evaluates inputs that no policy may allow. The point is not the
// inputs but the policies: one that allows them allows by omission.
func checkSamples(ctx context.Context, cfg Config, rev *revision) error {
	cfg.Ceiling = SandboxObligations{} // which the samples do not tell the policy
	e := &Engine{cfg: cfg}
	var errs []error
	for _, sample := range samples(rev.profiles) {
		value, err := parseInput([]byte(sample.input))
		if err != nil {
			return err
		}
		d := e.evaluate(ctx, rev, value)
		if d.Outcome == Allow {
			errs = append(errs, fmt.Errorf("the policy allows %s: %s", sample.name, sample.input))
		}
		// A policy may well deny; but what it says has to be a decision.
		if rule := d.Reasons[0].Rule; strings.HasPrefix(rule, reservedPrefix) {
			errs = append(errs, fmt.Errorf("the policy gives no valid decision on %s: %s: %s", sample.name, rule, d.Reasons[0].Message))
		}
	}
	return errors.Join(errs...)
}

type sample struct{ name, input string }

func samples(profiles []string) []sample {
	list := []sample{
		{"an empty input", `{}`},
		{"an input that is only a schema", `{"schema": "sandgate.input/v1"}`},
		{"a call of an unknown profile", `{"schema": "sandgate.input/v1", "session": {"profile": "sandgate-no-such-profile"},
			"call": {"id": "1", "tool": "bash", "args": {"command": "ls"}}, "tool": {"name": "bash"}}`},
		{"a call without a session", `{"schema": "sandgate.input/v1", "call": {"tool": "bash"}, "tool": {"name": "bash"}}`},
	}
	for _, profile := range profiles {
		name, err := json.Marshal(profile)
		if err != nil {
			continue
		}
		list = append(list,
			sample{"an input of another schema in the profile " + profile, fmt.Sprintf(`{"schema": "other/v9", "session": {"profile": %s},
				"call": {"tool": "bash", "args": {}}, "tool": {"name": "bash"}}`, name)},
			sample{
				"a call of no tool in the profile " + profile,
				fmt.Sprintf(`{"schema": "sandgate.input/v1", "session": {"profile": %s}}`, name),
			},
			sample{"a call of a tool that is not declared in the profile " + profile, fmt.Sprintf(
				`{"schema": "sandgate.input/v1", "session": {"profile": %s}, "call": {"tool": "bash", "args": {}}}`, name)})
	}
	return list
}
