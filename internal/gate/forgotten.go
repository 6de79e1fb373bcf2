package gate

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/containerd/errdefs"
)

// forgottenIDs are the ids of calls that ran and of which nothing else is kept: so many
// bytes are cheap, and an id that comes again after a long time does not run again. When
// there are too many the oldest go, a part of them at once. The zero value keeps none.
type forgottenIDs struct {
	part  int // of how many a part is; 0: none are kept
	parts []map[shortID]struct{}
}

// shortID is a digest of a caller and a call id.
type shortID [16]byte

// forgottenParts is how many whole parts are kept at least. With the default limit a part
// then fills the map that holds it well.
const forgottenParts = 10

// newForgotten makes one that keeps the last limit ids, and up to a tenth more.
func newForgotten(limit int) forgottenIDs {
	if limit <= 0 {
		return forgottenIDs{}
	}
	return forgottenIDs{part: (limit + forgottenParts - 1) / forgottenParts}
}

func (k callKey) short() shortID {
	var room [256]byte // enough for most
	sum := sha256.Sum256(append(append(append(room[:0], k.caller...), 0), k.id...))
	return shortID(sum[:16])
}

func (f *forgottenIDs) add(key callKey) {
	if f.part > 0 && !f.has(key) {
		f.put(key.short())
	}
}

func (f *forgottenIDs) put(id shortID) {
	if n := len(f.parts); n == 0 || len(f.parts[n-1]) >= f.part {
		f.begin(0)
	}
	f.parts[len(f.parts)-1][id] = struct{}{}
}

// begin begins a part in which there will be so many at least.
func (f *forgottenIDs) begin(size int) {
	f.parts = append(f.parts, make(map[shortID]struct{}, size))
	if len(f.parts) > forgottenParts+1 {
		f.parts = slices.Delete(f.parts, 0, 1)
	}
}

func (f *forgottenIDs) has(key callKey) bool {
	if len(f.parts) == 0 { // nearly always
		return false
	}
	id := key.short()
	for _, part := range f.parts {
		if _, ok := part[id]; ok {
			return true
		}
	}
	return false
}

// mayHaveRun reports whether a call with the outcome ran, as far as that is known. Others
// do no harm when they are decided anew.
func mayHaveRun(o Outcome) bool { return o != OutcomeDenied && o != OutcomeApprovalRequired }

// ranBefore is the error of an id whose call ran and is not known any more.
func ranBefore(id string) error {
	return fmt.Errorf("call id %q was used long ago for a call that ran, and its result is no longer kept: it is not run again; the journal tells of it (sandgate audit query), a new call wants a new id: %w",
		id, errdefs.ErrAlreadyExists)
}

// save writes how many parts there are, and each with its number of ids, sorted.
func (f *forgottenIDs) save(w io.Writer) error {
	buf := binary.BigEndian.AppendUint32(nil, uint32(len(f.parts))) //nolint:gosec // at most forgottenParts+1
	for _, part := range f.parts {
		ids := make([]shortID, 0, len(part))
		for id := range part {
			ids = append(ids, id)
		}
		slices.SortFunc(ids, func(a, b shortID) int { return bytes.Compare(a[:], b[:]) })
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(ids))) //nolint:gosec // bounded by the configuration
		for _, id := range ids {
			buf = append(buf, id[:]...)
		}
		if _, err := w.Write(buf); err != nil {
			return fmt.Errorf("save forgotten ids: %w", err)
		}
		buf = buf[:0]
	}
	if _, err := w.Write(buf); err != nil {
		return fmt.Errorf("save forgotten ids: %w", err)
	}
	return nil
}

// load reads what save wrote.
func (f *forgottenIDs) load(from io.Reader) error {
	var number [4]byte
	if _, err := io.ReadFull(from, number[:]); err != nil {
		return noEnd(err)
	}
	for range binary.BigEndian.Uint32(number[:]) {
		if _, err := io.ReadFull(from, number[:]); err != nil {
			return noEnd(err)
		}
		n := binary.BigEndian.Uint32(number[:])
		if full := len(f.parts) == 0 || len(f.parts[len(f.parts)-1]) >= f.part; full && f.part > 0 {
			f.begin(min(int(n), f.part, 1<<20))
		}
		for range n {
			var id shortID
			if _, err := io.ReadFull(from, id[:]); err != nil {
				return noEnd(err)
			}
			if f.part > 0 {
				f.put(id)
			}
		}
	}
	return nil
}

func noEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
