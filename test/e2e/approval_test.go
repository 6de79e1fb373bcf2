package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// approver is a person with a token of her own, beside the agent that runs as root.
type approver struct {
	sandgatev1.ApprovalServiceClient
	ctx context.Context //nolint:containedctx // of a test, with the token
}

func newApprover(t *testing.T, d *daemontest.Daemon, token string) approver {
	t.Helper()
	conn, err := daemontest.Dial("unix://" + d.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx := t.Context()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	return approver{sandgatev1.NewApprovalServiceClient(conn), ctx}
}

func (a approver) approve(t *testing.T, id string, terms *sandgatev1.GrantTerms) {
	t.Helper()
	seen, err := a.GetApproval(a.ctx, &sandgatev1.GetApprovalRequest{ApprovalId: id})
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Approve(a.ctx, &sandgatev1.ApproveRequest{ApprovalId: id, Digest: seen.GetApproval().GetBindingDigest(), Grant: terms})
	if err != nil {
		t.Fatal(err)
	}
}

const approverToken = "a-token-of-the-tests-alone"

func approvalsConfig(t *testing.T) string {
	t.Helper()
	tokens := filepath.Join(shortDir(t), "approvers")
	if err := os.WriteFile(tokens, []byte("ann "+approverToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "pool: {idle: 1}\napprovals: {tokens_file: " + tokens + ", roles: {operator: ['token:ann', 'unix:uid:0']}}\n" +
		"callers:\n- {match: {uid: 0}, profiles: [workspace, readonly], admin: true}\n- {match: {id: 'token:ann'}, profiles: [readonly]}\n"
}

// asks sends a call and wants it to ask.
func asks(t *testing.T, d *daemontest.Daemon, call *sandgatev1.ExecuteRequest) *sandgatev1.Result {
	t.Helper()
	r := d.Execute(t, call)
	if r.GetOutcome() != sandgatev1.Outcome_OUTCOME_APPROVAL_REQUIRED || r.GetApprovalId() == "" {
		t.Fatalf("%s: got %v by %v (%s), want that it asks", call.GetCall().GetArgsJson(), r.GetOutcome(), r.GetDecision().GetReasons(), r.GetMessage())
	}
	return r
}

func runs(t *testing.T, d *daemontest.Daemon, call *sandgatev1.ExecuteRequest, want string) *sandgatev1.Result {
	t.Helper()
	r := d.Execute(t, call)
	if r.GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED || !strings.Contains(daemontest.Text(r.GetStdout()), want) {
		t.Fatalf("%s: got %v %q %q by %v (%s), want %q", call.GetCall().GetArgsJson(), r.GetOutcome(), daemontest.Text(r.GetStdout()),
			daemontest.Text(r.GetStderr()), r.GetDecision().GetReasons(), r.GetMessage(), want)
	}
	return r
}

// TestApprovedCallsRunOnceAndAsTheyWereApproved goes the whole way of approvals: asked,
// refused to the requester, approved, changed, restarted in between, waited for.
func TestApprovedCallsRunOnceAndAsTheyWereApproved(t *testing.T) {
	daemontest.RequireRoot(t)
	d := daemontest.Start(t, approvalsConfig(t))
	ann, self := newApprover(t, d, approverToken), newApprover(t, d, "")
	script := func(id, command string) *sandgatev1.ExecuteRequest {
		return daemontest.Bash(command, daemontest.Profile("workspace"), daemontest.Session("s"), daemontest.CallID(id))
	}
	runs(t, d, script("w1", `printf 'echo ran; echo line >> log\n' > s.sh; echo written`), "written")
	const asked = "sh s.sh; curl -V >/dev/null"

	first := asks(t, d, script("c1", asked))
	seen, err := ann.GetApproval(ann.ctx, &sandgatev1.GetApprovalRequest{ApprovalId: first.GetApprovalId()})
	if err != nil || len(seen.GetApproval().GetFiles()) != 1 || seen.GetApproval().GetFiles()[0].GetPath() != "/workspace/s.sh" {
		t.Fatalf("the approver sees %v, %v, want the script", seen.GetApproval().GetFiles(), err)
	}
	yes := &sandgatev1.ApproveRequest{ApprovalId: first.GetApprovalId(), Digest: seen.GetApproval().GetBindingDigest()}
	if _, err := self.Approve(self.ctx, yes); status.Code(err) != codes.PermissionDenied {
		t.Errorf("approved by the requester: got %v, want PERMISSION_DENIED", err)
	}
	ann.approve(t, first.GetApprovalId(), nil)
	runs(t, d, script("c1", asked), "ran")
	if again := d.Execute(t, script("c1", asked)); !again.GetReplayed() {
		t.Error("sent once more, it is no replay")
	}

	second := asks(t, d, script("c2", asked))
	ann.approve(t, second.GetApprovalId(), nil)
	runs(t, d, script("w2", `printf 'echo other; echo bad >> log\n' > s.sh; echo written`), "written")
	void := asks(t, d, script("c2", asked))
	if w := void.GetDecision().GetWarnings(); void.GetApprovalId() == second.GetApprovalId() || len(w) != 1 || w[0].GetRule() != "daemon:approval-void" {
		t.Errorf("with another script it asks %s with the warnings %v", void.GetApprovalId(), w)
	}
	if _, err := ann.Deny(ann.ctx, &sandgatev1.DenyRequest{ApprovalId: void.GetApprovalId(), Message: "what is this"}); err != nil {
		t.Fatal(err)
	}
	if r := d.Execute(t, script("c2", asked)); r.GetOutcome() != sandgatev1.Outcome_OUTCOME_DENIED || !strings.Contains(r.GetMessage(), "what is this") {
		t.Errorf("denied: got %v (%s)", r.GetOutcome(), r.GetMessage())
	}
	runs(t, d, script("w3", `printf 'echo ran; echo line >> log\n' > s.sh; echo written`), "written")

	third := asks(t, d, script("c3", asked))
	ann.approve(t, third.GetApprovalId(), nil)
	if err := d.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	ann = newApprover(t, d, approverToken)
	runs(t, d, script("c3", asked), "ran")
	waitsForApproval(t, d, ann, script("c4", asked).GetCall())
	runs(t, d, script("r1", "cat log; wc -l < log"), "line\nline\nline\n3\n")
}

// waitsForApproval streams a call that is approved meanwhile.
func waitsForApproval(t *testing.T, d *daemontest.Daemon, ann approver, call *sandgatev1.Call) {
	t.Helper()
	stream, err := d.Tools.ExecuteStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	start := &sandgatev1.ExecuteStreamRequest_Start{Start: &sandgatev1.ExecuteStart{Call: call}}
	if err := stream.Send(&sandgatev1.ExecuteStreamRequest{Event: start}); err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	var told []string
	for {
		msg, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		switch event := msg.GetEvent().(type) {
		case *sandgatev1.ExecuteStreamResponse_Decision:
			told = append(told, "decision")
		case *sandgatev1.ExecuteStreamResponse_ApprovalPending:
			told = append(told, "pending")
			ann.approve(t, event.ApprovalPending.GetApproval().GetApprovalId(), nil)
		case *sandgatev1.ExecuteStreamResponse_Started:
			told = append(told, "started")
		case *sandgatev1.ExecuteStreamResponse_Result:
			if got := strings.Join(told, " "); got != "decision pending started" || event.Result.GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED {
				t.Errorf("told %q and then %v (%s)", got, event.Result.GetOutcome(), event.Result.GetMessage())
			}
			return
		}
	}
}

// TestGrantsAreUsedUpAndRevoked through the real daemon and the command line.
func TestGrantsAreUsedUpAndRevoked(t *testing.T) {
	daemontest.RequireRoot(t)
	d := daemontest.Start(t, approvalsConfig(t))
	ann := newApprover(t, d, approverToken)
	script := func(id, command string) *sandgatev1.ExecuteRequest {
		return daemontest.Bash(command, daemontest.Profile("readonly"), daemontest.Session("g"), daemontest.CallID(id))
	}
	first := asks(t, d, script("c1", "sleep 0"))
	if out, _, code := d.Sandgate(t, "", "approve"); code != 0 || !strings.Contains(out, first.GetApprovalId()) || !strings.Contains(out, "bash sleep 0") {
		t.Errorf("sandgate approve: exit %d:\n%s", code, out)
	}
	if out, _, code := d.Sandgate(t, "", "approvals", "show", first.GetApprovalId()); code != 0 ||
		!strings.Contains(out, "exactly `sleep 0`") || !strings.Contains(out, "may not approve it") {
		t.Errorf("sandgate approvals show: exit %d:\n%s", code, out)
	}
	if _, errOut, code := d.Sandgate(t, "yes\n", "approve", first.GetApprovalId()); code != 1 || !strings.Contains(errOut, "may not approve it itself") {
		t.Errorf("sandgate approve by the requester: exit %d: %s", code, errOut)
	}
	ann.approve(t, first.GetApprovalId(), &sandgatev1.GrantTerms{Uses: 2})
	runs(t, d, script("c1", "sleep 0"), "")
	used := runs(t, d, script("c2", "sleep 0"), "")
	if g := used.GetDecision().GetGrants(); len(g) != 1 || used.GetDecision().GetReasons()[0].GetRule() != "granted" {
		t.Errorf("allowed by the grants %v and %v", g, used.GetDecision().GetReasons())
	}
	asks(t, d, script("other", "sleep 0.1"))
	if err := d.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	ann = newApprover(t, d, approverToken)
	runs(t, d, script("c3", "sleep 0"), "")
	last := asks(t, d, script("c4", "sleep 0"))

	ann.approve(t, last.GetApprovalId(), &sandgatev1.GrantTerms{})
	runs(t, d, script("c4", "sleep 0"), "")
	runs(t, d, script("c5", "sleep 0"), "")
	grants, err := ann.ListGrants(ann.ctx, &sandgatev1.ListGrantsRequest{})
	if err != nil || len(grants.GetGrants()) != 1 || grants.GetGrants()[0].GetUsed() != 1 {
		t.Fatalf("got %v, %v, want one grant that was used once", grants, err)
	}
	id := grants.GetGrants()[0].GetGrantId()
	if out, _, code := d.Sandgate(t, "", "grants", "list"); code != 0 || !strings.Contains(out, id) || !strings.Contains(out, "1 of 20") {
		t.Errorf("sandgate grants list: exit %d:\n%s", code, out)
	}
	if _, errOut, code := d.Sandgate(t, "", "grants", "revoke", id); code != 0 {
		t.Errorf("sandgate grants revoke: exit %d: %s", code, errOut)
	}
	asks(t, d, script("c6", "sleep 0"))
}
