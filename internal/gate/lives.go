package gate

import (
	"sync"

	"github.com/sandgate/sandgate/internal/seen"
)

// lives remember with what each session was recorded to be made, so that the journal does
// not say it with every call. It is safe for concurrent use.
type lives struct {
	mu    sync.Mutex
	known map[callKey]*seen.Life // by caller and session
}

// maxLives bounds them: all are recorded again then.
const maxLives = 4096

// short is what is to be recorded of what a call's policy saw.
func (l *lives) short(caller, session string, saw *seen.Call) *seen.Call {
	if saw == nil || saw.Life == nil {
		return saw
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := callKey{caller, session}
	if l.known[key].Same(saw.Life) {
		brief := *saw
		brief.Life = nil
		return &brief
	}
	if l.known == nil || len(l.known) >= maxLives {
		l.known = map[callKey]*seen.Life{}
	}
	l.known[key] = saw.Life
	return saw
}
