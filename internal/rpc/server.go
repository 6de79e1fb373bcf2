package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/telemetry"
	"github.com/sandgate/sandgate/internal/version"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
)

// DefaultMaxRecvBytes is Config.MaxRecvBytes when it is zero.
const DefaultMaxRecvBytes = 4 << 20

// Defaults of Config.MaxOpen and MaxOpenPerCaller.
const (
	DefaultMaxOpen          = 512
	DefaultMaxOpenPerCaller = 192
)

// streamWorkers is how many goroutines are kept for requests; more requests at
// once get new ones.
const streamWorkers = 16

// streamWindowBytes is how much of a request its host may send before it is read.
const streamWindowBytes = 256 << 10

// toolGate is what ToolService needs of the gate.
type toolGate interface {
	Execute(ctx context.Context, call gate.Call, obs gate.Observer) (gate.Result, error)
	Evaluate(ctx context.Context, call gate.Call, explain bool) (gate.Evaluation, error)
	ListTools(ctx context.Context, caller gate.Caller, profile string) ([]catalog.Tool, error)
	Cancel(ctx context.Context, caller gate.Caller, callID string) error
	GetCall(ctx context.Context, caller gate.Caller, callID string) (gate.CallStatus, error)
	Start(ctx context.Context, call gate.Call) (*gate.Running, *gate.Result, error)
	Attach(ctx context.Context, caller gate.Caller, callID string, stdout, stderr int64, f gate.Follower) (gate.Result, error)
	ListCalls(ctx context.Context, caller gate.Caller, want gate.CallFilter, limit int, page string) ([]gate.CallEntry, string, error)
}

// policyEngine is what PolicyService needs of the policy.
type policyEngine interface {
	Status() policy.Status
	Ready() error
	Reload(ctx context.Context) error
	EvalRaw(ctx context.Context, input []byte) (json.RawMessage, error)
}

// prober is what SystemService needs of the sandbox.
type prober interface {
	Capabilities(ctx context.Context) (sandbox.Capabilities, error)
}

// Config of a Server. What is not said to be optional or to have a default is
// required.
type Config struct {
	Gate toolGate
	// Sessions is the gate again. nil: SessionService is not served.
	Sessions sessionGate
	Policy   policyEngine
	Sandbox  prober
	Images   sandbox.ImageStore
	// Approvals answer ApprovalService; nil: it is not served.
	Approvals approvalGate
	// ApproverTokens are of people who answer approvals over the unix socket under a name of
	// their own; nil: there are none.
	ApproverTokens *Tokens
	// Audit answers AuditService; nil: it is not served.
	Audit auditLog
	// Access tells what a caller may do here. It must be quick and safe for
	// concurrent use.
	Access func(gate.Caller) Access
	// Tokens of TCP callers; nil: there are none.
	Tokens *Tokens
	// AllowAnonymous lets TCP callers without a token be "tcp:anonymous".
	AllowAnonymous bool
	// MaxRecvBytes bounds a received message. Zero means DefaultMaxRecvBytes.
	MaxRecvBytes int
	// MaxOpen bounds the calls that are open at once, MaxOpenPerCaller those of one
	// caller. Each can make the daemon hold a message of MaxRecvBytes. Cancel, GetCall,
	// health and whatever else is no call are not counted among them. Zero means
	// DefaultMaxOpen and DefaultMaxOpenPerCaller.
	MaxOpen, MaxOpenPerCaller int
	// Load tells how the parts are doing, for SystemService. Parts of it may be nil.
	Load telemetry.Sources
	// Telemetry is told how long requests take around the gate. Optional.
	Telemetry *telemetry.Recorder
	Version   version.Info
	Logger    *zap.Logger
}

// Server is the gRPC front. It is made not ready: SetReady opens it for calls.
// It is safe for concurrent use.
type Server struct {
	logger    *zap.Logger
	telemetry *telemetry.Recorder
	access    func(gate.Caller) Access
	grpc      *grpc.Server
	health    *health.Server

	opened  atomic.Bool // was ready once
	reason  atomic.Pointer[string]
	readers sync.WaitGroup // goroutines that read stdin
	chunks  chunkPool      // of all streams

	stopping context.Context //nolint:containedctx // not of a request: it ends with the server and takes the calls with it
	stop     context.CancelCauseFunc
}

// New makes a server; Serve lets it listen.
func New(cfg Config) (*Server, error) {
	if cfg.Gate == nil || cfg.Policy == nil || cfg.Sandbox == nil || cfg.Images == nil || cfg.Access == nil || cfg.Logger == nil {
		return nil, errors.New("rpc: gate, policy, sandbox, images, access and logger are required")
	}
	if cfg.MaxRecvBytes == 0 {
		cfg.MaxRecvBytes = DefaultMaxRecvBytes
	}
	if cfg.MaxOpen == 0 {
		cfg.MaxOpen = DefaultMaxOpen
	}
	if cfg.MaxOpenPerCaller == 0 {
		cfg.MaxOpenPerCaller = min(DefaultMaxOpenPerCaller, cfg.MaxOpen)
	}
	s := &Server{logger: cfg.Logger, telemetry: cfg.Telemetry, access: cfg.Access, health: health.NewServer()}
	s.stopping, s.stop = context.WithCancelCause(context.Background())
	entrance := &door{
		auth: authenticator{tokens: cfg.Tokens, approvers: cfg.ApproverTokens, allowAnonymous: cfg.AllowAnonymous}, telemetry: cfg.Telemetry,
		calls:   room{perCaller: cfg.MaxOpenPerCaller, all: cfg.MaxOpen},
		control: room{perCaller: maxControlPerCaller, all: maxControl},
	}
	s.grpc = grpc.NewServer(
		grpc.InTapHandle(entrance.tap),
		grpc.Creds(peerCredentials{}), grpc.ForceServerCodecV2(newCodec()),
		grpc.UnaryInterceptor(s.unary), grpc.StreamInterceptor(s.stream),
		grpc.MaxRecvMsgSize(cfg.MaxRecvBytes), grpc.WaitForHandlers(true),
		// A connection full of calls still has room for what steers them.
		grpc.MaxConcurrentStreams(uint32(cfg.MaxOpenPerCaller+maxControlPerCaller)), //nolint:gosec // bounded by the configuration
		// Deciding needs a deep stack: kept goroutines have grown theirs already. Calls
		// mostly wait, so there are more of them than processors.
		grpc.NumStreamWorkers(uint32(max(streamWorkers, 2*runtime.GOMAXPROCS(0)))), //nolint:gosec // a small number
		// Windows that gRPC fits to the path cost a ping, its answer and two more writes
		// for each call. These are what a host can make the daemon hold unread.
		grpc.InitialWindowSize(streamWindowBytes), grpc.InitialConnWindowSize(4*streamWindowBytes),
		grpc.ConnectionTimeout(10*time.Second),
		// A peer that vanished without a word is noticed and its calls are cancelled.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	)
	sandgatev1.RegisterToolServiceServer(s.grpc, &toolService{server: s, gate: cfg.Gate})
	sandgatev1.RegisterPolicyServiceServer(s.grpc, &policyService{engine: cfg.Policy})
	sandgatev1.RegisterSystemServiceServer(s.grpc, &systemService{server: s, sandbox: cfg.Sandbox, policy: cfg.Policy, load: cfg.Load, version: cfg.Version, started: time.Now()})
	sandgatev1.RegisterImageServiceServer(s.grpc, &imageService{images: cfg.Images})
	s.registerSessions(cfg.Sessions)
	s.registerApprovals(cfg.Approvals)
	s.registerAudit(cfg.Audit)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	s.SetReady(errors.New("the daemon is starting"))
	return s, nil
}

// Serve accepts connections until Close; it then returns nil. It may be called
// for several listeners at once and closes what it was given.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// SetReady opens the server for calls (nil) or says why it is not ready. Health
// of "sandgate.v1.ToolService" follows it; health of "", that the daemon lives,
// does not. Once it was ready calls are let through also while it is not: what
// hinders them answers for itself.
func (s *Server) SetReady(err error) {
	serving := healthpb.HealthCheckResponse_SERVING
	if err != nil {
		text := err.Error()
		s.reason.Store(&text)
		serving = healthpb.HealthCheckResponse_NOT_SERVING
	} else {
		s.reason.Store(nil)
		s.opened.Store(true)
	}
	s.health.SetServingStatus(sandgatev1.ToolService_ServiceDesc.ServiceName, serving)
}

// untilStop returns a context that also ends when the server breaks off its calls.
func (s *Server) untilStop(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	release := context.AfterFunc(s.stopping, func() { cancel(context.Cause(s.stopping)) })
	return ctx, func(cause error) {
		release()
		cancel(cause)
	}
}

// notReady returns why calls cannot be taken yet, or nil.
func (s *Server) notReady() error {
	if s.opened.Load() {
		return nil
	}
	if reason := s.reason.Load(); reason != nil {
		return errors.New(*reason)
	}
	return nil
}

// Drain makes every health check answer NOT_SERVING for good, so that hosts go
// elsewhere.
func (s *Server) Drain() { s.health.Shutdown() }

// ErrShutdown is the cause by which running calls are cancelled in Close. It is the
// gate's, so that their results say that it was the daemon and not their host.
var ErrShutdown = gate.ErrStopping

// lastWords is how long cancelled calls have to tell their hosts of it.
const lastWords = 10 * time.Second

// Close stops accepting and waits for the running RPCs until ctx ends. Then it
// cancels the running calls, whose hosts still get their results, and at last
// breaks the connections off. All handlers have returned when it returns.
func (s *Server) Close(ctx context.Context) {
	s.Drain()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.stop(ErrShutdown)
		timer := time.NewTimer(lastWords)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
			s.grpc.Stop()
			<-done
		}
	}
	s.stop(ErrShutdown)
	s.readers.Wait()
}
