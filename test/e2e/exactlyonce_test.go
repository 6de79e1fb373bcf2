package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// clients are connections of their own to a daemon.
func clients(t *testing.T, d *daemontest.Daemon, n int) []sandgatev1.ToolServiceClient {
	t.Helper()
	var out []sandgatev1.ToolServiceClient
	for range n {
		conn, err := daemontest.Dial("unix://" + d.Socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		out = append(out, sandgatev1.NewToolServiceClient(conn))
	}
	return out
}

// marks counts the lines that calls have appended in the session's workspace.
func marks(t *testing.T, d *daemontest.Daemon, session string) map[string]int {
	t.Helper()
	res := d.Execute(t, daemontest.Bash("cat marks 2>/dev/null; true", daemontest.Profile("open"), daemontest.Session(session)))
	got := map[string]int{}
	for line := range strings.FieldsSeq(daemontest.Text(res.GetStdout())) {
		got[line]++
	}
	return got
}

// TestParallelRetriesRunOnce sends calls 32 times each at once over several
// connections, one of them racing a cancellation, and again after a crash of the
// daemon. Each runs once, and its answers agree; also the output is still there.
func TestParallelRetriesRunOnce(t *testing.T) {
	const retries, session = 32, "once"
	d := daemontest.Start(t, "pool: {idle: 2, max_cells: 8}\n")
	call := func(id string) *sandgatev1.ExecuteRequest {
		return daemontest.Bash(fmt.Sprintf("echo %s >>marks; sleep 0.2; echo out of %s", id, id),
			daemontest.Profile("open"), daemontest.Session(session), daemontest.CallID(id))
	}
	ids := []string{"plain", "cancelled", "other"}
	answers := func() map[string][]string {
		conns := clients(t, d, 4)
		got := map[string][]string{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, id := range ids {
			for n := range retries {
				wg.Go(func() {
					if id == "cancelled" && n == retries/2 {
						_, _ = conns[n%4].Cancel(t.Context(), &sandgatev1.CancelRequest{CallId: id}) // it may not be known yet
					}
					resp, err := conns[n%4].Execute(t.Context(), call(id))
					text := fmt.Sprintf("%v %q", resp.GetResult().GetOutcome(), daemontest.Text(resp.GetResult().GetStdout()))
					if err != nil {
						text = status.Code(err).String()
					}
					mu.Lock()
					got[id] = append(got[id], text)
					mu.Unlock()
				})
			}
		}
		wg.Wait()
		for id := range got {
			slices.Sort(got[id])
			got[id] = slices.Compact(got[id])
		}
		return got
	}
	check := func(when string, got map[string][]string) {
		for _, id := range []string{"plain", "other"} {
			if want := fmt.Sprintf(`OUTCOME_EXITED "out of %s\n"`, id); len(got[id]) != 1 || got[id][0] != want {
				t.Errorf("%s: answers of %s: %q, want %q alone", when, id, got[id], want)
			}
		}
	}
	before := answers()
	check("before", before)
	waitStored(t, d, "out of plain\n", "out of other\n")
	if err := d.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context()); err != nil {
		t.Fatalf("restart: %v", err)
	}
	check("after a crash", answers())
	for id, n := range marks(t, d, session) {
		if n != 1 {
			t.Errorf("%s ran %d times", id, n)
		}
	}
}

// waitStored waits until texts are in the files of kept outputs: they are written
// after a call was answered.
func waitStored(t *testing.T, d *daemontest.Daemon, texts ...string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		files, err := filepath.Glob(filepath.Join(d.DataDir, "outputs", "*.seg"))
		if err != nil {
			t.Fatal(err)
		}
		all := ""
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all += string(raw)
		}
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(all, text) }) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("outputs are not stored: %q", all)
		}
	}
}

// attachment is what came over an Attach.
type attachment struct {
	stdout strings.Builder
	gaps   []*sandgatev1.GapEvent
	result *sandgatev1.Result
}

// attach reads an Attach until enough says so or the result has come.
func attach(ctx context.Context, api sandgatev1.ToolServiceClient, id string, offset int64, enough func(string) bool) (*attachment, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := api.Attach(ctx, &sandgatev1.AttachRequest{CallId: id, StdoutOffset: offset})
	if err != nil {
		return nil, err
	}
	a := &attachment{}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			return a, err
		}
		switch {
		case m.GetOutput() != nil:
			a.stdout.Write(m.GetOutput().GetData())
		case m.GetGap() != nil:
			a.gaps = append(a.gaps, m.GetGap())
		case m.GetResult() != nil:
			a.result = m.GetResult()
		}
		if enough != nil && enough(a.stdout.String()) {
			return a, nil
		}
	}
}

func TestDetachedCall(t *testing.T) {
	d := daemontest.Start(t, "pool: {idle: 2, max_cells: 8}\nbackground: {max_per_caller: 2, max_wall_time: 20m}\n")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	start := func(id, script, session string) (*sandgatev1.ExecuteResponse, error) {
		req := daemontest.Bash(script, daemontest.Profile("open"), daemontest.CallID(id), daemontest.Session(session))
		req.Detach = true
		return d.Tools.Execute(ctx, req)
	}
	resp, err := start("bg", "echo first; until [ -e go ]; do sleep 0.05; done; echo last; exit 7", "s")
	if err != nil || resp.GetRunning().GetReceipt().GetEnforced()["wall_time_ms"] != (20*time.Minute).Milliseconds() {
		t.Fatalf("start: %v, %v", resp, err)
	}
	a, err := attach(ctx, d.Tools, "bg", 0, func(s string) bool { return s == "first\n" })
	if err != nil || a.stdout.String() != "first\n" {
		t.Fatalf("attach: %q, %v", a.stdout.String(), err)
	}
	st, err := d.Tools.GetCall(ctx, &sandgatev1.GetCallRequest{CallId: "bg"})
	if err != nil || st.GetState() != sandgatev1.CallState_CALL_STATE_RUNNING || st.GetStdoutBytes() != 6 || !st.GetDetached() ||
		st.GetUsage().GetMemoryPeakBytes() <= 0 {
		t.Errorf("state: %v, %v", st, err)
	}
	if _, err := start("bg2", "sleep 300", ""); err != nil {
		t.Errorf("second: %v", err)
	}
	if _, err := start("bg3", "sleep 300", ""); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("third: %v", err)
	}
	list, err := d.Tools.ListCalls(ctx, &sandgatev1.ListCallsRequest{State: sandgatev1.CallState_CALL_STATE_RUNNING})
	if err != nil || len(list.GetCalls()) != 2 || list.GetCalls()[0].GetCallId() != "bg2" {
		t.Errorf("list: %v, %v", list, err)
	}
	if out, _, code := d.Sandgate(t, "", "logs", "bg"); out != "first\n" || code != 0 {
		t.Errorf("logs: %q, exit %d", out, code)
	}
	if _, errOut, code := d.Sandgate(t, "", "kill", "bg2"); code != 0 {
		t.Errorf("kill: %q, exit %d", errOut, code)
	}
	if _, _, code := d.Sandgate(t, "", "attach", "bg2"); code != 130 {
		t.Errorf("attach to what was killed: exit %d, want 130", code)
	}
	d.Execute(t, daemontest.Bash("touch go", daemontest.Profile("open"), daemontest.Session("s")))
	if a, err = attach(ctx, d.Tools, "bg", 6, nil); err != nil || a.stdout.String() != "last\n" || a.result.GetExitCode() != 7 {
		t.Errorf("attach from 6: %q, %v, %v", a.stdout.String(), a.result, err)
	}
	if out, _, code := d.Sandgate(t, "", "attach", "bg"); out != "first\nlast\n" || code != 7 {
		t.Errorf("attach after the end: %q, exit %d", out, code)
	}
	out, _, code := d.Sandgate(t, "", "call", "-d", "-p", "open", "-s", "s2", "bash", "--arg", "command=sleep 300")
	if id := strings.TrimSpace(out); code != 0 || id == "" {
		t.Errorf("call -d: %q, exit %d", out, code)
	} else if out, _, code = d.Sandgate(t, "", "calls", "list", "-r"); code != 0 || !strings.Contains(out, id) || !strings.Contains(out, "running (detached)") {
		t.Errorf("calls list: %q, exit %d", out, code)
	}
}

// TestLongLogIsKeptAtItsEnds runs a call that writes more than its result holds:
// who attaches sees it as it comes and not only its end.
func TestLongLogIsKeptAtItsEnds(t *testing.T) {
	d := daemontest.Start(t, "pool: {idle: 1}\ndefaults: {output: 64KiB}\nresults: {max_log: 1MiB}\n")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req := daemontest.Bash("seq 1 100000; until [ -e go ]; do sleep 0.05; done; echo end", daemontest.Profile("open"), daemontest.CallID("long"), daemontest.Session("s"))
	req.Detach = true
	if _, err := d.Tools.Execute(ctx, req); err != nil {
		t.Fatal(err)
	}
	a, err := attach(ctx, d.Tools, "long", 0, func(s string) bool { return strings.HasSuffix(s, "\n100000\n") })
	if err != nil || !strings.HasPrefix(a.stdout.String(), "1\n2\n") {
		t.Fatalf("attach: %d bytes, %v", a.stdout.Len(), err)
	}
	d.Execute(t, daemontest.Bash("touch go", daemontest.Profile("open"), daemontest.Session("s")))
	if a, err = attach(ctx, d.Tools, "long", 0, nil); err != nil || !strings.HasSuffix(a.stdout.String(), "\n100000\nend\n") || a.stdout.Len() < 400<<10 {
		t.Errorf("attach after the end: %d bytes, gaps %v, %v", a.stdout.Len(), a.gaps, err)
	}
	if n := len(a.result.GetStdout().GetHead()) + len(a.result.GetStdout().GetTail()); n != 64<<10 {
		t.Errorf("the result holds %d bytes, want 64 KiB", n)
	}
	if a, err = attach(ctx, d.Tools, "long", 0, nil); err != nil { // all of it from what is kept at the end
		t.Fatal(err)
	}
	before := a.stdout.String()
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := d.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if a, err = attach(ctx, d.Tools, "long", 0, nil); err != nil || a.stdout.String() != before {
		t.Errorf("after a restart: %d bytes, %v, want %d", a.stdout.Len(), err, len(before))
	}
}

// TestLostClientIsFollowedByAnother loses the client of a streamed call.
func TestLostClientIsFollowedByAnother(t *testing.T) {
	d := daemontest.Start(t, "pool: {idle: 2}\n")
	for _, detach := range []bool{false, true} {
		id := fmt.Sprintf("lost-%v", detach)
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := clients(t, d, 1)[0].ExecuteStream(ctx)
		if err != nil {
			t.Fatal(err)
		}
		req := daemontest.Bash("echo begun; sleep 1; echo done", daemontest.Profile("open"), daemontest.CallID(id))
		err = stream.Send(&sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Start{
			Start: &sandgatev1.ExecuteStart{Call: req.GetCall(), DetachOnDisconnect: detach},
		}})
		for err == nil {
			var m *sandgatev1.ExecuteStreamResponse
			if m, err = stream.Recv(); err == nil && m.GetOutput() != nil {
				break
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		a, err := attach(t.Context(), d.Tools, id, 0, nil)
		want, text := sandgatev1.Outcome_OUTCOME_CANCELLED, "begun\n"
		if detach {
			want, text = sandgatev1.Outcome_OUTCOME_EXITED, "begun\ndone\n"
		}
		if err != nil || a.result.GetOutcome() != want || a.stdout.String() != text {
			t.Errorf("detach %v: %q, %v, %v", detach, a.stdout.String(), a.result, err)
		}
	}
}

// TestCallOutlivesContainerd kills containerd while a call runs: the cell is the
// shim's, and the call goes on. The pool recovers.
func TestCallOutlivesContainerd(t *testing.T) {
	d := daemontest.Start(t, "pool: {idle: 2}\n")
	req := daemontest.Bash("echo begun; sleep 3; echo done", daemontest.Profile("open"), daemontest.CallID("outlives"))
	req.Detach = true
	if _, err := d.Tools.Execute(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(d.ContainerdPID(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	a, err := attach(t.Context(), d.Tools, "outlives", 0, nil)
	if err != nil || a.result.GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED || a.stdout.String() != "begun\ndone\n" {
		t.Errorf("running call: %q, %v, %v", a.stdout.String(), a.result, err)
	}
	for n := range 3 {
		r := d.Execute(t, daemontest.Bash("echo alive", daemontest.Profile("open"), daemontest.Session(fmt.Sprint("new-", n))))
		if daemontest.Text(r.GetStdout()) != "alive\n" {
			t.Errorf("new call %d: %v", n, r)
		}
	}
}
