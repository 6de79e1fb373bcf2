package journal

import (
	"time"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/journal/merkle"
)

// maxRecordBytes bounds one line. Whoever appends cuts large fields with Bound.
const maxRecordBytes = 1 << 20

// DefaultSegmentBytes is Options.SegmentBytes when it is zero.
const DefaultSegmentBytes = 64 << 20

// Options of Open. All are optional.
type Options struct {
	// Now is the clock.
	Now func() time.Time
	// Observe is told of each commit: how many records it brought to the disk, or
	// failed to, and how long that took. It is called from one goroutine, after the
	// records were acknowledged, and must be quick.
	Observe func(records int, took time.Duration)
	// Crowded is asked before each commit, from one goroutine, and must be quick: whether
	// more calls want to run than the machine has time for. A commit then waits a
	// millisecond for the records of others. nil: it never does.
	Crowded func() bool
	// Logger is told of what went wrong in the background, and of damaged snapshots.
	Logger *zap.Logger

	// SegmentBytes is after how many bytes a segment is closed and the next begun, and
	// SegmentAge after how long; 0: only by its size. It is looked at when something is
	// written.
	SegmentBytes int64
	SegmentAge   time.Duration
	// ReserveBytes is kept on the disk in front of the records, so that the outcomes
	// of running calls can be written when the disk is full. New calls are refused when
	// no more than that is left.
	ReserveBytes int64

	// Restore are the folds that get the state at Open: from the last snapshot and the
	// records behind it. None: all records are read and checked.
	Restore []Fold
	// Folds makes a new set of empty folds, the same as Restore, for snapshots, which
	// are made in the background whenever a segment was closed. nil: none are made,
	// and nothing is ever removed.
	Folds func() []Fold
	// KeepFor and KeepBytes are for how long and how many bytes closed segments are
	// kept; 0: no bound. A segment is only removed when its records are in a snapshot
	// that is not the newest.
	KeepFor   time.Duration
	KeepBytes int64
	// Closed is told of each segment that was closed, and of those that were at Open,
	// from one goroutine in the background.
	Closed func(Segment)

	// Key signs checkpoints of the tree over the records, after CheckpointRecords
	// records (0: 1000), or CheckpointEvery (0: 5 s) after one was written. nil: there
	// is no tree.
	Key               *merkle.Key
	CheckpointRecords int
	CheckpointEvery   time.Duration
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.CheckpointRecords == 0 {
		o.CheckpointRecords = 1000
	}
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = 5 * time.Second
	}
	return o
}
