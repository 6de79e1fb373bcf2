//go:build sandgate_failpoints

package failpoint

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// again runs one test in a process of its own, armed as told, and returns what it
// wrote and how it ended.
func again(t *testing.T, test, armed string) (string, syscall.WaitStatus) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), "SANDGATE_FAILPOINTS="+armed)
	out, _ := cmd.CombinedOutput()
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return string(out), status
}

func child() bool { return os.Getenv("SANDGATE_FAILPOINTS") != "" }

func TestKillAtHit(t *testing.T) {
	if child() {
		for i := range 5 {
			t.Log("hit", i+1)
			os.Stderr.WriteString("hit\n")
			At(GateDecided)
		}
		return
	}
	out, status := again(t, "TestKillAtHit", "gate/decided=kill@3")
	if !status.Signaled() || status.Signal() != syscall.SIGKILL || strings.Count(out, "hit\n") != 3 || !strings.Contains(out, KilledAt(GateDecided)) {
		t.Errorf("got %v, %q; want it killed at the third hit", status, out)
	}
}

func TestTornWritesAPart(t *testing.T) {
	if child() {
		Torn(JournalTorn, 10, func(n int) {
			if n < 0 || n > 10 {
				t.Errorf("%d of 10 bytes", n)
			}
			os.Stderr.WriteString("part\n")
		})
		return
	}
	if out, status := again(t, "TestTornWritesAPart", "journal/torn=kill"); !status.Signaled() || !strings.Contains(out, "part\n") {
		t.Errorf("got %v, %q", status, out)
	}
}

func TestStallAndError(t *testing.T) {
	if child() {
		began := time.Now()
		At(GateDecided)
		At(GateDecided)
		if took := time.Since(began); took < 20*time.Millisecond {
			t.Errorf("two stalls of 10 ms took %v", took)
		}
		if err := Err(JournalWritten); err != nil {
			t.Errorf("first: %v", err)
		}
		if err := Err(JournalWritten); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("second: %v", err)
		}
		return
	}
	if out, status := again(t, "TestStallAndError", "gate/decided=stall:10ms@*,journal/written=error:enospc@2"); status.ExitStatus() != 0 {
		t.Errorf("got %v, %s", status, out)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, bad := range []string{"gate/decided", "no/such=kill", "gate/decided=kill@0", "gate/decided=kill@x", "gate/decided=stall:x", "gate/decided=die"} {
		if got, err := parse(bad); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
}
