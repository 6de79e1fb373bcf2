package gate

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/seen"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// What the journal keeps of a call at most.
const (
	maxRecordedArgs  = 64 << 10
	maxRecordedEnv   = 16 << 10
	auditLevelShape  = "shape"
	outcomeNotRun    = "NOT_RUN" // only in the journal: the intent came to nothing
	maxRecordedError = 1 << 10
)

// callData is the data of an intent and of a decision that refuses.
type callData struct {
	Outcome      Outcome             `json:"outcome,omitempty"` // of a refusal
	Digest       string              `json:"digest"`
	Tool         string              `json:"tool"`
	Args         json.RawMessage     `json:"args,omitempty"`
	ArgsShape    map[string]any      `json:"args_shape,omitempty"` // instead of Args
	Cwd          string              `json:"cwd"`
	Env          json.RawMessage     `json:"env,omitempty"`
	EnvNames     []string            `json:"env_names,omitempty"` // instead of Env
	StdinDigest  string              `json:"stdin_digest,omitempty"`
	StdinBytes   *int64              `json:"stdin_bytes,omitempty"`
	WorkspaceDir string              `json:"workspace_dir,omitempty"`
	Profile      string              `json:"profile"`
	Detached     bool                `json:"detached,omitempty"`
	Terminal     bool                `json:"terminal,omitempty"`
	Agent        *policy.AgentInput  `json:"agent,omitempty"`
	Peer         *policy.CallerInput `json:"peer,omitempty"`
	Decision     policy.Decision     `json:"decision"`
	Cage         *cageData           `json:"cage,omitempty"`   // of an intent
	Permit       *grant.Permit       `json:"permit,omitempty"` // of an intent: why it runs though policy asks
	Saw          *seen.Call          `json:"saw,omitempty"`    // what else the policy saw; not where Args are left out
}

// cageData is what the sandbox was asked to enforce.
type cageData struct {
	SandboxID string `json:"sandbox_id"`
	Image     string `json:"image,omitempty"`
	Isolation string `json:"isolation,omitempty"`
	Reuse     string `json:"reuse"`
	ReadOnly  bool   `json:"read_only,omitempty"`
	// Stage is where the changes of a transactional call are put before they are
	// committed. Empty: it is none.
	Stage string `json:"stage,omitempty"`
	// Mounts are what the sandbox was asked for; the decision may say more of what
	// makes no difference.
	Mounts []sandbox.Mount `json:"mounts,omitempty"`

	WallTimeMs       int64 `json:"wall_time_ms"`
	CPUMillis        int64 `json:"cpu_millis"`
	MemoryBytes      int64 `json:"memory_bytes"`
	Pids             int64 `json:"pids"`
	OutputBytes      int64 `json:"output_bytes"`
	OutputTotalBytes int64 `json:"output_total_bytes,omitempty"`
	DiskBytes        int64 `json:"disk_bytes"`
	FileBytes        int64 `json:"file_bytes,omitempty"`
	OpenFiles        int64 `json:"open_files,omitempty"`
}

// outcomeData is the data of an outcome.
type outcomeData struct {
	Outcome     Outcome          `json:"outcome"`
	Tool        string           `json:"tool,omitempty"` // so that auditors find it by both
	Digest      string           `json:"digest"`
	ExitCode    int              `json:"exit_code"`
	Signal      string           `json:"signal,omitempty"`
	IsError     bool             `json:"is_error"`
	Message     string           `json:"message,omitempty"`
	Redactions  map[string]int64 `json:"redactions,omitempty"`
	StdoutBytes int64            `json:"stdout_bytes"`
	StderrBytes int64            `json:"stderr_bytes"`
	ResultBytes int64            `json:"result_size_bytes"`
	QueueMs     float64          `json:"queue_ms"`
	DecideMs    float64          `json:"decide_ms"`
	StartMs     float64          `json:"start_ms"`
	RunMs       float64          `json:"run_ms"`
	// OutputDigest is of the output in the result and LogDigest of all that followers
	// were told where that is more, in the form in which they are stored; empty: not.
	OutputDigest string           `json:"output_digest,omitempty"`
	LogDigest    string           `json:"log_digest,omitempty"`
	Usage        *usageData       `json:"usage,omitempty"`
	Receipt      *sandbox.Receipt `json:"receipt,omitempty"`
	Effects      *Effects         `json:"effects,omitempty"`
}

type usageData struct {
	CPUUserMs       float64 `json:"cpu_user_ms"`
	CPUSystemMs     float64 `json:"cpu_system_ms"`
	MemoryPeakBytes int64   `json:"memory_peak_bytes"`
	PidsPeak        int64   `json:"pids_peak"`
	OOMKills        int64   `json:"oom_kills"`
}

func (w *way) entry(kind journal.Kind, data any) journal.Entry {
	return journal.Entry{Kind: kind, Caller: w.call.Caller.ID, Session: w.call.SessionID, CallID: w.call.ID, Data: data}
}

// append writes a record even when the host has gone away meanwhile.
func (w *way) append(ctx context.Context, e journal.Entry) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), recordTimeout, errRecordTimeout)
	defer cancel()
	if _, err := w.gate.cfg.Journal.Append(ctx, e); err != nil {
		return recordError(e.Kind, w.call.ID, err)
	}
	return nil
}

func recordError(kind journal.Kind, call string, err error) error {
	return fmt.Errorf("record %s of call %q: %w", kind, call, err)
}

// intentData is what is about to run, with its decision.
func (w *way) intentData(c *sandbox.Call) *callData {
	data := w.callData()
	l := c.Limits
	data.Cage = &cageData{
		SandboxID: c.ID, Image: c.Image, Isolation: string(c.Isolation), Reuse: string(c.Reuse), ReadOnly: c.Workspace.ReadOnly, Mounts: c.Mounts, Stage: w.stage,
		WallTimeMs: l.WallTime.Milliseconds(), CPUMillis: l.CPUMillis, MemoryBytes: l.MemoryBytes, Pids: l.Pids,
		OutputBytes: l.OutputBytes, OutputTotalBytes: l.OutputTotalBytes, DiskBytes: l.DiskBytes, FileBytes: l.FileBytes, OpenFiles: l.OpenFiles,
	}
	data.Permit = w.permit
	return &data
}

func (w *way) recordDecision(ctx context.Context, outcome Outcome) error {
	data := w.callData()
	data.Outcome = outcome
	failpoint.At(failpoint.GateRefusalBefore)
	err := w.append(ctx, w.entry(journal.KindDecision, &data))
	failpoint.At(failpoint.GateRefusalAfter)
	return err
}

// beginOutcome begins to write the outcome, also when the host has gone away
// meanwhile. written waits until it is on disk, and is to be called once.
func (w *way) beginOutcome(ctx context.Context, r *Result) (written func() error) {
	failpoint.At(failpoint.GateOutcomeBefore)
	data := outcomeOf(*r)
	data.Tool = w.tool.Name
	data = w.stored.in(data)
	bound, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), recordTimeout, errRecordTimeout)
	pending := w.gate.cfg.Journal.Begin(bound, w.entry(journal.KindOutcome, &data))
	return func() error {
		defer cancel()
		_, err := pending.Wait(bound)
		failpoint.At(failpoint.GateOutcomeAfter)
		if err != nil {
			return recordError(journal.KindOutcome, w.call.ID, err)
		}
		return nil
	}
}

func (w *way) recordNotRun(ctx context.Context, cause error) error {
	text := cause.Error()
	return w.append(ctx, w.entry(journal.KindOutcome, &outcomeData{
		Tool:    w.tool.Name,
		Outcome: outcomeNotRun, Digest: w.digest, ExitCode: -1, IsError: true, Message: text[:min(len(text), maxRecordedError)],
	}))
}

func (w *way) callData() callData {
	c := &w.call
	data := callData{
		Digest: w.digest, Tool: w.tool.Name, Cwd: c.Cwd, StdinDigest: c.StdinDigest, StdinBytes: c.StdinBytes,
		WorkspaceDir: c.WorkspaceDir, Profile: w.profile, Detached: c.Detach, Terminal: c.Terminal != nil, Decision: w.decision,
	}
	data.Decision.Obligations.Exec.EnvSet = journal.MaskEnv(w.decision.Obligations.Exec.EnvSet)
	if a := (policy.AgentInput{Name: c.Agent.Name, Version: c.Agent.Version, Model: c.Agent.Model}); a != (policy.AgentInput{}) {
		data.Agent = &a
	}
	peer := callerInput(c.Caller)
	data.Peer = &peer
	if w.decision.Obligations.Audit.Level == auditLevelShape {
		data.ArgsShape = journal.Shape(c.Args)
		if t := data.Decision.Transform; t != nil {
			data.Decision.Transform = &policy.Transform{From: t.From, To: t.To}
		}
		data.EnvNames = sortedKeys(c.Env)
		return data
	}
	data.Args = journal.Bound(c.Args, maxRecordedArgs)
	data.Saw = w.gate.lives.short(c.Caller.ID, c.SessionID, w.saw)
	if t := data.Decision.Transform; t != nil {
		data.Decision.Transform = &policy.Transform{From: t.From, To: t.To, Args: journal.Bound(t.Args, maxRecordedArgs)}
	}
	if env := journal.MaskEnv(c.Env); len(env) > 0 {
		raw, err := json.Marshal(env)
		if err != nil {
			data.EnvNames = sortedKeys(c.Env)
			return data
		}
		data.Env = journal.Bound(raw, maxRecordedEnv)
	}
	return data
}

func outcomeOf(r Result) outcomeData {
	out := outcomeData{
		Outcome: r.Outcome, Digest: r.Digest, ExitCode: r.ExitCode, Signal: r.Signal, IsError: r.IsError, Message: r.Message,
		StdoutBytes: r.Stdout.TotalBytes, StderrBytes: r.Stderr.TotalBytes, ResultBytes: r.ResultSizeBytes,
		QueueMs: millis(r.Duration.Queue), DecideMs: millis(r.Duration.Decide), StartMs: millis(r.Duration.Start), RunMs: millis(r.Duration.Run),
		Receipt: r.Receipt, Redactions: r.Redactions, Effects: r.Effects,
	}
	if r.Receipt != nil {
		out.Usage = &usageData{
			CPUUserMs: millis(r.Usage.CPUUser), CPUSystemMs: millis(r.Usage.CPUSystem),
			MemoryPeakBytes: r.Usage.MemoryPeakBytes, PidsPeak: r.Usage.PidsPeak, OOMKills: r.Usage.OOMKills,
		}
	}
	return out
}
