package leaks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// Outcomes under short names.
const (
	exited      = sandgatev1.Outcome_OUTCOME_EXITED
	timedOut    = sandgatev1.Outcome_OUTCOME_TIMED_OUT
	cancelled   = sandgatev1.Outcome_OUTCOME_CANCELLED
	denied      = sandgatev1.Outcome_OUTCOME_DENIED
	asked       = sandgatev1.Outcome_OUTCOME_APPROVAL_REQUIRED
	startFailed = sandgatev1.Outcome_OUTCOME_START_FAILED
	outOfMemory = sandgatev1.Outcome_OUTCOME_OUT_OF_MEMORY
	outputLimit = sandgatev1.Outcome_OUTCOME_OUTPUT_LIMIT
	signaled    = sandgatev1.Outcome_OUTCOME_SIGNALED
)

// sessions is in how many sessions the calls are.
const sessions = 8

// kind is one kind of call.
type kind struct {
	name string
	// weight is how many of a hundred calls are of this kind.
	weight int
	// do makes the n-th call and says what is wrong about what came of it.
	do func(ctx context.Context, d *target, n int) error
}

// kinds are all kinds of calls; dir may be bound as a workspace.
func kinds(dir string) []kind {
	return append([]kind{
		{"session", 24, ran("echo hello", "hello\n", exited, inSession)},
		{"session, file written", 4, ran("head -c 4096 /dev/zero > file; rm -f file; echo done", "done\n", exited, inSession)},
		{"session, children left behind", 3, ran("sleep 1000 & (setsid sleep 1000 &) ; echo left", "left\n", exited, inSession)},
		{"session, exit code", 2, ran("exit 7", "", exited, inSession)},
		{"session, signal", 1, ran("kill -SEGV $$", "", signaled, inSession)},
		{"session, python", 2, pythonPrints},
		{"no session", 6, ran("echo alone", "alone\n", exited)},
		{"stdin", 6, ran("cat", "from stdin\n", exited, inSession, daemontest.Stdin([]byte("from stdin\n")))},
		{"stdin, streamed", 4, streamedStdin},
		{"bound workspace", 4, ran("cat here; echo x > made-$$; rm made-$$", "here\n", exited, daemontest.WorkspaceDir(dir))},
		{"denied", 8, ran("echo no", "", denied, daemontest.Profile("locked"))},
		{"approval required", 3, ran("sort README.md", "", asked, daemontest.Profile("readonly"))},
		{"decided only", 4, evaluated},
		{"not found", 2, refused("no_such_tool", codes.NotFound)},
		{"start failed, no program", 3, startFails},
		{"start failed, no directory", 2, ran("true", "", startFailed, inSession, cwd("/workspace/no-such-directory"))},
		{"timeout", 3, ran("trap '' TERM; sleep 1000 & sleep 1000", "", timedOut, inSession, daemontest.Timeout(100*time.Millisecond))},
		{"cancelled by the client", 2, goesAway},
		{"cancelled by Cancel", 2, cancelCalled},
		{"sent twice", 2, sentTwice},
		{"fork bomb", 1, ran(":(){ :|:& };: ; sleep 60", "", timedOut, inSession, daemontest.Timeout(400*time.Millisecond))},
		{"memory bomb", 1, ran(`python3 -c "bytearray(256 << 20)"`, "", outOfMemory, inSession)},
		{"output flood", 1, ran("yes & yes >&2", "", outputLimit, inSession, keepsGoing)},
	}, worlds()...)
}

// schedule is the kind of each call of a hundred, the kinds spread evenly.
func schedule(all []kind) []kind {
	out := make([]kind, 0, 100)
	owed := make([]int, len(all))
	for range 100 {
		most := 0
		for i := range all {
			if owed[i] += all[i].weight; owed[i] > owed[most] {
				most = i
			}
		}
		owed[most] -= 100
		out = append(out, all[most])
	}
	return out
}

// option changes the n-th call.
type option = daemontest.Option

// inSession is replaced by the session of the call's number.
func inSession(r *sandgatev1.ExecuteRequest) { r.Call.SessionId = "session" }

// keepsGoing makes the program outlive its background children.
func keepsGoing(r *sandgatev1.ExecuteRequest) {
	r.Call.ArgsJson = strings.Replace(r.Call.ArgsJson, "yes & yes >&2", "yes & yes >&2; wait", 1)
}

func cwd(dir string) option {
	return func(r *sandgatev1.ExecuteRequest) { r.Call.Cwd = dir }
}

// request makes the n-th bash call, under the profile in which the cage is the
// only limit unless an option says otherwise.
func request(n int, command string, opts ...option) *sandgatev1.ExecuteRequest {
	req := daemontest.Bash(command, append([]option{daemontest.Profile("open")}, opts...)...)
	if req.Call.SessionId != "" {
		req.Call.SessionId = fmt.Sprintf("leaks-%d", n%sessions)
	}
	return req
}

// ran makes a bash call that must end as told.
func ran(command, stdout string, want sandgatev1.Outcome, opts ...option) func(context.Context, *target, int) error {
	return func(ctx context.Context, d *target, n int) error {
		resp, err := d.Tools.Execute(ctx, request(n, command, opts...))
		if err != nil {
			return err
		}
		return ended(resp.GetResult(), want, stdout)
	}
}

// ended checks a result.
func ended(r *sandgatev1.Result, want sandgatev1.Outcome, stdout string) error {
	if r.GetOutcome() != want {
		return fmt.Errorf("outcome %v (exit code %d, %s, stderr %.200q), want %v", r.GetOutcome(), r.GetExitCode(), r.GetMessage(), r.GetStderr().GetHead(), want)
	}
	if stdout != "" && daemontest.Text(r.GetStdout()) != stdout {
		return fmt.Errorf("stdout %.200q, want %q", daemontest.Text(r.GetStdout()), stdout)
	}
	return nil
}

func pythonPrints(ctx context.Context, d *target, n int) error {
	req := daemontest.Request("python", map[string]string{"code": "print(6 * 7)"}, daemontest.Profile("open"),
		daemontest.Session(fmt.Sprintf("leaks-%d", n%sessions)))
	resp, err := d.Tools.Execute(ctx, req)
	if err != nil {
		return err
	}
	return ended(resp.GetResult(), exited, "42\n")
}

func evaluated(ctx context.Context, d *target, n int) error {
	resp, err := d.Tools.Evaluate(ctx, &sandgatev1.EvaluateRequest{Call: request(n, "git status && ls").GetCall()})
	if err == nil && resp.GetDecision().GetOutcome() != sandgatev1.DecisionOutcome_DECISION_OUTCOME_ALLOW {
		err = fmt.Errorf("decision %v, want allow", resp.GetDecision().GetOutcome())
	}
	return err
}

func refused(tool string, want codes.Code) func(context.Context, *target, int) error {
	return func(ctx context.Context, d *target, _ int) error {
		_, err := d.Tools.Execute(ctx, daemontest.Request(tool, struct{}{}))
		if status.Code(err) != want {
			return fmt.Errorf("got %w, want %v", err, want)
		}
		return nil
	}
}

func startFails(ctx context.Context, d *target, n int) error {
	req := daemontest.Request(missingTool, struct{}{}, daemontest.Profile("open"), daemontest.Session(fmt.Sprintf("leaks-%d", n%sessions)))
	resp, err := d.Tools.Execute(ctx, req)
	if err != nil {
		return err
	}
	return ended(resp.GetResult(), startFailed, "")
}

// sentTwice makes a call, and then again with its id: nothing runs then.
func sentTwice(ctx context.Context, d *target, n int) error {
	req := request(n, "echo once", inSession, daemontest.CallID(fmt.Sprintf("twice-%d", n)))
	for i := range 2 {
		resp, err := d.Tools.Execute(ctx, req)
		if err == nil {
			err = ended(resp.GetResult(), exited, "once\n")
		}
		if err == nil && resp.GetResult().GetReplayed() != (i == 1) {
			err = errors.New("the second call ran as well")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// open begins a streamed call and returns when its program runs.
func open(ctx context.Context, d *target, start *sandgatev1.ExecuteStart) (sandgatev1.ToolService_ExecuteStreamClient, error) {
	s, err := d.Tools.ExecuteStream(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.Send(&sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Start{Start: start}}); err != nil {
		return nil, err
	}
	for {
		m, err := s.Recv()
		if err != nil {
			return nil, err
		}
		if m.GetStarted() != nil {
			return s, nil
		}
		if m.GetResult() != nil {
			return nil, fmt.Errorf("ended before it ran: %v %s", m.GetResult().GetOutcome(), m.GetResult().GetMessage())
		}
	}
}

// result receives the rest of a streamed call.
func result(s sandgatev1.ToolService_ExecuteStreamClient) (*sandgatev1.Result, error) {
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
	}
}

func streamedStdin(ctx context.Context, d *target, n int) error {
	s, err := open(ctx, d, &sandgatev1.ExecuteStart{Call: request(n, "wc -c", inSession).GetCall(), Stdin: true})
	if err != nil {
		return err
	}
	for range 3 {
		if err := s.Send(&sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Stdin{Stdin: make([]byte, 100_000)}}); err != nil {
			return err
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	res, err := result(s)
	if err != nil {
		return err
	}
	return ended(res, exited, "300000\n")
}

// goesAway drops the connection's stream while the program runs.
func goesAway(ctx context.Context, d *target, n int) error {
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	s, err := open(ctx, d, &sandgatev1.ExecuteStart{Call: request(n, "sleep 1000 & sleep 1000", inSession).GetCall()})
	if err != nil {
		return err
	}
	leave(errors.New("the client goes away"))
	if _, err := s.Recv(); status.Code(err) != codes.Canceled {
		return fmt.Errorf("after leaving: got %w, want CANCELLED", err)
	}
	return nil
}

func cancelCalled(ctx context.Context, d *target, n int) error {
	id := fmt.Sprintf("cancel-%d", n)
	s, err := open(ctx, d, &sandgatev1.ExecuteStart{Call: request(n, "sleep 1000 & sleep 1000", inSession, daemontest.CallID(id)).GetCall()})
	if err != nil {
		return err
	}
	if _, err := d.Tools.Cancel(ctx, &sandgatev1.CancelRequest{CallId: id}); err != nil {
		return err
	}
	res, err := result(s)
	if err != nil {
		return err
	}
	return ended(res, cancelled, "")
}

func TestScheduleHoldsEveryKindByItsWeight(t *testing.T) {
	all := kinds("/nowhere")
	sum := 0
	for _, k := range all {
		sum += k.weight
	}
	if sum != 100 {
		t.Fatalf("the weights add up to %d, want 100", sum)
	}
	got := map[string]int{}
	for _, k := range schedule(all) {
		got[k.name]++
	}
	for _, k := range all {
		if got[k.name] != k.weight {
			t.Errorf("%s: %d of a hundred, want %d", k.name, got[k.name], k.weight)
		}
	}
}
