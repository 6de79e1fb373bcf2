package abuse

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

func TestForkBombIsHeldByThePidsLimit(t *testing.T) {
	d := daemon(t)
	r := run(t, d, ":(){ :|:& };: ; sleep 60", daemontest.Timeout(3*time.Second))
	// bash itself may give up when it cannot fork, or the deadline ends it.
	if o := r.GetOutcome(); o != sandgatev1.Outcome_OUTCOME_TIMED_OUT && o != sandgatev1.Outcome_OUTCOME_EXITED {
		t.Errorf("outcome: got %v, want TIMED_OUT or EXITED", o)
	}
	if got := r.GetUsage().GetPidsPeak(); got != 64 && got != -1 {
		t.Errorf("pids peak: got %d, want the limit of 64 (or -1 where the kernel cannot tell)", got)
	}
	if r.GetUsage().GetPidsLimitHits() <= 0 {
		t.Errorf("pids limit hits: got %d, want more than 0", r.GetUsage().GetPidsLimitHits())
	}
	if got := r.GetReceipt().GetEnforced()["pids"]; got != 64 {
		t.Errorf("enforced pids: got %d, want 64", got)
	}
}

func TestMemoryBombInAGrandchildIsOutOfMemory(t *testing.T) {
	d := daemon(t)
	r := run(t, d, `bash -c 'python3 -c "b = bytearray(512 << 20); print(len(b))"; echo survived $?' `)
	if r.GetUsage().GetOomKills() < 1 {
		t.Errorf("oom kills: got %d, want at least 1", r.GetUsage().GetOomKills())
	}
	// bash goes on after its child was killed: what counts is that the kill is told.
	wantOutcome(t, r, sandgatev1.Outcome_OUTCOME_OUT_OF_MEMORY)
	if strings.Contains(daemontest.Text(r.GetStdout()), "536870912") {
		t.Error("512 MiB were allocated under a limit of 128 MiB")
	}
	if peak := r.GetUsage().GetMemoryPeakBytes(); peak > 128<<20 {
		t.Errorf("memory peak: got %d, want at most %d", peak, 128<<20)
	}
}

func TestSharedMemoryIsChargedToTheCall(t *testing.T) {
	d := daemon(t)
	r := run(t, d, "for i in 1 2 3 4; do head -c 60M /dev/zero > /dev/shm/$i; head -c 60M /dev/zero > /tmp/$i; done; echo done")
	if o := r.GetOutcome(); o == sandgatev1.Outcome_OUTCOME_EXITED && r.GetExitCode() == 0 && r.GetUsage().GetOomKills() == 0 &&
		!strings.Contains(daemontest.Text(r.GetStderr()), "No space left") {
		t.Errorf("480 MiB of tmpfs under limits of 128 MiB memory and 64 MiB disk: got %v with no error", o)
	}
	r = run(t, d, "ls -A /dev/shm /tmp | grep -c '^[0-9]$'")
	wantStdout(t, r, "0\n")
}

func TestEndlessOutputOnBothStreamsIsBounded(t *testing.T) {
	d := daemon(t)
	before := d.ResidentBytes(t)
	r := run(t, d, "yes out & yes err >&2", daemontest.Timeout(4*time.Second))
	wantOutcome(t, r, sandgatev1.Outcome_OUTCOME_TIMED_OUT)
	for name, o := range map[string]*sandgatev1.Output{"stdout": r.GetStdout(), "stderr": r.GetStderr()} {
		kept := int64(len(o.GetHead()) + len(o.GetTail()))
		if !o.GetTruncated() || o.GetTotalBytes() <= kept || kept > 1<<20 || len(o.GetHead()) == 0 || len(o.GetTail()) == 0 {
			t.Errorf("%s: got head %d, tail %d, total %d, truncated %v; want head and tail of at most 1 MiB of more",
				name, len(o.GetHead()), len(o.GetTail()), o.GetTotalBytes(), o.GetTruncated())
		}
	}
	if grown := d.ResidentBytes(t) - before; grown > 64<<20 {
		t.Errorf("the daemon grew by %d MiB, want it bounded", grown>>20)
	}
}

func TestOutputTotalEndsTheCall(t *testing.T) {
	daemontest.RequireRoot(t)
	d := daemontest.Start(t, "ceiling: {output_total: 8MiB}\ndefaults: {output_total: 8MiB}\npool: {idle: 1}\n")
	r := run(t, d, "yes", daemontest.Timeout(30*time.Second))
	wantOutcome(t, r, sandgatev1.Outcome_OUTCOME_OUTPUT_LIMIT)
}

func TestBurstBeforeExitIsWhole(t *testing.T) {
	d := daemon(t)
	r := run(t, d, "head -c 524288 /dev/urandom | tee /tmp/x | base64 -w0; sha256sum /tmp/x >&2; exit 3")
	wantOutcome(t, r, sandgatev1.Outcome_OUTCOME_EXITED)
	if r.GetExitCode() != 3 {
		t.Errorf("exit code: got %d, want 3", r.GetExitCode())
	}
	if got, want := int64(len(daemontest.Text(r.GetStdout()))), int64((524288+2)/3*4); got != want || r.GetStdout().GetTruncated() {
		t.Errorf("stdout: got %d bytes (truncated %v), want %d", got, r.GetStdout().GetTruncated(), want)
	}
}

func TestBackgroundChildCannotHoldTheCall(t *testing.T) {
	d := daemon(t)
	r := run(t, d, "sleep 1000 & echo hi", daemontest.Timeout(25*time.Second))
	wantOutcome(t, r, sandgatev1.Outcome_OUTCOME_EXITED)
	wantStdout(t, r, "hi\n")
	if got := r.GetUsage().GetBackgroundKilled(); got != 1 {
		t.Errorf("background killed: got %d, want 1", got)
	}
}

func TestDeadlineEndsDetachedProcessesThatIgnoreSigterm(t *testing.T) {
	d := daemon(t)
	r := run(t, d, `trap '' TERM HUP INT; (setsid bash -c 'trap "" TERM HUP INT; (sleep 600 & sleep 600) & sleep 600' &) ; sleep 600`,
		daemontest.Timeout(2*time.Second))
	wantOutcome(t, r, sandgatev1.Outcome_OUTCOME_TIMED_OUT)
	// The host's timeout counts from the acceptance of the call.
	if got := r.GetDuration().GetTotal().AsDuration(); got < 2*time.Second || got > 15*time.Second {
		t.Errorf("time in all: got %v, want the deadline of 2s and little more", got)
	}
}

func TestOwnExitCode137IsExited(t *testing.T) {
	d := daemon(t)
	for _, code := range []int32{137, 124, 255} {
		r := run(t, d, "exit "+itoa(code))
		wantOutcome(t, r, sandgatev1.Outcome_OUTCOME_EXITED)
		if r.GetExitCode() != code {
			t.Errorf("exit code: got %d, want %d", r.GetExitCode(), code)
		}
	}
	r := run(t, d, "kill -SEGV $$")
	wantOutcome(t, r, sandgatev1.Outcome_OUTCOME_SIGNALED)
	if r.GetSignal() != "SIGSEGV" {
		t.Errorf("signal: got %q, want SIGSEGV", r.GetSignal())
	}
}

func TestStdinOf20MiBComesBackWhole(t *testing.T) {
	d := daemon(t)
	data := randomBytes(20 << 20)
	tooLarge, err := d.Tools.Execute(t.Context(), daemontest.Bash("cat", daemontest.Profile("open"), daemontest.Stdin(data)))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("20 MiB in one message: got %v, %v; want it refused", tooLarge.GetResult().GetOutcome(), err)
	}
	if got := roundTrip(t, data); sha256Hex(got) != sha256Hex(data) {
		t.Errorf("round trip: got %d bytes, want the %d that were sent", len(got), len(data))
	}
}

func TestNoStdinIsAnImmediateEnd(t *testing.T) {
	d := daemon(t)
	r := run(t, d, "cat; echo end", daemontest.Timeout(20*time.Second))
	wantOutcome(t, r, sandgatev1.Outcome_OUTCOME_EXITED)
	wantStdout(t, r, "end\n")
}
