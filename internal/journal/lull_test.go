package journal

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// working is a keeper's work of many pieces, each of which takes a while.
type working struct {
	lulls
	seq   atomic.Int64
	press atomic.Bool
	done  atomic.Int64 // pieces
	over  chan struct{}
	stop  chan struct{}
}

const pieceTime = 10 * time.Millisecond

func work(pieces int) *working {
	w := &working{over: make(chan struct{}), stop: make(chan struct{})}
	w.lulls = lulls{last: w.seq.Load, hurry: w.press.Load, quit: w.stop}
	w.seq.Store(7)
	w.due()
	go func() {
		defer close(w.over)
		for range pieces {
			if !w.rest() {
				return
			}
			time.Sleep(pieceTime)
			w.done.Add(1)
		}
	}()
	return w
}

// during lets records come for some time and returns how many pieces were done in it.
func (w *working) during(d time.Duration) int64 {
	before := w.done.Load()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		w.seq.Add(1)
	}
	synctest.Wait()
	return w.done.Load() - before
}

func TestWorkIsDoneWhileNoRecordsCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := work(1000)
		if n := w.during(patience / 2); n != 0 {
			t.Errorf("%d pieces were done while records came", n)
		}
		time.Sleep(2*lull + 20*pieceTime)
		if n := w.done.Load(); n < 20 {
			t.Errorf("%d pieces were done while none came, want 20 and more", n)
		}
		if n := w.during(patience / 4); n > 1 {
			t.Errorf("%d pieces were done while records came again, want no more than the one under way", n)
		}
		// Now it has waited for long enough, but leaves most of the time to others.
		w.during(patience / 2)
		span := 100 * pieceTime
		if n, want := w.during(span), int64(100/hurriedShare); n < want*3/4 || n > want*5/4 {
			t.Errorf("%d pieces were done in %s in a hurry, want about %d", n, span, want)
		}
		close(w.stop)
		<-w.over
	})
}

func TestWorkThatIsPressedDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := work(1000)
		w.press.Store(true)
		if n := w.during(100*pieceTime + lull); n < 100/hurriedShare/2 {
			t.Errorf("%d pieces were done", n)
		}
		began := time.Now()
		close(w.stop)
		<-w.over
		if took := time.Since(began); took > pieceTime {
			t.Errorf("it ended %v after it was to", took)
		}
		for _, err := range []error{
			func() error { _, err := w.reader(strings.NewReader("x")).Read(make([]byte, 1)); return err }(),
			func() error { _, err := w.writer(io.Discard).Write([]byte("x")); return err }(),
		} {
			if !errors.Is(err, errStopped) {
				t.Errorf("got %v, want %v", err, errStopped)
			}
		}
	})
}

func TestRestingLosesNoBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seq atomic.Int64
		l := &lulls{last: func() int64 { return seq.Add(1) / 3 }, hurry: func() bool { return false }, quit: make(chan struct{})}
		l.due()
		text := strings.Repeat("some text ", 100)
		var out bytes.Buffer
		if _, err := io.Copy(l.writer(&out), struct{ io.Reader }{l.reader(strings.NewReader(text))}); err != nil || out.String() != text {
			t.Errorf("%d bytes of %d came through: %v", out.Len(), len(text), err)
		}
	})
}

// TestSnapshotWaitsForALull: beside calls no snapshot is made at first, and a journal that
// closes waits for none.
func TestSnapshotWaitsForALull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "j.jsonl")
		opts, _ := segmented(t, dir)
		opts.SegmentBytes = 256 << 10
		j := openWith(t, path, opts)
		fill(t, j, 1)
		for range 20 {
			time.Sleep(lull / 3)
			add(t, j, "late", map[string]any{"text": "x"})
		}
		if found := snapshots(t, j); len(found) != 0 || len(j.Segments()) != 2 {
			t.Errorf("snapshots %v beside calls, %d segments, want none and 2", found, len(j.Segments()))
		}
		time.Sleep(3 * lull)
		synctest.Wait()
		covered(t, j)
		fill(t, j, 1)
		began := time.Now()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took >= lull {
			t.Errorf("the journal closed after %v", took)
		}
	})
}
