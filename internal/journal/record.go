package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
)

// Kind says what a record is about.
type Kind string

// The kinds of records.
const (
	KindStart    Kind = "start"    // the daemon has opened the journal
	KindStop     Kind = "stop"     // it closes it in order
	KindRecovery Kind = "recovery" // a torn tail was cut
	KindIntent   Kind = "intent"   // an allowed call is about to run; holds its decision
	KindDecision Kind = "decision" // a call was denied or asks for approval: it does not run
	KindOutcome  Kind = "outcome"  // what came of an intent
	KindCommit   Kind = "commit"   // what a call has changed is about to be committed; its outcome follows
	KindSession  Kind = "session"  // a session was made or ended
	KindPolicy   Kind = "policy"   // a policy revision was loaded or refused
	KindApproval Kind = "approval" // an approval was asked for, decided, used or has lapsed
	KindGrant    Kind = "grant"    // a class of calls was granted, used or revoked

	// The journal writes these itself.
	KindCheckpoint Kind = "checkpoint" // a signed tree head of all records before it
	KindSnapshot   Kind = "snapshot"   // the folded state was saved; holds the file's hash
	KindRetention  Kind = "retention"  // old segments are about to be removed
)

// Record is one line of the journal. Everything but Data is the journal's own
// or an index into it.
type Record struct {
	Seq  int64     `json:"seq"`
	Time time.Time `json:"time"`
	Kind Kind      `json:"kind"`
	// Caller, Session and CallID say whose record it is; empty where it belongs
	// to nobody.
	Caller  string          `json:"caller,omitempty"`
	Session string          `json:"session,omitempty"`
	CallID  string          `json:"call_id,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	// Synced is the last sequence number that was known to be on disk when this
	// record was written. It tells a torn tail from a damaged record.
	Synced int64 `json:"synced"`
	// Prev is the hash of the record before, Hash the one of this line, both
	// hexadecimal SHA-256. Hash is taken over the bytes of the line up to its own
	// member, closed with "}".
	Prev string `json:"prev"`
	Hash string `json:"hash,omitempty"`
}

// genesis is the Prev of the first record.
const genesis = "0000000000000000000000000000000000000000000000000000000000000000"

const hashMember = `,"hash":"`

// suffixBytes is the length of `,"hash":"…64…"}`.
const suffixBytes = len(hashMember) + 2*sha256.Size + len(`"}`)

// appendLine encodes r, sets its Hash and appends the line with its newline.
// Data must be JSON without line breaks. The line is put together by hand: Data
// is large and has been encoded and masked already.
func appendLine(buf *bytes.Buffer, r *Record) error {
	start := buf.Len()
	b := append(buf.AvailableBuffer(), `{"seq":`...)
	b = strconv.AppendInt(b, r.Seq, 10)
	if y := r.Time.Year(); y < 0 || y > 9999 {
		return fmt.Errorf("encode record: the year %d cannot be written", y)
	}
	b = append(b, `,"time":"`...)
	b = r.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","kind":`...)
	b = appendText(b, string(r.Kind))
	for _, f := range []struct{ member, value string }{
		{`,"caller":`, r.Caller}, {`,"session":`, r.Session}, {`,"call_id":`, r.CallID},
	} {
		if f.value != "" {
			b = appendText(append(b, f.member...), f.value)
		}
	}
	if len(r.Data) > 0 {
		b = append(append(b, `,"data":`...), r.Data...)
	}
	b = append(b, `,"synced":`...)
	b = strconv.AppendInt(b, r.Synced, 10)
	b = appendText(append(b, `,"prev":`...), r.Prev)
	buf.Write(b)
	buf.WriteByte('}')
	sum := sha256.Sum256(buf.Bytes()[start:])
	r.Hash = hex.EncodeToString(sum[:])
	buf.Truncate(buf.Len() - 1) // the closing brace
	buf.WriteString(hashMember)
	buf.WriteString(r.Hash)
	buf.WriteString("\"}\n")
	return nil
}

// appendText appends s as a JSON string.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil { // a string can always be encoded
				quoted = []byte(`""`)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

var (
	errNotRecord = errors.New("is no record")
	errHash      = errors.New("does not have the hash that it claims")
)

// parseLine decodes a line without its newline. errNotRecord means that the
// bytes are not a whole record; errHash that they are one, but not the one that
// was hashed.
func parseLine(line []byte) (Record, error) {
	var r Record
	if len(line) < suffixBytes+2 {
		return r, errNotRecord
	}
	if !parsePlain(line, &r, json.Valid) {
		r = Record{}
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&r); err != nil || dec.InputOffset() != int64(len(line)) {
			return Record{}, errNotRecord
		}
	}
	if want := hashOf(line); want == "" || r.Hash != want {
		return r, errHash
	}
	return r, nil
}

// Parse decodes a line of the journal without its newline, and checks its hash. The
// record shares the line's memory. A line that is not good is errdefs.ErrDataLoss.
func Parse(line []byte) (Record, error) {
	r, err := parseLine(line)
	if err != nil {
		return Record{}, fmt.Errorf("a line of the journal %w: %w", err, errdefs.ErrDataLoss)
	}
	return r, nil
}

// Skim decodes a line for an index: quicker, for it does not look at the hash, nor
// whether the data is good JSON. The record shares the line's memory.
func Skim(line []byte) (Record, error) {
	var r Record
	if len(line) > suffixBytes && parsePlain(line, &r, func([]byte) bool { return true }) {
		return r, nil
	}
	return Parse(line)
}

// hashOf is the hash that a line claims if it is the right one, else empty.
func hashOf(line []byte) string {
	tail := line[len(line)-suffixBytes:]
	if !bytes.HasPrefix(tail, []byte(hashMember)) {
		return ""
	}
	h := sha256.New()
	h.Write(line[:len(line)-suffixBytes])
	h.Write([]byte{'}'})
	var sum [sha256.Size]byte
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], h.Sum(sum[:0]))
	if !bytes.Equal(tail[len(hashMember):len(hashMember)+len(text)], text[:]) {
		return ""
	}
	return string(text[:])
}

// parsePlain decodes a line that is laid out as appendLine does it and has no
// escapes outside of its data: nearly all. false: it may be a record all the same.
func parsePlain(line []byte, r *Record, valid func([]byte) bool) bool {
	const prevMember = `,"prev":"`
	prevAt := len(line) - suffixBytes - len(prevMember) - len(genesis) - 1
	if prevAt < 0 || !bytes.HasPrefix(line[prevAt:], []byte(prevMember)) {
		return false
	}
	p := plain{rest: line[:prevAt]}
	r.Seq = p.number(`{"seq":`)
	at, err := time.Parse(time.RFC3339Nano, p.text(`,"time":"`))
	r.Time = at
	r.Kind = Kind(p.text(`,"kind":"`))
	if p.bad || err != nil {
		return false
	}
	r.Caller, r.Session, r.CallID = p.optional(`,"caller":"`), p.optional(`,"session":"`), p.optional(`,"call_id":"`)
	if data, found := bytes.CutPrefix(p.rest, []byte(`,"data":`)); found {
		i := bytes.LastIndex(data, []byte(`,"synced":`))
		if i < 0 || !valid(data[:i]) {
			return false
		}
		r.Data, p.rest = data[:i:i], data[i:]
	}
	r.Synced = p.number(`,"synced":`)
	if p.bad || len(p.rest) > 0 {
		return false
	}
	p.rest = line[prevAt:]
	r.Prev, r.Hash = p.text(prevMember), p.text(hashMember)
	return !p.bad && string(p.rest) == "}" && len(r.Prev) == len(genesis)
}

// plain takes a line apart from its beginning.
type plain struct {
	rest []byte
	bad  bool
}

func (p *plain) skip(prefix string) {
	if len(p.rest) < len(prefix) || string(p.rest[:len(prefix)]) != prefix {
		p.bad = true
		return
	}
	p.rest = p.rest[len(prefix):]
}

func (p *plain) number(prefix string) int64 {
	p.skip(prefix)
	n := 0
	for n < len(p.rest) && p.rest[n] >= '0' && p.rest[n] <= '9' {
		n++
	}
	v, err := strconv.ParseInt(string(p.rest[:n]), 10, 64)
	if err != nil || n > 1 && p.rest[0] == '0' {
		p.bad = true
	}
	p.rest = p.rest[n:]
	return v
}

// text takes the string of which prefix holds the opening quote.
func (p *plain) text(prefix string) string {
	p.skip(prefix)
	for i, c := range p.rest {
		switch {
		case c == '"' && !p.bad:
			s := string(p.rest[:i])
			p.rest = p.rest[i+1:]
			return s
		case c < ' ', c >= 0x7f, c == '\\':
			p.bad = true
			return ""
		}
	}
	p.bad = true
	return ""
}

func (p *plain) optional(prefix string) string {
	if len(p.rest) < len(prefix) || string(p.rest[:len(prefix)]) != prefix {
		return ""
	}
	return p.text(prefix)
}
