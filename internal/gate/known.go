package gate

import (
	"cmp"
	"maps"
	"slices"
)

// The finished calls are remembered in the order in which they ended. When there are too
// many the oldest of whoever has most is forgotten, but for its id: no caller can make
// another's results forgotten with many calls of its own.

// remember puts an entry that ends among those. l.mu is held.
func (l *ledger) remember(e *entry) {
	l.known++
	if e.shelf.ended.n == 0 {
		l.enders++
	}
	e.shelf.ended.push(e)
}

// unremember is its opposite. l.mu is held.
func (l *ledger) unremember(e *entry) {
	l.known--
	e.shelf.ended.remove(e)
	if e.shelf.ended.n == 0 {
		l.enders--
	}
}

// spare is the call to be forgotten first, where caller has just got one more.
func (l *ledger) spare(caller string) *entry {
	most := l.shelves[caller]
	if most == nil || most.ended.n <= l.known/l.enders { // else it has more than its share
		for _, own := range l.shelves {
			if most == nil || own.ended.n > most.ended.n {
				most = own
			}
		}
	}
	return most.ended.first
}

// fairShare is the most that each may keep of what they have so that all together have
// no more than limit: who has less keeps it all.
func fairShare(have map[string]int, limit int) int {
	left, callers := limit, len(have)
	for _, n := range slices.SortedFunc(maps.Values(have), cmp.Compare[int]) {
		if n > left/callers {
			return left / callers
		}
		left -= n
		callers--
	}
	return limit
}
