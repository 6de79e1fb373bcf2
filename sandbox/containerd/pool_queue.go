package containerd

import (
	"container/list"
	"time"
)

// waiter is a call that waits for a cell.
type waiter struct {
	key, owner string
	dir        workspace // that its cell must have, or may be given
	since      time.Time
	got        chan *aCell // one element
	fail       chan error  // one element
	tries      int         // how often a cell for it could not be made

	of    *ownerLine
	inOf  *list.Element // of its owner's line
	inKey *list.Element // of its key's line
}

// queue holds the calls that wait for cells of one class: a line for each owner,
// served in turn, so that no caller with many calls keeps others waiting. No
// operation depends on how many wait. The zero value is ready.
type queue struct {
	owners map[string]*ownerLine
	turn   list.List // of *ownerLine: whose turn is next comes first
	keys   map[lineKey]*list.List
	n      int
}

// lineKey is what kept cells are handed on by.
type lineKey struct {
	key string
	dir workspace
}

// ownerLine is the waiting calls of one owner, first come first served.
type ownerLine struct {
	owner string
	line  list.List     // of *waiter
	at    *list.Element // in turn
}

func (q *queue) len() int { return q.n }

func (q *queue) add(w *waiter) {
	if q.owners == nil {
		q.owners, q.keys = map[string]*ownerLine{}, map[lineKey]*list.List{}
	}
	of := q.owners[w.owner]
	if of == nil {
		of = &ownerLine{owner: w.owner}
		of.at = q.turn.PushBack(of)
		q.owners[w.owner] = of
	}
	w.of, w.inOf = of, of.line.PushBack(w)
	if w.key != "" {
		at := lineKey{w.key, w.dir}
		if q.keys[at] == nil {
			q.keys[at] = list.New()
		}
		w.inKey = q.keys[at].PushBack(w)
	}
	q.n++
}

// pop takes out the call whose turn it is; nil when none waits.
func (q *queue) pop() *waiter {
	front := q.turn.Front()
	if front == nil {
		return nil
	}
	of, _ := front.Value.(*ownerLine)
	w, _ := of.line.Front().Value.(*waiter)
	q.turn.MoveToBack(front)
	q.remove(w)
	return w
}

// popKey takes out the call that waits longest for a key's own cell with a directory.
func (q *queue) popKey(key string, dir workspace) *waiter {
	line := q.keys[lineKey{key, dir}]
	if line == nil {
		return nil
	}
	w, _ := line.Front().Value.(*waiter)
	q.remove(w)
	return w
}

// remove takes out a call that may have been taken out already.
func (q *queue) remove(w *waiter) {
	if w.inOf == nil {
		return
	}
	w.of.line.Remove(w.inOf)
	if w.of.line.Len() == 0 {
		q.turn.Remove(w.of.at)
		delete(q.owners, w.owner)
	}
	if w.inKey != nil {
		at := lineKey{w.key, w.dir}
		q.keys[at].Remove(w.inKey)
		if q.keys[at].Len() == 0 {
			delete(q.keys, at)
		}
	}
	w.inOf, w.inKey = nil, nil
	q.n--
}

// oldest is how long the first call of the next owner has waited since.
func (q *queue) oldest() time.Time {
	front := q.turn.Front()
	if front == nil {
		return time.Time{}
	}
	of, _ := front.Value.(*ownerLine)
	w, _ := of.line.Front().Value.(*waiter)
	return w.since
}

// all calls f with every waiting call, in no order. f may remove it.
func (q *queue) all(f func(*waiter)) {
	for _, of := range q.owners {
		for e := of.line.Front(); e != nil; {
			next := e.Next()
			w, _ := e.Value.(*waiter)
			f(w)
			e = next
		}
	}
}
