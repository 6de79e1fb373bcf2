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

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
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
}

func newBook(dir string) *book {
	return &book{dir: dir, sent: map[string]call{}, told: map[string]answer{}, fresh: map[string]bool{}, errors: map[string]int{}, sample: map[string]string{}}
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
		lines, err := b.lines()
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
	case !doubtful(a.outcome) && (a.outcome != c.want || a.exit != c.exit):
		b.wrong = append(b.wrong, fmt.Sprintf("%s ended as %v, want %v %d or a doubt: %s", c.id, a, c.want, c.exit, r.GetMessage()))
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

// lines counts the lines of each call in all workspaces.
func (b *book) lines() (map[string]int, error) {
	count := map[string]int{}
	err := filepath.WalkDir(b.dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() || e.Name() != linesFile {
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
	lines, err := b.lines()
	if err != nil {
		b.blame("read lines: %v", err)
		return
	}
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

// record is what the book needs of a line of the journal.
type record struct {
	Kind   string `json:"kind"`
	CallID string `json:"call_id"`
	Data   struct {
		Outcome string `json:"outcome"`
	} `json:"data"`
}

// readJournal reads the records of calls from the segments beside the live one, up to
// the end of what is whole.
func readJournal(path string) (intents map[string]int, outcomes map[string]string, err error) {
	intents, outcomes = map[string]int{}, map[string]string{}
	ext := filepath.Ext(path)
	segments, err := filepath.Glob(strings.TrimSuffix(path, ext) + "*" + ext)
	if err != nil || len(segments) == 0 {
		return nil, nil, fmt.Errorf("no journal at %s: %w", path, err)
	}
	slices.Sort(segments) // the live one, which has no number, comes last
	for _, name := range segments {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, nil, err
		}
		for line := range bytes.Lines(text) {
			var r record
			if json.Unmarshal(line, &r) != nil {
				break // zeros or a torn end; that it is one, verify tells
			}
			if err := r.note(intents, outcomes); err != nil {
				return nil, nil, err
			}
		}
	}
	return intents, outcomes, nil
}

func (r *record) note(intents map[string]int, outcomes map[string]string) error {
	switch r.Kind {
	case "intent":
		intents[r.CallID]++
	case "decision", "outcome":
		if r.Data.Outcome == "NOT_RUN" {
			intents[r.CallID]--
			return nil
		}
		if before := outcomes[r.CallID]; before != "" {
			return fmt.Errorf("%s has two outcomes, %s and %s", r.CallID, before, r.Data.Outcome)
		}
		outcomes[r.CallID] = r.Data.Outcome
	}
	return nil
}

// checkJournal compares the journal with what was done and told: nothing ran
// without an intent on disk or under two, and nothing was told that is not there.
func (b *book) checkJournal(path string) {
	intents, outcomes, err := readJournal(path)
	if err != nil {
		b.blame("journal: %v", err)
		return
	}
	lines, err := b.lines()
	if err != nil {
		b.blame("read lines: %v", err)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range lines {
		if intents[id] != 1 {
			b.wrong = append(b.wrong, fmt.Sprintf("%s has run, and the journal has %d intents of it", id, intents[id]))
		}
	}
	for id, a := range b.told {
		if want := strings.TrimPrefix(a.outcome.String(), "OUTCOME_"); outcomes[id] != want {
			b.wrong = append(b.wrong, fmt.Sprintf("%s was told as %s, the journal says %q", id, want, outcomes[id]))
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
