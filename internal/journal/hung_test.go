package journal

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/containerd/errdefs"
)

// hungFile is a disk that does not answer until it is let go.
type hungFile struct {
	file
	came chan struct{} // gets one for each write
	let  chan struct{} // closed: writes go through
}

func (h *hungFile) WriteAt(p []byte, off int64) (int, error) {
	select {
	case h.came <- struct{}{}:
	default:
	}
	<-h.let
	return h.file.WriteAt(p, off)
}

// TestAppendIsGivenUpWhenTheDiskHangs makes callers leave a disk that hangs: the
// first, whose record is being written, and one behind it. Their records stay the
// journal's: once the disk answers they are there, in their order and before what
// comes later.
func TestAppendIsGivenUpWhenTheDiskHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path, nil)
	add(t, j, "before", nil)
	hung := &hungFile{file: j.file, came: make(chan struct{}, 1), let: make(chan struct{})}
	j.file = hung // the writer is idle: the next request orders this write before its read

	cause := errors.New("the caller has no more time")
	ctx, leave := context.WithCancelCause(t.Context())
	left := make(chan error, 2)
	begin := func(id string) {
		go func() {
			_, err := j.Append(ctx, Entry{Kind: KindIntent, CallID: id})
			left <- err
		}()
	}
	begin("first")
	<-hung.came // the writer is at the disk with it
	begin("second")
	for j.State().Waiting == 0 && len(left) == 0 {
		runtime.Gosched() // the second is not in the line yet
	}
	leave(cause)
	for range 2 {
		if err := <-left; !errors.Is(err, cause) {
			t.Errorf("append to a disk that hangs: got %v, want %v", err, cause)
		}
	}
	if s := j.State(); s.LastSeq != 1 || s.Waiting != 1 {
		t.Errorf("state while the disk hangs: %+v, want one record on disk and one waiting", s)
	}
	late := make(chan int64, 1)
	go func() { late <- add(t, j, "late", nil) }()
	for j.State().Waiting < 2 && len(late) == 0 {
		runtime.Gosched()
	}
	close(hung.let)
	if seq := <-late; seq != 4 {
		t.Errorf("number of the record after those: got %d, want 4", seq)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	var ids []string
	again := open(t, path, func(r Record) error {
		ids = append(ids, r.CallID)
		return nil
	})
	if got := again.Recovery(); got.Records != 4 || len(ids) != 4 || ids[1] != "first" || ids[2] != "second" || ids[3] != "late" {
		t.Errorf("got %v, %+v; want before, first, second, late", ids, got)
	}
	if _, err := j.Append(t.Context(), Entry{Kind: KindIntent}); !errdefs.IsUnavailable(err) {
		t.Errorf("append to a closed journal: got %v", err)
	}
}
