package journal

import "io"

// Fold is state that is a function of the records: whatever survives a restart.
// The journal gives it every record in order at start. So that this does not take
// longer with every year, it also keeps snapshots: in the background it makes a new
// set of folds (Options.Folds), loads the last snapshot into them, applies the
// segments that were closed since, and saves them beside the segments. A start then
// is the last snapshot and the records behind it.
//
// A Fold MUST be pure data: no live objects, no effects on files or on anybody else,
// no clock and no randomness; two folds given the same records are the same. One
// goroutine at a time uses it. Nobody changes it after the journal has given it back,
// but by taking it over.
type Fold interface {
	// Name names its part of a snapshot: short, constant, [a-z0-9_-], unlike any
	// other fold's. A fold that a snapshot does not know, of a newer sandgate,
	// sees all records that are still kept.
	Name() string
	// Apply takes the next record. It ignores kinds that are not its own. An error
	// means that the record cannot be understood; the daemon must not go on as if it
	// had not been, so that it does not start. The record is only valid during the call.
	Apply(Record) error
	// Save writes all state so that Load can read it, also in a later version: begin
	// with a version number. It must not change the state. Equal state should give
	// equal bytes (sort maps).
	Save(io.Writer) error
	// Load replaces all state by what Save wrote; the reader ends where that ended.
	// Nothing at all is an error. After an error the fold MUST be empty again, as new:
	// the journal then goes on with an older snapshot or with all records.
	Load(io.Reader) error
}
