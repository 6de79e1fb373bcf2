package containerd_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/containerd"
)

// inDir is a call of a session in gVisor whose workspace is a directory.
func inDir(key, dir, script string) sandbox.Call {
	call := gvisorCall(script)
	call.ReuseKey, call.Workspace = key, sandbox.Workspace{HostDir: dir}
	return call
}

// workspaceDir makes a directory that is a call's workspace, with one file.
func workspaceDir(t *testing.T, r *containerd.Runtime, file string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "w")
	if err := r.PrepareDir(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// gvisorPool is the state of the cells in gVisor.
func gvisorPool(t *testing.T, r *containerd.Runtime) sandbox.Pool {
	t.Helper()
	for _, p := range r.Pools() {
		if p.Isolation == sandbox.IsolationGVisor {
			return p
		}
	}
	t.Fatal("there is no pool of gVisor")
	return sandbox.Pool{}
}

// waitFreshGVisor waits until a cell is ready that nobody has used.
func waitFreshGVisor(t *testing.T, r *containerd.Runtime) sandbox.Pool {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if p := gvisorPool(t, r); p.Fresh > 0 && p.Making == 0 {
			return p
		}
	}
	t.Fatalf("no cell is made ahead: %+v", gvisorPool(t, r))
	return sandbox.Pool{}
}

// runIn runs a call and wants it to end with what it prints.
func runIn(t *testing.T, r *containerd.Runtime, call sandbox.Call, want string) sandbox.Result {
	t.Helper()
	res, err := r.Run(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(res.Stdout.Head); res.Outcome != sandbox.OutcomeExited || got != want {
		t.Errorf("%q: got %s %d %q, %q on stderr, want %q", call.Argv[len(call.Argv)-1], res.Outcome, res.ExitCode, got, res.Stderr.Head, want)
	}
	return res
}

// TestGVisorSessionsFindACellMadeAhead: where a session has used gVisor, the first call
// of the next one with a directory of its own waits for no cell, and sees nothing of
// the other's.
func TestGVisorSessionsFindACellMadeAhead(t *testing.T) {
	r := start(t, gvisorConfig(t))
	wantGVisorBinds(t, r)
	if p := gvisorPool(t, r); p.Target != 0 {
		t.Errorf("before any session: %+v, want no cell made ahead", p)
	}
	a, b := workspaceDir(t, r, "a"), workspaceDir(t, r, "b")
	const look = "ls -A; pwd; cat /workspace/* | tr -d '\\n'; grep -c ' /workspace ' /proc/mounts >/dev/null && echo of-$0 > new"
	first := runIn(t, r, inDir("a", a, look), "a\n/workspace\na")
	before := waitFreshGVisor(t, r)
	second := runIn(t, r, inDir("b", b, look), "b\n/workspace\nb")
	if after := gvisorPool(t, r); after.Dry != before.Dry || after.Claims != before.Claims+1 {
		t.Errorf("the first call of another session: %+v, before %+v: want one more claim and none that found no cell", after, before)
	}
	if first.Receipt.CellID == second.Receipt.CellID {
		t.Errorf("two sessions had cell %s", first.Receipt.CellID)
	}
	for range 5 { // also with stages that were made since
		runIn(t, r, inDir("a", a, "ls -A"), "a\nnew\n")
		runIn(t, r, inDir("b", b, "ls -A; test -e ws || test -e ../ws && echo more"), "b\nnew\n")
		runIn(t, r, inDir("b", b, "echo b > b; echo new > new"), "")
	}
	for dir, name := range map[string]string{a: "a", b: "b"} {
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 2 || entries[0].Name() != name || entries[1].Name() != "new" {
			t.Errorf("%s of the machine has %v, %v: want %s and new", dir, entries, err, name)
		}
	}
	noneOnTheMachine(t, a, b)
}

// noneOnTheMachine looks that the machine's own mount namespace shows no workspace.
func noneOnTheMachine(t *testing.T, dirs ...string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		if strings.Contains(string(text), " "+dir) {
			t.Errorf("%s is mounted on the machine:\n%s", dir, text)
		}
	}
}

// TestGVisorDirectoriesOfOneKey: a cell has one directory for life, and whoever has
// another one, or one that took its place, gets another cell.
func TestGVisorDirectoriesOfOneKey(t *testing.T) {
	r := start(t, gvisorConfig(t))
	a, b := workspaceDir(t, r, "a"), workspaceDir(t, r, "b")
	cells := map[string]string{}
	note := func(res sandbox.Result, of string) {
		if was, ok := cells[res.Receipt.CellID]; ok && was != of {
			t.Errorf("cell %s served %s, then %s", res.Receipt.CellID, was, of)
		}
		cells[res.Receipt.CellID] = of
	}
	for range 3 {
		note(runIn(t, r, inDir("k", a, "ls"), "a\n"), a)
		note(runIn(t, r, inDir("k", b, "ls"), "b\n"), b)
		none := inDir("k", a, "ls; touch x")
		none.Workspace = sandbox.Workspace{}
		note(runIn(t, r, none, ""), "none")
		readOnly := inDir("k", a, "ls; touch x 2>/dev/null || echo refused")
		readOnly.Workspace.ReadOnly = true
		res := runIn(t, r, readOnly, "a\nrefused\n")
		note(res, "read-only")
		if want := (sandbox.MountState{Path: sandbox.WorkspacePath, Mode: string(sandbox.MountReadOnly)}); !slices.Contains(res.Receipt.Mounts, want) {
			t.Errorf("mounts in the receipt %v: want %v", res.Receipt.Mounts, want)
		}
	}
	if err := os.Rename(a, a+"-before"); err != nil {
		t.Fatal(err)
	}
	if err := r.PrepareDir(a); err != nil {
		t.Fatal(err)
	}
	note(runIn(t, r, inDir("k", a, "ls; echo x > new"), ""), "another "+a)
	if _, err := os.Stat(filepath.Join(a, "new")); err != nil {
		t.Error(err)
	}
	if err := r.EndSession(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if p := gvisorPool(t, r); p.Kept != 0 || p.Busy != 0 {
		t.Errorf("after the session's end %+v, want none of its cells", p)
	}
}

// TestGVisorMapsOwners: a directory that belongs to somebody on the machine, in a cell
// made before.
func TestGVisorMapsOwners(t *testing.T) {
	r := start(t, gvisorConfig(t))
	const owner = 12345
	for i := range 2 {
		dir := filepath.Join(t.TempDir(), "w")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, owner, owner); err != nil {
			t.Fatal(err)
		}
		call := inDir(fmt.Sprint("owner", i), dir, "stat -c %u . ; echo x > new; mkdir sub; stat -c %u new sub")
		call.Workspace.KeepOwner = true
		runIn(t, r, call, "1000\n1000\n1000\n")
		for _, name := range []string{"new", "sub"} {
			if uid := ownerOf(t, filepath.Join(dir, name)); uid != owner {
				t.Errorf("%s belongs to %d, want %d", name, uid, owner)
			}
		}
		waitFreshGVisor(t, r)
	}
}

func ownerOf(t *testing.T, name string) int {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatalf("%s: no owner is told", name)
	}
	return int(stat.Uid)
}

// TestGVisorDirectoryInAnImage: cells of an image are made ahead as well.
func TestGVisorDirectoryInAnImage(t *testing.T) {
	r := start(t, gvisorConfig(t))
	const ref = "example.test/gvisor:1"
	if _, err := r.Import(t.Context(), bytes.NewReader(dockerArchive(t, smallImage(t))), ref); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(filepath.Join(binDir, "sandgate-init"))
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for i := range 2 {
		dir := workspaceDir(t, r, "a")
		if err := os.WriteFile(filepath.Join(dir, "program"), program, 0o755); err != nil {
			t.Fatal(err)
		}
		call := inDir(fmt.Sprint("image", i), dir, "")
		call.Image, call.Argv = ref, []string{"/workspace/program", "no-such-face"}
		res, err := r.Run(t.Context(), call)
		if err != nil || res.Outcome != sandbox.OutcomeExited || res.ExitCode != 2 {
			t.Fatalf("program in the workspace: %s %d %q, %v, want code 2", res.Outcome, res.ExitCode, res.Message, err)
		}
		ids[res.Receipt.CellID] = true
	}
	if len(ids) != 2 {
		t.Errorf("cells %v, want one for each session", ids)
	}
}

// BenchmarkGVisorSession is `bash -c true` with a directory: as the first call of a
// session, after a pause, and back to back as a later one.
func BenchmarkGVisorSession(b *testing.B) {
	r := start(b, gvisorConfig(b))
	runs := 0
	run := func(b *testing.B, key, dir string) time.Duration {
		began := time.Now()
		if res, err := r.Run(b.Context(), inDir(key, dir, "true")); err != nil || res.Outcome != sandbox.OutcomeExited {
			b.Fatalf("got %s, %v", res.Outcome, err)
		}
		return time.Since(began)
	}
	report := func(b *testing.B, took []time.Duration) {
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1e3, "p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1e3, "p99-ms")
	}
	b.Run("first call", func(b *testing.B) {
		var took []time.Duration
		for b.Loop() {
			runs++
			dir := filepath.Join(b.TempDir(), "w")
			if err := r.PrepareDir(dir); err != nil {
				b.Fatal(err)
			}
			time.Sleep(1200 * time.Millisecond) // the load that is measured
			took = append(took, run(b, fmt.Sprint("first", runs), dir))
			if err := r.EndSession(b.Context(), fmt.Sprint("first", runs)); err != nil {
				b.Fatal(err)
			}
		}
		report(b, took)
	})
	dir := filepath.Join(b.TempDir(), "w")
	if err := r.PrepareDir(dir); err != nil {
		b.Fatal(err)
	}
	for name, pause := range map[string]time.Duration{"back to back": 0, "after a pause": 30 * time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				time.Sleep(pause) // as above
				took = append(took, run(b, "later", dir))
			}
			report(b, took)
		})
	}
}
