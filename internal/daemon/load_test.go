package daemon_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sandgate/sandgate/internal/config"
	"github.com/sandgate/sandgate/internal/daemon/daemontest"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

// The whole way with the line full: what steers and asks is answered, what is
// one too many is refused with a hint, and who is cancelled leaves.
func TestFullLine(t *testing.T) {
	running, release := make(chan struct{}, 8), make(chan struct{})
	fake := sandboxtest.NewFake(func(context.Context, sandbox.Call) (sandbox.Result, error) {
		running <- struct{}{}
		<-release
		return sandboxtest.Exit(0, ""), nil
	})
	cfg := settings(t)
	cfg.Admission.MaxRunning, cfg.Admission.MaxWaiting, cfg.Admission.MaxWaitingPerCaller = 1, 2, 2
	asAnn := approver(t, &cfg)
	r := start(t, cfg, fakeOpen(fake))
	r.waitFor(t, healthpb.HealthCheckResponse_SERVING)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := map[string]chan error{}
	call := func(id string) {
		done := make(chan error, 1)
		ended[id] = done
		go func() {
			_, err := r.bash(ctx, id, "true")
			done <- err
		}()
	}
	system := sandgatev1.NewSystemServiceClient(r.conn)
	load := func() *sandgatev1.GetLoadResponse {
		got, err := system.GetLoad(ctx, &sandgatev1.GetLoadRequest{})
		if err != nil {
			t.Fatalf("load: %v", err)
		}
		return got
	}
	question := r.ask(ctx, t)
	call("runs")
	<-running
	for i, id := range []string{"waits", "leaves"} {
		call(id)
		for load().GetAdmission().GetWaiting() != int32(i+1) {
			if ctx.Err() != nil {
				t.Fatalf("%s is not in line", id)
			}
		}
	}
	_, err := r.bash(ctx, "too-many", "true")
	if details := status.Convert(err).Details(); status.Code(err) != codes.ResourceExhausted || len(details) != 1 {
		t.Errorf("one too many: got %v %v, want RESOURCE_EXHAUSTED with a detail", err, details)
	} else if info, ok := details[0].(*errdetails.RetryInfo); !ok || info.GetRetryDelay().AsDuration() <= 0 {
		t.Errorf("one too many: got %v, want a retry delay", details[0])
	}
	if _, err := healthpb.NewHealthClient(r.conn).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v", err)
	}
	r.approve(asAnn(ctx), t, question)
	if a := load().GetAdmission(); a.GetRunning() != 1 || a.GetWaiting() != 2 {
		t.Errorf("when it was approved the line was not full: %v", a)
	}
	tools := sandgatev1.NewToolServiceClient(r.conn)
	if st, err := tools.GetCall(ctx, &sandgatev1.GetCallRequest{CallId: "waits"}); err != nil || st.GetState() != sandgatev1.CallState_CALL_STATE_RUNNING {
		t.Errorf("get call: %v %v", st, err)
	}
	if _, err := tools.Cancel(ctx, &sandgatev1.CancelRequest{CallId: "leaves"}); err != nil {
		t.Errorf("cancel: %v", err)
	}
	if err := <-ended["leaves"]; status.Code(err) != codes.Canceled {
		t.Errorf("cancelled in line: got %v", err)
	}
	close(release)
	for _, id := range []string{"runs", "waits"} {
		if err := <-ended[id]; err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	if res, err := r.readme(ctx); err != nil || res.GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED || res.GetApprovalId() != question {
		t.Errorf("what was approved beside a full line: got %v by %q, %v, want that it runs by %s", res.GetOutcome(), res.GetApprovalId(), err, question)
	}
	got := load()
	if a := got.GetAdmission(); a.GetRunning() != 0 || a.GetMaxRunning() != 1 || a.GetRefused() != 1 || a.GetLeft() != 1 || a.GetAdmitted() != 3 || a.GetMaxMemoryBytes() <= 0 || a.GetMaxCpuMillis() <= 0 {
		t.Errorf("admission: %v", a)
	}
	if j := got.GetJournal(); j.GetRecords() < 8 || j.GetFailing() { // start, policy, three calls
		t.Errorf("journal: %v", j)
	}
}

// approver lets "ann" answer approvals, and makes a context of hers.
func approver(t *testing.T, cfg *config.Config) func(context.Context) context.Context {
	t.Helper()
	const token = "a-token-of-the-tests-alone"
	cfg.Approvals.TokensFile = filepath.Join(t.TempDir(), "approvers")
	if err := os.WriteFile(cfg.Approvals.TokensFile, []byte("ann "+token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Approvals.Roles = map[string][]string{config.OperatorRole: {"token:ann"}}
	self := os.Getuid()
	cfg.Callers = []config.Caller{
		{Match: config.Match{UID: &self}, Profiles: []string{"open", "readonly"}, DefaultProfile: "open", Admin: true},
		{Match: config.Match{ID: "token:ann"}, Profiles: []string{"readonly"}, DefaultProfile: "readonly"},
	}
	return func(ctx context.Context) context.Context {
		return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
}

// readme makes a call that policy asks about, always the same.
func (r *running) readme(ctx context.Context) (*sandgatev1.Result, error) {
	resp, err := sandgatev1.NewToolServiceClient(r.conn).Execute(ctx, &sandgatev1.ExecuteRequest{Call: &sandgatev1.Call{
		CallId: "asked", Tool: "bash", Profile: "readonly", ArgsJson: `{"command":"sort README.md"}`,
	}})
	return resp.GetResult(), err
}

// ask makes the call that waits for an approval then, and returns the question.
func (r *running) ask(ctx context.Context, t *testing.T) string {
	t.Helper()
	res, err := r.readme(ctx)
	if err != nil || res.GetOutcome() != sandgatev1.Outcome_OUTCOME_APPROVAL_REQUIRED {
		t.Fatalf("got %v by %v, %v, want that it asks", res.GetOutcome(), res.GetDecision().GetReasons(), err)
	}
	return res.GetApprovalId()
}

// approve finds a question in the list and says yes to it; each has to be answered soon.
func (r *running) approve(ctx context.Context, t *testing.T, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience/4)
	defer cancel()
	c := sandgatev1.NewApprovalServiceClient(r.conn)
	list, err := c.ListApprovals(ctx, &sandgatev1.ListApprovalsRequest{State: sandgatev1.ApprovalState_APPROVAL_STATE_PENDING})
	if err != nil || len(list.GetApprovals()) != 1 || list.GetApprovals()[0].GetApprovalId() != id {
		t.Fatalf("list: got %v, %v, want %s alone", list.GetApprovals(), err, id)
	}
	got, err := c.Approve(ctx, &sandgatev1.ApproveRequest{ApprovalId: id, Digest: list.GetApprovals()[0].GetBindingDigest()})
	if err != nil || got.GetApproval().GetState() != sandgatev1.ApprovalState_APPROVAL_STATE_APPROVED || len(got.GetApproval().GetVotes()) != 1 {
		t.Errorf("approve: got %v, %v, want it approved", got.GetApproval(), err)
	}
}

func TestMetricsAreServedWhereConfigured(t *testing.T) {
	cfg := settings(t)
	path := filepath.Join(cfg.DataDir, "m")
	cfg.Metrics.Address = "unix://" + path
	r := start(t, cfg, daemontest.Open)
	r.waitFor(t, healthpb.HealthCheckResponse_SERVING)
	if _, err := r.bash(t.Context(), "c-1", "true"); err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	get := func(path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://metrics"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	code, text := get("/metrics")
	for _, want := range []string{
		`sandgate_calls_total{outcome="EXITED"} 1`, `sandgate_call_stage_seconds_count{class="ok",stage="record_intent"} 1`,
		`sandgate_admission_calls_total{event="admitted"} 1`, `sandgate_journal_failing 0`, `sandgate_sessions 0`, `go_goroutines`,
		fmt.Sprintf(`sandgate_admission_budget{resource="calls"} %d`, cfg.Admission.MaxRunning),
	} {
		if code != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%d, no %s in the metrics", code, want)
		}
	}
	if code, _ := get("/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("another path: got %d, want not found", code)
	}
	if err := r.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if _, err := net.Dial("unix", path); err == nil {
		t.Error("metrics are served after the daemon has stopped")
	}
}

func TestMetricsAddressThatIsTakenIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing is lost with it
	cfg := settings(t)
	cfg.Metrics.Address = l.Addr().String()
	if err := cfg.Preflight(); err == nil || !strings.Contains(err.Error(), "metrics.address") {
		t.Errorf("got %v, want the key named", err)
	}
}
