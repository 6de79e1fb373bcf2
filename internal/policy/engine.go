package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// DefaultDecisionTimeout is Config.DecisionTimeout when it is zero. A decision
// takes well under a millisecond; this bounds a policy that went wrong, also on
// a machine that is busy.
const DefaultDecisionTimeout = time.Second

// Config of an Engine.
type Config struct {
	// Dir is the directory of the policy. It replaces the default library as a
	// whole. Empty means the embedded default library.
	Dir string
	// NoPolicy begins without a policy, whatever Dir says: Activate gives it one.
	NoPolicy bool
	// DecisionTimeout bounds one evaluation; a call whose decision takes longer
	// is denied. Zero means DefaultDecisionTimeout.
	DecisionTimeout time.Duration
	// Ceiling is what the daemon allows at most: it is shown to the policy, and a
	// decision that demands more is a deny. Zero fields are no bound.
	Ceiling SandboxObligations
	// Isolations are the isolation classes that this daemon can make. Empty means
	// runc alone. A decision that demands another is a deny.
	Isolations []string
	// Version of the daemon, shown to the policy.
	Version string
	// Environment is where the daemon runs ("production"), shown to the policy:
	// rules have a mode in each. Empty: none.
	Environment string
}

// Engine decides calls. It is safe for concurrent use; a decision sees one
// revision of the policy from its beginning to its end.
type Engine struct {
	cfg     Config
	current atomic.Pointer[revision] // nil: no policy was ever valid

	reload sync.Mutex // serialises Reload

	keys keys // of memos

	mu     sync.Mutex // guards status; never held while a policy is loaded
	status Status
}

// Status tells which policy decides, and what became of the newest attempt.
type Status struct {
	Revision string    `json:"revision"`          // empty: no policy is loaded
	Source   string    `json:"source"`            // EmbeddedSource or the directory
	LoadedAt time.Time `json:"loaded_at"`         // of Revision
	Files    []string  `json:"files"`             // of Revision, sorted
	Profiles []string  `json:"profiles"`          // of Revision, sorted
	Error    string    `json:"error,omitempty"`   // why the newest attempt was refused
	ErrorAt  time.Time `json:"error_at,omitzero"` // of that attempt
}

// New makes an engine and loads its policy. A policy that is refused is not an
// error of New: the engine then denies every call with RuleNoPolicy and Ready
// says why, until Reload finds a good one. The error is for an invalid Config.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	if cfg.DecisionTimeout < 0 {
		return nil, fmt.Errorf("decision timeout %s is negative", cfg.DecisionTimeout)
	}
	if cfg.DecisionTimeout == 0 {
		cfg.DecisionTimeout = DefaultDecisionTimeout
	}
	if len(cfg.Isolations) == 0 {
		cfg.Isolations = []string{"runc"}
	}
	for _, problem := range checkSandbox(cfg.Ceiling, SandboxObligations{}, nil) {
		return nil, fmt.Errorf("ceiling: %s", problem.message)
	}
	e := &Engine{cfg: cfg}
	if cfg.NoPolicy {
		e.status.Error = "none has been given yet"
		return e, nil
	}
	_ = e.Reload(ctx) // kept in the status
	return e, nil
}

// Reload reads the policy anew. One that is refused changes nothing but the
// status: what decided before goes on deciding.
func (e *Engine) Reload(ctx context.Context) error {
	e.reload.Lock()
	defer e.reload.Unlock()
	rev, err := load(ctx, e.cfg)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.status.Error, e.status.ErrorAt = err.Error(), time.Now().UTC()
		if e.status.Source == "" {
			e.status.Source = sourceName(e.cfg.Dir)
		}
		return err
	}
	e.current.Store(rev)
	e.status = Status{
		Revision: rev.id, Source: rev.source, LoadedAt: time.Now().UTC(),
		Files: rev.files, Profiles: rev.profiles,
	}
	return nil
}

func sourceName(dir string) string {
	if dir == "" {
		return EmbeddedSource
	}
	return dir
}

// Status reports which policy decides.
func (e *Engine) Status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.status
	s.Files, s.Profiles = slices.Clone(s.Files), slices.Clone(s.Profiles)
	return s
}

// Revision is the id of the policy that decides now; empty: there is none.
func (e *Engine) Revision() string {
	if rev := e.current.Load(); rev != nil {
		return rev.id
	}
	return ""
}

// Ready returns nil when a policy is loaded, otherwise why not.
func (e *Engine) Ready() error {
	if e.current.Load() != nil {
		return nil
	}
	return fmt.Errorf("no policy is loaded: %s", e.Status().Error)
}

// Complete fills what only the engine and the clock know: schema, decision id,
// time, ceiling, version and revision, and makes absent lists and maps empty.
// Decide does it too; it is for those who want to keep the very document that
// was decided.
func (e *Engine) Complete(in Input) Input {
	return e.complete(in, e.current.Load())
}

func (e *Engine) complete(in Input, rev *revision) Input {
	in.Schema = InputSchema
	if in.DecisionID == "" {
		if id, err := uuid.NewV7(); err == nil {
			in.DecisionID = id.String()
		}
	}
	if in.Time == "" {
		in.Time = time.Now().UTC().Format(time.RFC3339Nano)
	}
	in.Sandbox.Ceiling = e.cfg.Ceiling
	in.Daemon.Version = e.cfg.Version
	if in.Daemon.Environment == "" { // policy tools name their own
		in.Daemon.Environment = e.cfg.Environment
	}
	if rev != nil {
		in.Daemon.Revision = rev.id
	}
	in.normalise()
	return in
}

// Decide decides a call. It never fails: what goes wrong is a deny with one of
// the reserved rule ids.
func (e *Engine) Decide(ctx context.Context, in Input) Decision {
	rev := e.current.Load()
	in = e.complete(in, rev)
	if rev == nil {
		return stamp(e.noPolicy(), in, "")
	}
	value, err := in.valueOf(rev.needs, rev.constants)
	if err != nil {
		return stamp(refuse(RuleInvalidInput, "the policy input cannot be made: "+err.Error(),
			"send arguments that are valid JSON"), in, rev.id)
	}
	return stamp(e.remembered(ctx, rev, value), in, rev.id)
}

// remembered decides an input that the engine made, unless the revision has
// decided the same one lately.
func (e *Engine) remembered(ctx context.Context, rev *revision, input ast.Value) Decision {
	if ctx.Err() != nil {
		return e.refuseEvaluation(ctx, ctx.Err())
	}
	if rev.memo == nil {
		d, _ := e.said(ctx, rev, input, rev.standing)
		return d
	}
	w := e.keys.get()
	defer e.keys.put(w)
	if !w.of(input) { // too large to be kept
		d, _ := e.said(ctx, rev, input, rev.standing)
		return d
	}
	d, found, watch := rev.memo.find(w)
	if found {
		return d
	}
	var said bool
	if watch == nil {
		d, said = e.said(ctx, rev, input, rev.standing)
	} else {
		d, said = e.said(ctx, rev, input, rev.standing, watch)
	}
	if said {
		rev.memo.keep(w, d, watch)
	}
	return d
}

func stamp(d Decision, in Input, revision string) Decision {
	d.ID, d.Profile, d.Revision = in.DecisionID, in.Session.Profile, revision
	return d
}

func (e *Engine) noPolicy() Decision {
	return refuse(RuleNoPolicy, "no valid policy is loaded, so nothing is allowed", askOperator)
}

// EvalRaw decides an input document as it is, with nothing filled in but
// call.shell.programs, which follows from the commands, and returns the decision
// as JSON. The error is for a document that is not a JSON
// object; everything else is in the decision.
func (e *Engine) EvalRaw(ctx context.Context, input []byte) (json.RawMessage, error) {
	value, err := parseInput(input)
	if err != nil {
		return nil, err
	}
	d := e.decideValue(ctx, value)
	out, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode decision: %w", err)
	}
	return out, nil
}

func (e *Engine) decideValue(ctx context.Context, value ast.Value, tracers ...topdown.QueryTracer) Decision {
	in := Input{DecisionID: stringAt(value, "decision_id")}
	in.Session.Profile = stringAt(value, "session", "profile")
	rev := e.current.Load()
	if rev == nil {
		return stamp(e.noPolicy(), in, "")
	}
	return stamp(e.evaluate(ctx, rev, withPrograms(value), tracers...), in, rev.id)
}

// evaluate runs the policy over one input and validates what it says.
func (e *Engine) evaluate(ctx context.Context, rev *revision, input ast.Value, tracers ...topdown.QueryTracer) Decision {
	d, _ := e.said(ctx, rev, input, nil, tracers...)
	return d
}

// said tells beside the decision whether the policy made it: it follows from the
// input alone, and not from what happened meanwhile. Standing documents are for
// inputs that the engine made; nil: none are used.
func (e *Engine) said(ctx context.Context, rev *revision, input ast.Value, known *standing, tracers ...topdown.QueryTracer) (Decision, bool) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.cfg.DecisionTimeout, errDecisionTimeout)
	defer cancel()
	answers, err := rev.decision.askKnowing(ctx, input, known, tracers...)
	if err != nil || ctx.Err() != nil {
		return e.refuseEvaluation(ctx, err), false
	}
	return validate(answers, e.cfg), true
}

var errDecisionTimeout = errors.New("decision timeout")

func (e *Engine) refuseEvaluation(ctx context.Context, err error) Decision {
	switch {
	case errors.Is(context.Cause(ctx), errDecisionTimeout):
		return refuse(RuleTimeout, fmt.Sprintf("the policy did not decide within %s", e.cfg.DecisionTimeout), askOperator)
	case ctx.Err() != nil, topdown.IsCancel(err):
		return refuse(RuleCancelled, "the caller went away before the policy had decided", "send the call again")
	}
	return refuse(RuleEvaluationError, "the evaluation of the policy failed: "+err.Error(), askOperator)
}

// Visible returns the names of those of tools that the caller may be shown,
// sorted. An error means that it is not known, so that none must be shown.
func (e *Engine) Visible(ctx context.Context, in Input, tools []ToolInput) ([]string, error) {
	rev := e.current.Load()
	if rev == nil {
		return nil, e.Ready()
	}
	in = e.complete(in, rev)
	in.Tools = tools
	in.normalise()
	value, err := in.valueOf(rev.needs, rev.constants)
	if err != nil {
		return nil, fmt.Errorf("policy input: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, e.cfg.DecisionTimeout, errDecisionTimeout)
	defer cancel()
	answers, err := rev.visible.ask(ctx, value)
	if err != nil {
		return nil, fmt.Errorf("evaluate data.sandgate.visible: %w", err)
	}
	return visibleNames(answers, tools)
}

func visibleNames(answers []ast.Value, tools []ToolInput) ([]string, error) {
	if len(answers) != 1 {
		return nil, errors.New("data.sandgate.visible is undefined")
	}
	var list []string
	r := reader{left: maxAnswerBytes}
	if p := r.read(answers[0], reflect.ValueOf(&list).Elem(), nil); p != nil {
		return nil, fmt.Errorf("data.sandgate.visible is no set of tool names: %s", p.message)
	}
	names := []string{}
	for _, name := range list {
		if slices.ContainsFunc(tools, func(t ToolInput) bool { return t.Name == name }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// parseInput reads one JSON object and nothing after it.
func parseInput(raw []byte) (ast.Value, error) {
	value, err := parseJSON(raw)
	if err != nil {
		return nil, fmt.Errorf("policy input: %w", err)
	}
	if _, ok := value.(ast.Object); !ok {
		return nil, fmt.Errorf("policy input is %s, want a JSON object", ast.ValueName(value))
	}
	return value, nil
}

func stringAt(value ast.Value, keys ...string) string {
	for _, key := range keys {
		obj, ok := value.(ast.Object)
		if !ok {
			return ""
		}
		term := obj.Get(ast.StringTerm(key))
		if term == nil {
			return ""
		}
		value = term.Value
	}
	s, ok := value.(ast.String)
	if !ok {
		return ""
	}
	return string(s)
}
