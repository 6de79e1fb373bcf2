package gate_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/session"
	"github.com/sandgate/sandgate/sandbox"
)

func upload(t *testing.T, b *bench, id, path, content string) {
	t.Helper()
	w, err := b.UploadFile(t.Context(), alice, id, path, 0o644, strings.NewReader(content))
	if err != nil || w.Bytes != int64(len(content)) {
		t.Fatalf("upload %s: %+v, %v", path, w, err)
	}
}

func download(t *testing.T, b *bench, id, path string) (string, error) {
	t.Helper()
	var out []byte
	err := b.DownloadFile(t.Context(), alice, id, path, 0, func(f io.Reader, size int64) (err error) {
		out, err = io.ReadAll(f)
		if int64(len(out)) != size {
			t.Errorf("%s: %d bytes, told were %d", path, len(out), size)
		}
		return err
	})
	return string(out), err
}

func TestFilesGoUpAndDown(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, func(cfg *gate.Config) { cfg.FileBounds.UploadBytes = 100 })
	if _, err := b.UploadFile(t.Context(), alice, "s", "f", 0o644, strings.NewReader("x")); !errdefs.IsNotFound(err) {
		t.Errorf("into no session: %v", err)
	}
	makeSession(t, b, "s", session.Terms{})
	upload(t, b, "s", "dir/f", "content")
	if got, err := download(t, b, "s", "dir/f"); err != nil || got != "content" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := b.DownloadFile(t.Context(), bob, "s", "dir/f", 0, nil); !errdefs.IsNotFound(err) {
		t.Errorf("another caller's: %v", err)
	}
	if _, err := b.UploadFile(t.Context(), alice, "s", "big", 0o644, bytes.NewReader(make([]byte, 101))); !errdefs.IsResourceExhausted(err) {
		t.Errorf("more than is taken: %v", err)
	}
	var packed bytes.Buffer
	if n, err := b.DownloadTree(t.Context(), alice, "s", ".", &packed); err != nil || n.Files != 2 {
		t.Fatalf("%+v, %v", n, err)
	}
	makeSession(t, b, "other", session.Terms{})
	if n, err := b.UploadTree(t.Context(), alice, "other", "in", &packed); err != nil || n.Files != 2 {
		t.Fatalf("%+v, %v", n, err)
	}
	if got, err := download(t, b, "other", "in/dir/f"); err != nil || got != "content" {
		t.Errorf("got %q, %v", got, err)
	}
	var text strings.Builder
	for _, r := range b.rawRecords(t) {
		text.Write(r.Data)
	}
	records := text.String()
	for _, want := range []string{`"event":"uploaded"`, `"event":"unpacked"`, `"path":"dir/f"`, "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"} {
		if !strings.Contains(records, want) {
			t.Errorf("the journal has no %s", want)
		}
	}
}

// A workspace is taken back as a whole, and while it is saved or put back no call
// works in it.
func TestSnapshotRestoreAndFork(t *testing.T) {
	running, finish := make(chan struct{}), make(chan struct{})
	b := newBench(t, t.TempDir(), func(_ context.Context, call sandbox.Call) (sandbox.Result, error) {
		if slices.Contains(call.Argv, "wait") {
			close(running)
			<-finish
		}
		return sandbox.Result{Outcome: sandbox.OutcomeExited}, nil
	}, nil)
	b.policy.decide = func(in policy.Input) policy.Decision {
		return policy.Decision{ID: in.DecisionID, Outcome: policy.Allow, Reasons: []policy.Reason{{Rule: "t", Message: "t"}}, Labels: []string{"saw:secret"}}
	}
	makeSession(t, b, "s", session.Terms{HostLabels: map[string]string{"k": "v"}})
	upload(t, b, "s", "f", "first")
	b.do(t, within("s", "c1", "true"))
	snap, err := b.TakeSnapshot(t.Context(), alice, "s", "one")
	if err != nil || snap.Files != 1 || snap.Bytes != 5 {
		t.Fatalf("%+v, %v", snap, err)
	}
	upload(t, b, "s", "f", "second")
	upload(t, b, "s", "new", "")
	changes, err := b.ListChanges(t.Context(), alice, "s", "one", "")
	if err != nil || !slices.Equal(changes.Modified, []string{"f"}) || !slices.Equal(changes.Created, []string{"new"}) {
		t.Errorf("changes: %+v, %v", changes, err)
	}
	if changes, err := b.ListChanges(t.Context(), alice, "s", "", "c1"); err != nil || len(changes.Created)+len(changes.Modified) != 2 || !changes.Blind {
		t.Errorf("changes since a call: %+v, %v", changes, err)
	}

	done := make(chan error, 1)
	go func() {
		_, err := b.Execute(t.Context(), within("s", "c2", "wait"), nil)
		done <- err
	}()
	<-running
	if _, err := b.RestoreSnapshot(t.Context(), alice, "s", "one"); !errdefs.IsUnavailable(err) {
		t.Errorf("restored under a running call: %v", err)
	}
	close(finish)
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	before := b.sessions.WorkspaceDir(alice.ID, "s")
	old, err := os.Stat(before)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.RestoreSnapshot(t.Context(), alice, "s", "one"); err != nil {
		t.Fatal(err)
	}
	if now, err := os.Stat(before); err != nil || os.SameFile(old, now) {
		t.Errorf("the workspace was not exchanged as a whole: %v", err)
	}
	if got, err := download(t, b, "s", "f"); err != nil || got != "first" {
		t.Errorf("restored %q, %v", got, err)
	}
	if _, err := download(t, b, "s", "new"); !errdefs.IsNotFound(err) {
		t.Errorf("what was new is there: %v", err)
	}

	for name, from := range map[string]string{"now": "", "then": "one"} {
		upload(t, b, "s", "f", "changed")
		made, err := b.ForkSession(t.Context(), alice, "s", from, "fork-"+name)
		if err != nil || !slices.Equal(made.Labels, []string{"saw:secret"}) || made.Seq != 0 || made.Terms.HostLabels["k"] != "v" {
			t.Fatalf("%s: %+v, %v", name, made, err)
		}
		want := map[string]string{"now": "changed", "then": "first"}[name]
		if got, err := download(t, b, "fork-"+name, "f"); err != nil || got != want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	upload(t, b, "fork-now", "f", "of the fork")
	if got, err := download(t, b, "s", "f"); err != nil || got != "changed" {
		t.Errorf("the fork shares files: %q, %v", got, err)
	}
	if err := b.journal.Close(); err != nil {
		t.Fatal(err)
	}
	again := newBench(t, b.dir, nil, nil)
	if got, err := again.GetSession(t.Context(), alice.ID, "fork-now"); err != nil || !slices.Equal(got.Labels, []string{"saw:secret"}) {
		t.Errorf("after a restart: %+v, %v", got, err)
	}
	if list, err := again.ListSnapshots(t.Context(), alice, "s"); err != nil || len(list) != 1 || list[0].ID != snap.ID || list[0].Digest != snap.Digest {
		t.Errorf("after a restart: %+v, %v", list, err)
	}
	if err := again.RemoveSnapshot(t.Context(), alice, "s", "one"); err != nil {
		t.Error(err)
	}
	if _, err := again.RestoreSnapshot(t.Context(), alice, "s", "one"); !errdefs.IsNotFound(err) {
		t.Errorf("removed, but restored: %v", err)
	}
}

func TestSnapshotsAreBounded(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, func(cfg *gate.Config) { cfg.FileBounds = gate.FileBounds{Snapshots: 2, TreeFiles: 3, UploadBytes: 4} })
	makeSession(t, b, "s", session.Terms{})
	for _, id := range []string{"", "b"} {
		if _, err := b.TakeSnapshot(t.Context(), alice, "s", id); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.TakeSnapshot(t.Context(), alice, "s", "c"); !errdefs.IsResourceExhausted(err) {
		t.Errorf("a third: %v", err)
	}
	if _, err := b.TakeSnapshot(t.Context(), alice, "s", "../x"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a bad id: %v", err)
	}
	if _, err := b.UploadFile(t.Context(), alice, "s", "f", 0o644, strings.NewReader("12345")); !errdefs.IsResourceExhausted(err) {
		t.Errorf("a large file: %v", err)
	}
	var many bytes.Buffer
	w := tar.NewWriter(&many)
	for _, name := range []string{"a", "b", "c", "d"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.UploadTree(t.Context(), alice, "s", ".", &many); !errdefs.IsResourceExhausted(err) {
		t.Errorf("many files: %v", err)
	}
}

// What cannot be recorded does not happen: neither is the workspace replaced nor a
// snapshot removed.
func TestUnrecordedRestoreLeavesTheWorkspace(t *testing.T) {
	b := newBench(t, t.TempDir(), nil, nil)
	makeSession(t, b, "s", session.Terms{})
	upload(t, b, "s", "f", "first")
	if _, err := b.TakeSnapshot(t.Context(), alice, "s", "one"); err != nil {
		t.Fatal(err)
	}
	upload(t, b, "s", "f", "second")
	full := errors.New("disk full")
	b.broken.broken, b.broken.err = append(b.broken.broken, "session"), full
	if _, err := b.RestoreSnapshot(t.Context(), alice, "s", "one"); !errors.Is(err, full) {
		t.Errorf("restore: %v", err)
	}
	if err := b.RemoveSnapshot(t.Context(), alice, "s", "one"); !errors.Is(err, full) {
		t.Errorf("remove: %v", err)
	}
	if _, err := b.ForkSession(t.Context(), alice, "s", "one", "fork"); !errors.Is(err, full) {
		t.Errorf("fork: %v", err)
	}
	if got, err := download(t, b, "s", "f"); err != nil || got != "second" {
		t.Errorf("got %q, %v", got, err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(b.sessions.WorkspaceDir(alice.ID, "s")), "*.making"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if list, err := b.ListSnapshots(t.Context(), alice, "s"); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}
