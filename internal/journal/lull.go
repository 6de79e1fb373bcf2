package journal

import (
	"errors"
	"io"
	"time"
)

// A snapshot of what a full segment adds takes seconds of processor time, which calls would
// miss: one thread of low priority, but in the daemon's control group, and the garbage
// of records decoded once more. So it is made while no records come, piece by piece, and
// when that has taken too long, in a part of the time.
const (
	// lull is how long no record must have come.
	lull = 250 * time.Millisecond
	// patience is how long a snapshot waits for lulls: as many records more are read by a start.
	patience = 30 * time.Second
	// hurriedShare is the part of the time, 1 in so many, that it takes after that.
	hurriedShare = 4
	// pieceRecords are read in some milliseconds.
	pieceRecords = 256
)

// errStopped ends what is under way when the journal closes.
var errStopped = errors.New("the journal closes")

// lulls tells when the keeper may work. It belongs to one goroutine.
type lulls struct {
	last  func() int64    // number of the last record
	hurry func() bool     // it is not to wait any longer
	quit  <-chan struct{} // closed: it is to end

	since time.Time // when the work became due
	seen  int64     // last, at the last look
	began time.Time // when the present piece of work began
}

// due begins to count how long work waits.
func (l *lulls) due() { l.since = time.Now() }

// rest is called before each piece of work and returns when it may be done. false: never.
func (l *lulls) rest() bool {
	for {
		last := l.last()
		if last == l.seen {
			break
		}
		l.seen = last
		wait, late := lull, l.hurry() || time.Since(l.since) >= patience
		if late {
			wait = min((hurriedShare-1)*time.Since(l.began), lull)
		}
		if !l.sleep(wait) {
			return false
		}
		if late {
			break
		}
	}
	l.began = time.Now()
	return l.sleep(0)
}

func (l *lulls) sleep(d time.Duration) bool {
	if d <= 0 {
		select {
		case <-l.quit:
			return false
		default:
			return true
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-l.quit:
		return false
	case <-timer.C:
		return true
	}
}

// reader and writer rest before each read or write.
func (l *lulls) reader(r io.Reader) io.Reader { return restful{l, r, nil} }
func (l *lulls) writer(w io.Writer) io.Writer { return restful{l, nil, w} }

type restful struct {
	l *lulls
	r io.Reader
	w io.Writer
}

func (f restful) Read(p []byte) (int, error) {
	if !f.l.rest() {
		return 0, errStopped
	}
	return f.r.Read(p)
}

func (f restful) Write(p []byte) (int, error) {
	if !f.l.rest() {
		return 0, errStopped
	}
	return f.w.Write(p)
}
