package gate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/admission"
	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/grant"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/session"
	"github.com/sandgate/sandgate/internal/spool"
	"github.com/sandgate/sandgate/internal/telemetry"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/changeset"
)

// decider is what the gate needs of policy.Engine.
type decider interface {
	// Complete fills what only the engine knows into an input.
	Complete(in policy.Input) policy.Input
	// Decide never fails: what goes wrong is a deny.
	Decide(ctx context.Context, in policy.Input) policy.Decision
	// Visible returns the names of the tools that the caller may be shown.
	Visible(ctx context.Context, in policy.Input, tools []policy.ToolInput) ([]string, error)
}

// recorder is what the gate needs of journal.Journal.
type recorder interface {
	// Append returns when the record is on disk; after an error it does not count.
	Append(ctx context.Context, e journal.Entry) (int64, error)
	// Begin puts a record in line for the disk and returns.
	Begin(ctx context.Context, e journal.Entry) journal.Pending
}

// measurer is what the gate needs of telemetry.Recorder, of which nil is one
// that drops everything.
type measurer interface {
	// Ended is told of a call at its end; the trace is only valid meanwhile.
	Ended(ctx context.Context, t *telemetry.Trace, c telemetry.Call)
	Replayed()
	// Evaluated is told of a call that was only to be decided.
	Evaluated(ctx context.Context, t telemetry.Trace, c telemetry.Call)
}

// Profiles are the policy profiles that a caller may use.
type Profiles struct {
	// Default is used when the call names none. Empty: a call must name one.
	Default string
	// Allowed are those that a call may name; Default is always among them.
	Allowed []string
	// Tenant is whose caller it is. Empty: nobody's.
	Tenant string
}

// Config of a Gate.
type Config struct {
	Catalog  *catalog.Catalog // Required.
	Policy   decider          // Required.
	Runtime  sandbox.Runtime  // Required.
	Journal  recorder         // Required.
	Sessions *session.Manager // Required.

	// Profiles assigns profiles to callers. Required.
	Profiles func(Caller) Profiles
	// WorkspaceDirs says whether the caller may have the directory (absolute,
	// without symlinks) as its workspace; its error is shown to the caller. nil:
	// nobody may.
	WorkspaceDirs func(c Caller, dir string) error
	// Repositories says likewise whether the caller may have working trees of the git
	// repository in a directory. nil: nobody may.
	Repositories func(c Caller, dir string) error

	// Ceiling is what no call may exceed; Defaults is what a call gets where
	// neither policy nor tool says anything. Together they must leave no limit
	// at zero but output_total_bytes, file_bytes and open_files.
	Ceiling, Defaults policy.SandboxObligations
	// DefaultImage is for tools that name none. Empty: sandbox.HostImage.
	DefaultImage string

	// Admission bounds what runs at once. Default: 256 calls whatever they cost,
	// three quarters of them one caller's.
	Admission *admission.Line
	// Telemetry is told of every call. Optional.
	Telemetry measurer
	// Memory bounds what is kept of finished calls.
	Memory Memory
	// FileBounds bound uploads, downloads and snapshots.
	FileBounds FileBounds
	// Background bounds calls that run detached.
	Background Background
	// Output keeps the output of finished calls over a restart, and that which is
	// more than a result holds. Optional.
	Output *spool.Store
	// Files is where the output of running calls goes that is too much for the memory.
	// Optional.
	Files *spool.Files

	// Approvals are the questions to people about calls that policy asks about. nil:
	// nobody can answer, and such calls do not run.
	Approvals *approval.Manager
	// Grants are what approvers have allowed beforehand. nil: nothing.
	Grants *grant.Manager
	// Roles tells what somebody may approve. nil: nothing.
	Roles func(Caller) Roles
	// TurnWait is how long an approved call waits to be alone in its workspace, unless it
	// has a timeout that is shorter. Default one minute.
	TurnWait time.Duration
	// Identities tell which callers are the same principal. Optional: each is one of its own.
	Identities approval.Identities

	// Replay is what the journal told at start. Optional.
	Replay *Replay
	// Commits are those that the journal shows as begun and not ended. Optional.
	Commits *Commits
	Logger  *zap.Logger      // Optional.
	Now     func() time.Time // Optional.
}

// Memory bounds what the gate keeps of finished calls, so that a call that is
// sent again gets its result and does not run again.
type Memory struct {
	// Calls is how many finished calls are known at all, the oldest forgotten first
	// of the caller that has most: the window in which an id gets its result. Each takes
	// some 600 bytes. Default 50,000.
	Calls int
	// Forgotten is of how many calls before those the id alone is known, the oldest
	// forgotten first: one that ran is not run again. Each takes some 30 bytes. Default
	// 1,000,000; less than 0 is none.
	Forgotten int
	// OutputBytes bounds the memory of results that are kept whole: outputs, reasons,
	// receipts. Default 32 MiB.
	OutputBytes int64
	// OutputFor is how long a result is kept whole at most. Default one hour.
	OutputFor time.Duration
	// Detached is how many calls one caller may have in the background at once.
	// Default 16.
	Detached int
}

// Background bounds calls that run detached, beside all that bounds other calls.
type Background struct {
	// WallTime is the deadline of a detached call where neither policy nor its host
	// wants a shorter one. Default: the one of other calls.
	WallTime time.Duration
	// MaxWallTime is what no detached call may exceed, instead of the ceiling's.
	// Default: the ceiling's.
	MaxWallTime time.Duration
}

func (m Memory) withDefaults() Memory {
	if m.Calls == 0 {
		m.Calls = 50_000
	}
	if m.Forgotten == 0 {
		m.Forgotten = 1_000_000
	}
	if m.OutputBytes == 0 {
		m.OutputBytes = 32 << 20
	}
	if m.OutputFor == 0 {
		m.OutputFor = time.Hour
	}
	if m.Detached == 0 {
		m.Detached = 16
	}
	return m
}

// Gate is the one way of a call. It is safe for concurrent use.
type Gate struct {
	cfg     Config
	log     *zap.Logger
	now     func() time.Time
	ledger  *ledger
	commits locks // by workspace
	turns   turns // who works in which workspace
	watches *changeset.Watches
	lives   lives      // of sessions, as they were recorded
	running background // calls that no request waits for
	// deciding bounds the decisions that are made at once: they do nothing but use
	// processors, and many of one caller would leave none to the others.
	deciding *admission.Line
	// hashes are of files of approvals, for lists.
	hashes approval.Hashes
}

// decidePerCore is how many decisions are made at once for each processor.
const decidePerCore = 4

func newDecisionLine() (*admission.Line, error) {
	const any64 = math.MaxInt64 / 2
	return admission.New(admission.Config{
		Budget:     admission.Resources{Calls: decidePerCore * runtime.GOMAXPROCS(0), CPUMillis: any64, MemoryBytes: any64},
		MaxWaiting: 1 << 20, MaxWaitingPerCaller: 1 << 20, // the front bounds the open requests
	})
}

// recordTimeout bounds a write to the journal that must not be given up when
// the host goes away.
const recordTimeout = 30 * time.Second

// New makes a gate. Calls that the journal shows as begun and not ended become
// UNKNOWN here, durably, before New returns; an error means that this could not
// be done or that cfg is not complete.
func New(ctx context.Context, cfg Config) (*Gate, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Telemetry == nil {
		cfg.Telemetry = (*telemetry.Recorder)(nil)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.Admission == nil {
		var err error
		cfg.Admission, err = admission.New(admission.Config{
			Budget: admission.Resources{Calls: 256, CPUMillis: math.MaxInt64 / 2, MemoryBytes: math.MaxInt64 / 2}, Now: cfg.Now,
		})
		if err != nil {
			return nil, err
		}
	}
	cfg.FileBounds = cfg.FileBounds.withDefaults()
	g := &Gate{
		cfg: cfg, log: cfg.Logger.Named("gate"), now: cfg.Now,
		ledger: newLedger(cfg.Memory.withDefaults(), cfg.Now), watches: changeset.NewWatches(changeset.WatchOptions{}),
	}
	g.ledger.log = g.log
	var err error
	if g.deciding, err = newDecisionLine(); err != nil {
		return nil, err
	}
	g.running.begin()
	if cfg.Commits != nil {
		if err := g.endCommits(ctx, cfg.Commits, cfg.Replay); err != nil {
			return nil, err
		}
	}
	if cfg.Replay != nil {
		if err := g.recover(ctx, cfg.Replay); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func (c *Config) check() error {
	for _, f := range []struct {
		name    string
		missing bool
	}{
		{"Catalog", c.Catalog == nil},
		{"Policy", c.Policy == nil},
		{"Runtime", c.Runtime == nil},
		{"Journal", c.Journal == nil},
		{"Sessions", c.Sessions == nil},
		{"Profiles", c.Profiles == nil},
	} {
		if f.missing {
			return fmt.Errorf("gate: config has no %s", f.name)
		}
	}
	if c.Memory.Calls < 0 || c.Memory.OutputBytes < 0 || c.Memory.OutputFor < 0 || c.Memory.Detached < 0 ||
		c.Background.WallTime < 0 || c.Background.MaxWallTime < 0 {
		return errors.New("gate: config has a negative bound")
	}
	probe := sandbox.Call{ID: "probe", Argv: []string{"true"}, Limits: limitsOf(policy.Effective(policy.Obligations{}, c.Ceiling, c.Defaults))}
	if err := probe.Validate(); err != nil {
		return fmt.Errorf("gate: defaults and ceiling leave a limit open: %w", err)
	}
	return nil
}
