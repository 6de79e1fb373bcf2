package mutate

import (
	"slices"
	"sync"
)

// places is a set of places by their numbers, a bit for each: thousands of tests
// each touch a thousand places.
type places []uint64

func (p places) has(id int) bool {
	return id >= 0 && id/64 < len(p) && p[id/64]&(1<<(id%64)) != 0
}

func (p places) hasAny(ids []int) bool { return slices.ContainsFunc(ids, p.has) }

// atlas numbers places. It is safe for concurrent use.
type atlas struct {
	mu  sync.Mutex
	ids map[place]int
}

// set is what a tracer noted.
func (a *atlas) set(seen placeTracer) places {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out places
	for p := range seen {
		id, ok := a.ids[p]
		if !ok {
			id = len(a.ids)
			a.ids[p] = id
		}
		if id/64 >= len(out) {
			out = append(out, make(places, id/64+1-len(out))...)
		}
		out[id/64] |= 1 << (id % 64)
	}
	return slices.Clip(out)
}

// id is the number of a place; -1 for one that no test touches.
func (a *atlas) id(p place) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if id, ok := a.ids[p]; ok && p.row > 0 {
		return id
	}
	return -1
}
