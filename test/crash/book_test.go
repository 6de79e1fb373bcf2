package crash

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/sandgate/sandgate/internal/session"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox/changeset"
)

// answer is what a client was told of a call.
type answer struct {
	outcome sandgatev1.Outcome
	exit    int32
	lines   int // that the call had written when the answer came; only of UNKNOWN and CANCELLED
}

func (a answer) String() string { return fmt.Sprintf("%v %d", a.outcome, a.exit) }

// book is what the clients know: which calls they sent, and what they were told.
// It is safe for concurrent use.
type book struct {
	dir string // below it are the files that calls write, whatever their sessions are

	mu       sync.Mutex
	sent     map[string]call
	told     map[string]answer
	fresh    map[string]bool // answered by a result that was not replayed
	replayed int
	wrong    []string
	errors   map[string]int // attempts that ended with an error, by code
	sample   map[string]string
	closed   []string        // sessions that have ended
	yes      map[string]bool // approvals whose approver was told that he gave them

	// Of the journal, as far as it was read: it removes what is old.
	seq      int64
	read     map[string]bool // closed segments
	intents  map[string]int
	outcomes map[string]string
	permits  permits
}

func newBook(dir string) *book {
	return &book{
		dir: dir, sent: map[string]call{}, told: map[string]answer{}, fresh: map[string]bool{}, errors: map[string]int{}, sample: map[string]string{},
		read: map[string]bool{}, intents: map[string]int{}, outcomes: map[string]string{}, yes: map[string]bool{}, permits: newPermits(),
	}
}

// blame notes that something is not as it must be.
func (b *book) blame(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrong = append(b.wrong, fmt.Sprintf(format, args...))
}

// blamed returns what was wrong so far.
func (b *book) blamed() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.wrong)
}

func (b *book) send(c call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent[c.id] = c
}

func (b *book) failed(code string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errors[code]++
	b.sample[code] = err.Error()
}

// answered notes an answer. A second one must be the same.
func (b *book) answered(c call, r *sandgatev1.Result) {
	a := answer{outcome: r.GetOutcome(), exit: r.GetExitCode()}
	if doubtful(a.outcome) {
		lines, err := b.lines(linesFile)
		if err != nil {
			b.blame("read lines: %v", err)
		}
		a.lines = lines[c.id]
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	twice := b.fresh[c.id] && !r.GetReplayed() // the replayed answer may overtake the other one
	if r.GetReplayed() {
		b.replayed++
	} else {
		b.fresh[c.id] = true
	}
	before, again := b.told[c.id]
	switch {
	case again && before != a:
		b.wrong = append(b.wrong, fmt.Sprintf("%s was told as %v, now as %v", c.id, before, a))
	case twice:
		b.wrong = append(b.wrong, fmt.Sprintf("%s was answered twice by a result that is not replayed (%v)", c.id, a))
	case !c.free && !doubtful(a.outcome) && (a.outcome != c.want || a.exit != c.exit):
		b.wrong = append(b.wrong, fmt.Sprintf("%s ended as %v, want %v %d or a doubt: %s", c.id, a, c.want, c.exit, r.GetMessage()))
	case c.parts && a.outcome == c.want && r.GetEffects().GetState() != sandgatev1.EffectsState_EFFECTS_STATE_COMMITTED:
		b.wrong = append(b.wrong, fmt.Sprintf("%s was not committed: %v", c.id, r.GetEffects()))
	case r.GetCallId() != c.id:
		b.wrong = append(b.wrong, fmt.Sprintf("the answer to %s is of %q", c.id, r.GetCallId()))
	}
	b.told[c.id] = a
}

// doubtful outcomes leave open whether the line was written.
func doubtful(o sandgatev1.Outcome) bool {
	return o == sandgatev1.Outcome_OUTCOME_UNKNOWN || o == sandgatev1.Outcome_OUTCOME_CANCELLED
}

// linesFile is what calls append to, in the workspace of their session.
const linesFile = "lines"

// lines counts the lines of each call in the files of one name in all workspaces.
func (b *book) lines(name string) (map[string]int, error) {
	count := map[string]int{}
	err := filepath.WalkDir(b.dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() || e.Name() != name {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // calls made it, and can do no more
		for line := range strings.Lines(string(text)) {
			count[strings.TrimSuffix(line, "\n")]++
		}
		return err
	})
	return count, err
}

// check compares what was told with what was done. It may be called while the
// daemon is dead or nothing is on its way.
func (b *book) check() {
	lines, err := b.lines(linesFile)
	if err != nil {
		b.blame("read lines: %v", err)
		return
	}
	b.checkParts(lines)
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, n := range lines {
		c, sent := b.sent[id]
		switch {
		case !sent:
			b.wrong = append(b.wrong, fmt.Sprintf("a line %q that nobody has sent", id))
		case n > 1:
			b.wrong = append(b.wrong, fmt.Sprintf("%s ran %d times (%q)", id, n, c.command))
		}
	}
	for id, a := range b.told {
		want := 0
		switch {
		case doubtful(a.outcome):
			want = a.lines // nothing of it may have gone on
		case a.outcome == sandgatev1.Outcome_OUTCOME_EXITED && b.sent[id].writes:
			want = 1
		}
		if lines[id] != want {
			b.wrong = append(b.wrong, fmt.Sprintf("%s was told as %v and has %d lines, want %d (%q)", id, a, lines[id], want, b.sent[id].command))
		}
	}
}

// checkParts looks whether each transaction was made as a whole or not at all, that
// nothing is left of it beside the workspaces, and nothing of sessions that have ended.
func (b *book) checkParts(lines map[string]int) {
	for _, name := range partFiles() {
		part, err := b.lines(name)
		if err != nil {
			b.blame("read lines: %v", err)
		}
		b.mu.Lock()
		for id, c := range b.sent {
			if c.parts && part[id] != lines[id] {
				b.wrong = append(b.wrong, fmt.Sprintf("%s has %d lines in %s and %d in %s", id, lines[id], linesFile, part[id], name))
			}
		}
		b.mu.Unlock()
	}
	for _, pattern := range []string{"*/" + changeset.StagePrefix + "*", "*/*/" + changeset.StagePrefix + "*", "*/*.making", "*/snapshots/*", ".ended-*", "*.img", "*.img.making"} {
		if left, err := filepath.Glob(filepath.Join(b.dir, pattern)); err != nil || len(left) > 0 {
			b.blame("left: %v %v", left, err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range b.closed {
		if _, err := os.Lstat(filepath.Join(b.dir, session.Key(caller, id))); !errors.Is(err, fs.ErrNotExist) {
			b.wrong = append(b.wrong, fmt.Sprintf("the files of session %s, which was closed, are there (%v)", id, err))
		}
	}
}

// caller is who sends the calls.
const caller = "unix:uid:0"

// close notes that a session has ended.
func (b *book) close(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = append(b.closed, id)
}

// record is what the book needs of a line of the journal.
type record struct {
	Seq    int64           `json:"seq"`
	Kind   string          `json:"kind"`
	CallID string          `json:"call_id"`
	Data   json.RawMessage `json:"data"`
}

// readJournal reads the records that are new since it was read last, from the segments
// beside the live one, each up to the end of what is whole. Closed ones are read once.
func (b *book) readJournal(path string) error {
	ext := filepath.Ext(path)
	segments, err := filepath.Glob(strings.TrimSuffix(path, ext) + "*" + ext)
	if err != nil {
		return err
	}
	slices.Sort(segments) // the live one, which has no number, comes last
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range segments {
		if b.read[name] {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for line := range bytes.Lines(text) {
			var r record
			if json.Unmarshal(line, &r) != nil {
				break // zeros or a torn end; that it is one, verify tells
			}
			if err := b.note(&r); err != nil {
				return err
			}
		}
		b.read[name] = name != path
	}
	return nil
}

// note takes a record. b.mu is held.
func (b *book) note(r *record) error {
	switch {
	case r.Seq <= b.seq:
		return nil
	case r.Seq != b.seq+1:
		return fmt.Errorf("record %d follows %d", r.Seq, b.seq)
	}
	b.seq = r.Seq
	if err := b.permits.note(r); err != nil {
		return fmt.Errorf("record %d: %w", r.Seq, err)
	}
	switch r.Kind {
	case "intent":
		b.intents[r.CallID]++
	case "decision", "outcome":
		var data struct {
			Outcome string `json:"outcome"`
		}
		if err := json.Unmarshal(r.Data, &data); err != nil {
			return fmt.Errorf("record %d: %w", r.Seq, err)
		}
		switch data.Outcome {
		case "NOT_RUN":
			b.intents[r.CallID]--
			return nil
		case "APPROVAL_REQUIRED":
			return nil
		}
		if before := b.outcomes[r.CallID]; before != "" {
			return fmt.Errorf("%s has two outcomes, %s and %s", r.CallID, before, data.Outcome)
		}
		b.outcomes[r.CallID] = data.Outcome
	}
	return nil
}

// checkJournal compares the journal with what was done and told: nothing ran
// without an intent on disk or under two, and nothing was told that is not there.
func (b *book) checkJournal(path string) {
	if err := b.readJournal(path); err != nil {
		b.blame("journal: %v", err)
		return
	}
	lines, err := b.lines(linesFile)
	if err != nil {
		b.blame("read lines: %v", err)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrong = append(b.wrong, b.permits.wrong(b.yes)...)
	for id := range lines {
		if b.intents[id] != 1 {
			b.wrong = append(b.wrong, fmt.Sprintf("%s has run, and the journal has %d intents of it", id, b.intents[id]))
		}
	}
	for id, a := range b.told {
		if want := strings.TrimPrefix(a.outcome.String(), "OUTCOME_"); b.outcomes[id] != want {
			b.wrong = append(b.wrong, fmt.Sprintf("%s was told as %s, the journal says %q", id, want, b.outcomes[id]))
		}
	}
}

// counts are for the table at the end.
func (b *book) counts() (sent, told, unknown, cancelled, replayed int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.told {
		switch a.outcome {
		case sandgatev1.Outcome_OUTCOME_UNKNOWN:
			unknown++
		case sandgatev1.Outcome_OUTCOME_CANCELLED:
			cancelled++
		}
	}
	return len(b.sent), len(b.told), unknown, cancelled, b.replayed
}

// answeredCalls returns the calls that were answered, by id.
func (b *book) answeredCalls() []call {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]call, 0, len(b.told))
	for id := range b.told {
		out = append(out, b.sent[id])
	}
	slices.SortFunc(out, func(x, y call) int { return strings.Compare(x.id, y.id) })
	return out
}
