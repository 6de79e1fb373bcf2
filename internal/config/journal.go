package config

import (
	"path/filepath"
	"time"
)

// Journal says how the record is written.
type Journal struct {
	// Path is the absolute path of the segment that is written; closed ones and what
	// belongs to them lie beside it, so that its directory is its own. Default:
	// journal/journal.jsonl in DataDir. Calls are refused while it cannot be written.
	Path string `json:"path"`
	// SegmentBytes is after how many bytes a segment is closed and the next one begun,
	// 1MiB to 1GiB. Default 64MiB. A start reads up to that much.
	SegmentBytes Bytes `json:"segment_bytes"`
	// SegmentAge is after how long a segment is closed, 1m to 8760h. Default 24h. Only
	// closed ones can be removed.
	SegmentAge Duration `json:"segment_age"`
	// KeepDays is for how many days closed segments are kept, 1 to 36500. Default 0: for
	// ever. What is removed is gone for audits; that it was, and that what is left is
	// whole, can still be proven.
	KeepDays int `json:"keep_days"`
	// KeepBytes is how much of them is kept at most, 16MiB to 16TiB. Default 0: no bound.
	KeepBytes Bytes `json:"keep_bytes"`
	// Reserve is kept free in front of the records, 0 to 1GiB, so that the outcomes of
	// running calls can be written when the disk is full. Default 4MiB. 0 keeps none.
	Reserve *Bytes `json:"reserve"`
	// CheckpointRecords and CheckpointInterval are after how many records, and how long
	// after one was written, the head of the tree over all records is signed: 1 to
	// 1000000, default 1000; 100ms to 24h, default 5s. Records that are cut off the end
	// behind the newest checkpoint would be missed by nobody.
	CheckpointRecords  int      `json:"checkpoint_records"`
	CheckpointInterval Duration `json:"checkpoint_interval"`
	// KeyFile is the absolute path of the private key that signs, made at the first start
	// with mode 0600. Default: journal.key in DataDir. Who has it can sign another past.
	KeyFile string `json:"key_file"`
}

func (j Journal) withDefaults(dataDir string) Journal {
	fill(&j.Path, filepath.Join(dataDir, "journal", "journal.jsonl"))
	fill(&j.KeyFile, filepath.Join(dataDir, "journal.key"))
	fill(&j.SegmentBytes, 64*mib)
	fill(&j.SegmentAge, Duration(24*time.Hour))
	fill(&j.CheckpointRecords, 1000)
	fill(&j.CheckpointInterval, Duration(5*time.Second))
	if j.Reserve == nil {
		reserve := 4 * mib
		j.Reserve = &reserve
	}
	return j
}

func (j *Journal) problems() []string {
	var bad []string
	inRange := func(key string, v, low, high int64, show func(int64) string) {
		bad = append(bad, outside(key, v, low, high, show)...)
	}
	inRange("journal.segment_bytes", j.SegmentBytes.Int64(), int64(mib), int64(gib), size)
	inRange("journal.segment_age", int64(j.SegmentAge), int64(time.Minute), int64(8760*time.Hour), span)
	if j.KeepDays != 0 {
		inRange("journal.keep_days", int64(j.KeepDays), 1, 36500, count)
	}
	if j.KeepBytes != 0 {
		inRange("journal.keep_bytes", j.KeepBytes.Int64(), int64(16*mib), int64(16*1024*gib), size)
	}
	inRange("journal.reserve", j.Reserve.Int64(), 0, int64(gib), size)
	inRange("journal.checkpoint_records", int64(j.CheckpointRecords), 1, 1_000_000, count)
	inRange("journal.checkpoint_interval", int64(j.CheckpointInterval), int64(100*time.Millisecond), int64(24*time.Hour), span)
	return bad
}
