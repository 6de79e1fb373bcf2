package containerd_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/containerd"
)

// initOf finds the machine's pid of a cell's init.
func initOf(t *testing.T, cellID string) int {
	t.Helper()
	for _, file := range []string{"/*/" + cellID + "/init", "/*/*/" + cellID} { // cgroup v2, v1
		found, err := filepath.Glob("/sys/fs/cgroup" + file + "/cgroup.procs")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range found {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for pid := range strings.FieldsSeq(string(text)) {
				status, _ := os.ReadFile("/proc/" + pid + "/status") // it may have ended
				_, rest, _ := bytes.Cut(status, []byte("\nNSpid:"))
				line, _, _ := bytes.Cut(rest, []byte("\n"))
				if ids := strings.Fields(string(line)); len(ids) == 2 && ids[1] == "1" {
					n, err := strconv.Atoi(pid)
					if err != nil {
						t.Fatal(err)
					}
					return n
				}
			}
		}
	}
	t.Fatalf("no init of cell %s", cellID)
	return 0
}

// inDirectory is a call of a session that has a directory of its own.
func inDirectory(t *testing.T, r *containerd.Runtime, script string) (sandbox.Call, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "session")
	if err := r.PrepareDir(dir); err != nil {
		t.Fatal(err)
	}
	call := bashCall(script)
	call.Reuse, call.ReuseKey, call.Workspace.HostDir = sandbox.ReuseSession, "k", dir
	return call, dir
}

// TestCallOfAKilledCellMayHaveRun kills init as soon as the program has left its
// mark, which is often before the host hears that the program was started. What
// has run must never be answered with an error: the caller would run it again.
func TestCallOfAKilledCellMayHaveRun(t *testing.T) {
	requireRoot(t)
	r := start(t, testConfig(t))
	call, dir := inDirectory(t, r, "true")
	for range 8 {
		call.Argv = []string{"sh", "-c", "true"}
		first, err := r.Run(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		pid, mark := initOf(t, first.Receipt.CellID), filepath.Join(dir, "mark")
		call.Argv[2] = "echo x >>mark; exec sleep 1000"
		killed := make(chan error, 1)
		go func() {
			for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
				if _, err := os.Stat(mark); err == nil {
					break
				}
			}
			killed <- syscall.Kill(pid, syscall.SIGKILL)
		}()
		res, err := r.Run(t.Context(), call)
		if kerr := <-killed; kerr != nil {
			t.Fatalf("kill init: %v", kerr)
		}
		if err != nil || res.Outcome != sandbox.OutcomeUnknown || !strings.Contains(res.Message, "the cell ended under the call") {
			t.Errorf("got %s %q, %v, want UNKNOWN", res.Outcome, res.Message, err)
		}
		if text, err := os.ReadFile(mark); err != nil || len(text) > 0 && string(text) != "x\n" {
			t.Errorf("mark %q, %v: want one run at most", text, err)
		}
		if err := os.Remove(mark); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDeadIdleCellIsReplaced kills init of a cell that waits for its session.
func TestDeadIdleCellIsReplaced(t *testing.T) {
	requireRoot(t)
	r := start(t, testConfig(t))
	call, dir := inDirectory(t, r, "echo x >>mark; exit 3")
	for round := range 6 {
		if call.Workspace.HostDir = dir; round%2 == 1 {
			call.Workspace.HostDir, call.Argv[2] = "", "exit 3"
		}
		first, err := r.Run(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		pid := initOf(t, first.Receipt.CellID)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		waitEnded(t, pid)
		res, err := r.Run(t.Context(), call)
		if err != nil || res.ExitCode != 3 || res.Receipt.CellID == first.Receipt.CellID {
			t.Errorf("round %d: got %s %d %q in %s, %v, want EXITED 3 in another cell", round, res.Outcome, res.ExitCode, res.Message, res.Receipt.CellID, err)
		}
	}
}

// waitEnded waits until a process is gone and reaped: a zombie may still have threads.
func waitEnded(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		if syscall.Kill(pid, 0) != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d does not end", pid)
		}
	}
}

// TestReceiptOwnsThatADirectoryIsNotBound: disk_bytes does not bind there.
func TestReceiptOwnsThatADirectoryIsNotBound(t *testing.T) {
	requireRoot(t)
	r := start(t, testConfig(t))
	call, _ := inDirectory(t, r, "true")
	res, err := r.Run(t.Context(), call)
	if err != nil || !slices.Contains(res.Receipt.Unverified, "workspace_disk_bytes") {
		t.Errorf("directory: got %v, %v, want workspace_disk_bytes as not verified", res.Receipt.Unverified, err)
	}
	call.Workspace.HostDir = ""
	res, err = r.Run(t.Context(), call)
	if err != nil || len(res.Receipt.Unverified) > 0 || res.Receipt.Enforced["disk_bytes"] <= 0 {
		t.Errorf("ephemeral: got %v, %v, want all verified", res.Receipt.Unverified, err)
	}
}

// forkServersOf finds the machine's pids of a cell's fork servers: the children of
// init that are in its own pid namespace.
func forkServersOf(t *testing.T, initPID int) []int {
	t.Helper()
	lists, err := filepath.Glob("/proc/" + strconv.Itoa(initPID) + "/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var servers []int
	for _, list := range lists {
		text, _ := os.ReadFile(list) // a thread may have ended
		for child := range strings.FieldsSeq(string(text)) {
			status, _ := os.ReadFile("/proc/" + child + "/status") // a stage may have ended
			_, rest, _ := bytes.Cut(status, []byte("\nNSpid:"))
			line, _, _ := bytes.Cut(rest, []byte("\n"))
			if len(strings.Fields(string(line))) == 2 {
				pid, err := strconv.Atoi(child)
				if err != nil {
					t.Fatal(err)
				}
				servers = append(servers, pid)
			}
		}
	}
	slices.Sort(servers)
	return servers
}

// TestLostForkServerFailsNoCall kills either fork server of a cell between two
// calls. Those that follow run as if nothing had happened, at last in another cell.
func TestLostForkServerFailsNoCall(t *testing.T) {
	requireRoot(t)
	r := start(t, testConfig(t))
	for slot := range 2 {
		call, _ := inDirectory(t, r, "exit 3")
		call.ReuseKey = "slot " + strconv.Itoa(slot)
		first, err := r.Run(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		servers := forkServersOf(t, initOf(t, first.Receipt.CellID))
		if len(servers) != 2 {
			t.Fatalf("fork servers %v, want two", servers)
		}
		if err := syscall.Kill(servers[slot], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		last := first
		for n := range 5 {
			last, err = r.Run(t.Context(), call)
			if err != nil || last.Outcome != sandbox.OutcomeExited || last.ExitCode != 3 {
				t.Errorf("call %d after fork server %d was killed: got %s %d %q, %v", n, slot, last.Outcome, last.ExitCode, last.Message, err)
			}
		}
		if last.Receipt.CellID == first.Receipt.CellID {
			t.Errorf("cell %s still serves without its fork server %d", first.Receipt.CellID, slot)
		}
	}
}

// TestCallWhoseCellEndsBeforeItsReleaseRunsInAnother kills init of the session's cell
// while whoever calls makes ready: nothing has run, so the call runs in another cell,
// once, and its stdin is whole.
func TestCallWhoseCellEndsBeforeItsReleaseRunsInAnother(t *testing.T) {
	requireRoot(t)
	r := start(t, testConfig(t))
	call, dir := inDirectory(t, r, "true")
	for round := range 4 {
		call.Argv, call.Stdin, call.Ready = []string{"sh", "-c", "true"}, nil, nil
		first, err := r.Run(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		pid, asked := initOf(t, first.Receipt.CellID), 0
		call.Argv = []string{"sh", "-c", "cat >>mark"}
		call.Stdin = strings.NewReader("x\n")
		call.Ready = func(context.Context) error {
			asked++
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				return err
			}
			waitEnded(t, pid)
			return nil
		}
		res, err := r.Run(t.Context(), call)
		if err != nil || res.Outcome != sandbox.OutcomeExited || res.Receipt.CellID == first.Receipt.CellID || asked != 1 {
			// The host may not have heard of the end yet: then nobody can say.
			if res.Outcome != sandbox.OutcomeUnknown {
				t.Errorf("round %d: got %s %q in %s, %v, asked %d times, want EXITED in another cell than %s",
					round, res.Outcome, res.Message, res.Receipt.CellID, err, asked, first.Receipt.CellID)
			}
			continue
		}
		if text, err := os.ReadFile(filepath.Join(dir, "mark")); err != nil || string(text) != "x\n" {
			t.Errorf("round %d: mark %q, %v: want one run", round, text, err)
		}
		if err := os.Remove(filepath.Join(dir, "mark")); err != nil {
			t.Fatal(err)
		}
	}
}
