package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/bench/measure"
	"github.com/sandgate/sandgate/test/bench/report"
	"github.com/sandgate/sandgate/test/daemontest"
)

// target is a daemon under measurement, with a connection for each client.
type target struct {
	*daemontest.Daemon
	metrics string // address of its metrics; empty: it has none
	conns   []*grpc.ClientConn
	clients []sandgatev1.ToolServiceClient
	decided atomic.Int64 // numbers the calls of which no two are to be the same
}

// launch starts a daemon. Its configuration gets what every daemon here has.
func (b *bench) launch(name, config string) (*target, error) {
	return b.launchIn("/tmp", name, config)
}

// launchIn is launch with the data directory below parent.
func (b *bench) launchIn(parent, name, config string) (*target, error) {
	b.say("start the daemon: %s", name)
	config += fmt.Sprintf("log: {level: warn}\ntools: {dir: %s/tools}\n", b.dir)
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	d, err := daemontest.LaunchIn(b.ctx, parent, config+"metrics: {address: \""+address+"\"}\n")
	if err != nil && strings.Contains(err.Error(), `unknown key "metrics"`) {
		address = ""
		d, err = daemontest.LaunchIn(b.ctx, parent, config)
	}
	if err != nil {
		return nil, fmt.Errorf("start the daemon (%s): %w", name, err)
	}
	t := &target{Daemon: d, metrics: address}
	if err := t.connect(32); err != nil {
		return nil, errors.Join(err, t.stop())
	}
	return t, nil
}

// freeAddress is an address of loopback on which nobody listens at present.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

func (t *target) connect(n int) error {
	for range n {
		conn, err := daemontest.Dial("unix://" + t.Socket)
		if err != nil {
			return err
		}
		t.conns = append(t.conns, conn)
		t.clients = append(t.clients, sandgatev1.NewToolServiceClient(conn))
	}
	return nil
}

// stop ends the daemon and removes what it had.
func (t *target) stop() error {
	var errs []error
	for _, c := range t.conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(append(errs, t.Stop(), os.RemoveAll(t.DataDir))...)
}

// job is a call that is measured.
type job struct {
	name    string   // of the cell
	argv    []string // the same command on the bare machine
	tool    string
	args    any
	profile string // empty: the daemon's default
	stdout  int64  // bytes that it writes
	stream  bool   // by ExecuteStream
	// fresh makes the arguments of the n-th call, of which no two are the same.
	// Nil: args, each time.
	fresh func(n int64) any
}

// request makes the call of one client in a session of its own; without a
// session when the prefix is empty.
func (j job) request(prefix string, client int) *sandgatev1.ExecuteRequest {
	opts := []daemontest.Option{daemontest.Profile(j.profile)}
	if prefix != "" {
		opts = append(opts, daemontest.Session(fmt.Sprintf("%s-%s-%d", prefix, j.profile, client)))
	}
	return daemontest.Request(j.tool, j.args, opts...)
}

// arm measures the job through the daemon.
func (t *target) arm(j job, session string) measure.Arm {
	return measure.Arm{Name: report.ArmSandgate, CPU: t.cpu, Op: func(ctx context.Context, client int) error {
		call := j
		if j.fresh != nil {
			call.args = j.fresh(t.decided.Add(1))
		}
		req := call.request(session, client)
		if j.stream {
			return t.stream(ctx, client, req, j.stdout)
		}
		res, err := t.execute(ctx, client, req)
		if err != nil {
			return err
		}
		if got := res.GetStdout().GetTotalBytes(); got != j.stdout {
			return fmt.Errorf("%s: %d bytes of output, want %d", j.name, got, j.stdout)
		}
		return nil
	}}
}

// execute makes a call that must end well.
func (t *target) execute(ctx context.Context, client int, req *sandgatev1.ExecuteRequest) (*sandgatev1.Result, error) {
	resp, err := t.clients[client].Execute(ctx, req)
	if err != nil {
		return nil, err
	}
	return resp.GetResult(), endedWell(resp.GetResult())
}

func endedWell(r *sandgatev1.Result) error {
	if r.GetOutcome() == sandgatev1.Outcome_OUTCOME_EXITED && r.GetExitCode() == 0 {
		return nil
	}
	rule := ""
	if reasons := r.GetDecision().GetReasons(); len(reasons) > 0 {
		rule = reasons[0].GetRule() + ": " + reasons[0].GetMessage()
	}
	return fmt.Errorf("call ended with %v, exit code %d %s %s %.300s", r.GetOutcome(), r.GetExitCode(), r.GetMessage(), rule, r.GetStderr().GetHead())
}

// stream makes a call by ExecuteStream and receives all of its output.
func (t *target) stream(ctx context.Context, client int, req *sandgatev1.ExecuteRequest, want int64) error {
	var got int64
	res, err := t.follow(ctx, client, req, func(m *sandgatev1.ExecuteStreamResponse) { got += int64(len(m.GetOutput().GetData())) })
	if err != nil {
		return err
	}
	if err := endedWell(res); err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%d bytes were streamed, want %d", got, want)
	}
	return nil
}

// follow makes a call by ExecuteStream, shows every message to see, and returns
// the result.
func (t *target) follow(ctx context.Context, client int, req *sandgatev1.ExecuteRequest, see func(*sandgatev1.ExecuteStreamResponse)) (*sandgatev1.Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s, err := t.clients[client].ExecuteStream(ctx)
	if err != nil {
		return nil, err
	}
	start := &sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Start{Start: &sandgatev1.ExecuteStart{Call: req.GetCall()}}}
	if err := s.Send(start); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := s.CloseSend(); err != nil {
		return nil, err
	}
	var res *sandgatev1.Result
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) && res != nil {
			return res, nil
		}
		if err != nil {
			return nil, err
		}
		if m.GetResult() != nil {
			res = m.GetResult()
		}
		see(m)
	}
}

// evaluate decides a call that must be allowed.
func (t *target) evaluate(ctx context.Context, client int, call *sandgatev1.Call) error {
	resp, err := t.clients[client].Evaluate(ctx, &sandgatev1.EvaluateRequest{Call: call})
	if err != nil {
		return err
	}
	if d := resp.GetDecision(); d.GetOutcome() != sandgatev1.DecisionOutcome_DECISION_OUTCOME_ALLOW {
		return fmt.Errorf("decision %v, want allow: %v", d.GetOutcome(), d.GetReasons())
	}
	return nil
}

// cpu is the processor time that the daemon's own process has used.
func (t *target) cpu() (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", t.PID()))
	if err != nil {
		return 0, fmt.Errorf("read the daemon's processor time: %w", err)
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("read the daemon's processor time: %d fields", len(fields))
	}
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		return 0, fmt.Errorf("read the daemon's processor time: %w", err)
	}
	const tick = time.Second / 100 // USER_HZ, fixed for user space
	return time.Duration(user+system) * tick, nil
}

// settle waits until the daemon is at rest: nothing runs or waits, no cell is
// being made or destroyed, and it has at least so many that nobody used.
func (t *target) settle(ctx context.Context, fresh int) error { return t.settleWith(ctx, "", fresh) }

// settleWith is settle, with so many unused cells of one isolation; empty: of any.
func (t *target) settleWith(ctx context.Context, isolation string, fresh int) error {
	const steady = 4 // looks
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("the daemon does not come to rest with %d fresh cells", fresh))
	defer cancel()
	var load *sandgatev1.GetLoadResponse
	for same := 0; same < steady; {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: its load is %v", context.Cause(ctx), load)
		case <-time.After(50 * time.Millisecond):
		}
		var err error
		if load, err = t.System.GetLoad(ctx, &sandgatev1.GetLoadRequest{}); err != nil {
			return fmt.Errorf("ask the daemon's load: %w", err)
		}
		if same++; !atRest(load, isolation, fresh) {
			same = 0
		}
	}
	return nil
}

func atRest(load *sandgatev1.GetLoadResponse, isolation string, fresh int) bool {
	found := 0
	for _, p := range load.GetPools() {
		if p.GetBusy()+p.GetMaking()+p.GetDying()+p.GetWaiting() > 0 {
			return false
		}
		if isolation == "" || isolation == p.GetIsolation() {
			found += int(p.GetFresh())
		}
	}
	return found >= fresh && load.GetAdmission().GetRunning() == 0 && load.GetAdmission().GetWaiting() == 0
}
