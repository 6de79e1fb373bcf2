package gate_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

// copied is what is on disk of a bench, as if its process were killed now.
func copied(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// reopened is a bench on what another one has left, with its outputs.
func reopened(t *testing.T, dir string) *bench {
	t.Helper()
	keep, store := withOutputs(t, dir)
	b := newBench(t, dir, nil, keep)
	t.Cleanup(func() {
		if err := store.Close(); err != nil { // before its files are looked at
			t.Error(err)
		}
	})
	return b
}

// TestLogOfAKilledDaemonIsKept: a detached call is running when the daemon is killed.
// Its output up to there can be read afterwards, by all ways and after another restart,
// and says where it ends.
func TestLogOfAKilledDaemonIsKept(t *testing.T) {
	dir := t.TempDir()
	keep, _ := withOutputs(t, dir)
	b, programs := led(t, dir, keep)
	call := bash("c1", "sleep")
	if _, _, err := b.Start(t.Context(), call); err != nil {
		t.Fatal(err)
	}
	p := <-programs
	p.call.Observer.Output(sandbox.Stdout, 0, []byte("one "))
	p.call.Observer.Output(sandbox.Stderr, 0, []byte("oops"))
	p.call.Observer.Output(sandbox.Stdout, 4, []byte("two"))
	killed := copied(t, dir)
	p.release <- sandboxtest.Exit(0, "one two and three")

	const message = "stdout ends after 7 bytes and stderr after 4, and what it wrote after is lost"
	for n := range 2 { // the second time as the journal and the store tell it
		again := reopened(t, killed)
		f := newFollower()
		res, err := again.Attach(t.Context(), alice, "c1", 0, 0, f)
		if err != nil || res.Outcome != "UNKNOWN" || !strings.Contains(res.Message, message) {
			t.Fatalf("start %d: %+v, %v", n, res, err)
		}
		if got := f.all(); !strings.HasSuffix(got, "1@0 one ; 2@0 oops; 1@4 two") {
			t.Errorf("start %d: told %q", n, got)
		}
		res = again.do(t, bash("c1", "sleep"))
		if res.Outcome != "UNKNOWN" || !res.Replayed || string(res.Stdout.Head) != "one two" || string(res.Stderr.Head) != "oops" || res.Stdout.TotalBytes != 7 {
			t.Errorf("start %d: sent again: %+v", n, res)
		}
		if left, err := filepath.Glob(filepath.Join(killed, "outputs", "running-*")); err != nil || len(left) > 0 {
			t.Errorf("start %d: left are %v (%v)", n, left, err)
		}
		if err := again.journal.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLongLogOfAKilledDaemonIsBounded: more than is kept, of which both ends are.
func TestLongLogOfAKilledDaemonIsBounded(t *testing.T) {
	dir := t.TempDir()
	keep, _ := withOutputs(t, dir) // 32 KiB of each stream
	b, programs := led(t, dir, keep)
	if _, _, err := b.Start(t.Context(), bash("c1", "sleep")); err != nil {
		t.Fatal(err)
	}
	p := <-programs
	var all strings.Builder
	for i := range 20_000 {
		line := fmt.Sprintf("%05d\n", i)
		p.call.Observer.Output(sandbox.Stdout, int64(all.Len()), []byte(line))
		all.WriteString(line)
	}
	again := reopened(t, copied(t, dir))
	p.release <- sandboxtest.Exit(0, "")
	var got strings.Builder
	gap := int64(0)
	res, err := again.Attach(t.Context(), alice, "c1", 0, 0, taker{&got, &gap})
	if err != nil || int64(got.Len())+gap != int64(all.Len()) || got.Len() != 32<<10 {
		t.Fatalf("got %d bytes and a gap of %d of %d, %v", got.Len(), gap, all.Len(), err)
	}
	if text := all.String(); !strings.HasPrefix(text, got.String()[:16<<10]) || !strings.HasSuffix(text, got.String()[16<<10:]) {
		t.Error("it is not what was written")
	}
	if !strings.HasSuffix(all.String(), string(res.Stdout.Tail)) || len(res.Stdout.Tail) != 16<<10 || len(res.Stdout.Head) != 16<<10 {
		t.Errorf("the result has %d and %d bytes", len(res.Stdout.Head), len(res.Stdout.Tail))
	}
}

// TestLogThatWasNotStoredAnyMoreIsKept: the daemon was killed between the outcome of a
// call and the end of its log's way into the store.
func TestLogThatWasNotStoredAnyMoreIsKept(t *testing.T) {
	for name, output := range map[string]string{"more than the result": "much more than the result", "as much": "result"} {
		t.Run(name, func(t *testing.T) { testNotStoredAnyMore(t, output) })
	}
}

func testNotStoredAnyMore(t *testing.T, output string) {
	dir := t.TempDir()
	keep, _ := withOutputs(t, dir)
	b, programs := led(t, dir, keep)
	if _, _, err := b.Start(t.Context(), bash("c1", "sleep")); err != nil {
		t.Fatal(err)
	}
	p := <-programs
	p.call.Observer.Output(sandbox.Stdout, 0, []byte(output))
	before := copied(t, dir) // with the file of the running call
	f := newFollower()
	done := b.attached(t.Context(), "c1", 0, 0, f)
	p.release <- sandboxtest.Exit(0, "result")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := b.journal.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "journal.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(before, "journal.jsonl"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	again := reopened(t, before)
	f = newFollower()
	res, err := again.Attach(t.Context(), alice, "c1", 0, 0, f)
	if err != nil || res.Outcome != "EXITED" || !strings.HasSuffix(f.all(), "1@0 "+output) {
		t.Errorf("told %q, %+v, %v", f.all(), res, err)
	}
	if res := again.do(t, bash("c1", "sleep")); output == "result" && string(res.Stdout.Head) != output {
		t.Errorf("sent again: %+v", res)
	}
}

// TestRequestedCallLeavesNoFile: only calls that outlive their request do.
func TestRequestedCallLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	keep, store := withOutputs(t, dir)
	b, programs := led(t, dir, keep)
	done := make(chan error, 1)
	go func() {
		_, err := b.Execute(context.Background(), bash("c1", "sleep"), nil)
		done <- err
	}()
	p := <-programs
	p.call.Observer.Output(sandbox.Stdout, 0, make([]byte, 1<<18))
	left, err := filepath.Glob(filepath.Join(store.Dir(), "running-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left are %v (%v)", left, err)
	}
	p.release <- sandboxtest.Exit(0, "")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// taker takes one stream whole.
type taker struct {
	text *strings.Builder
	gap  *int64
}

var _ gate.Follower = taker{}

func (taker) Decided(string, policy.Decision) {}
func (taker) Started(sandbox.Receipt)         {}

func (k taker) Output(_ sandbox.Stream, _ int64, data []byte) { k.text.Write(data) }
func (k taker) Gap(_ sandbox.Stream, _, size int64)           { *k.gap += size }
