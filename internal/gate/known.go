package gate

import (
	"cmp"
	"container/list"
	"maps"
	"slices"
)

// knownCalls are the finished calls that are remembered, in the order in which they
// ended. When there are too many the oldest of whoever has most is forgotten, but for its
// id: no caller can make another's results forgotten with many calls of its own. The
// ledger's mutex guards it.
type knownCalls struct {
	callers map[string]*list.List
	n       int
}

func (k *knownCalls) push(e *entry) *list.Element {
	if k.callers == nil {
		k.callers = map[string]*list.List{}
	}
	own := k.callers[e.key.caller]
	if own == nil {
		own = list.New()
		k.callers[e.key.caller] = own
	}
	k.n++
	return own.PushBack(e)
}

func (k *knownCalls) remove(e *entry) {
	own := k.callers[e.key.caller]
	own.Remove(e.order)
	k.n--
	if own.Len() == 0 {
		delete(k.callers, e.key.caller)
	}
}

// spare is the call to be forgotten first, where caller has just got one more.
func (k *knownCalls) spare(caller string) *entry {
	most := k.callers[caller]
	if most == nil || most.Len() <= k.n/len(k.callers) { // else it has more than its share
		for _, own := range k.callers {
			if most == nil || own.Len() > most.Len() {
				most = own
			}
		}
	}
	return entryOf(most.Front())
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
