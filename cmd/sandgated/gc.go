package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A daemon that holds 10 MiB and allocates 100 KiB for each call would collect
// garbage every 100 calls, which took a third of its CPU; and while it does so, for 10
// to 18 ms, calls take several times as long, so that their p99 is that of the
// collections as soon as those take more than a hundredth of the time: at 1,000
// decisions a second and 52 KiB for each, with less than 50 to 90 MiB between two.
// It may let the heap grow by slackBytes before; what holds more than that anyway keeps
// the runtime's usual proportion. What has gathered is given back as soon as nothing
// happens any more.
const (
	slackBytes    = 96 << 20
	leastPercent  = 100 // the runtime's default
	mostPercent   = 1600
	percentChange = 20 // a smaller change is not worth stopping the world
	// restEvery is how often is looked whether nothing happens, and restBytes how much
	// may be allocated between two looks for that: the daemon's own looks at 64 cells take
	// 1 MiB.
	restEvery = time.Second
	restBytes = 2 << 20
	// heldBytes of garbage and of memory that was not given back are let be.
	heldBytes = 8 << 20
	// restTimes is how often memory is given back then: what is in a sync.Pool, or has a
	// finalizer, is garbage only to the second collection.
	restTimes = 2
)

// collector sets how much garbage may gather, after each collection anew.
type collector struct{ percent int }

// tuneCollector begins to set it, unless the operator has, by GOGC.
func tuneCollector() {
	if os.Getenv("GOGC") != "" {
		return
	}
	c := &collector{percent: leastPercent}
	c.tune()
	// A finalizer runs once after each collection that finds its object unused.
	runtime.SetFinalizer(&struct{ *collector }{c}, again)
}

func again(s *struct{ *collector }) {
	s.tune()
	runtime.SetFinalizer(s, again)
}

func (c *collector) tune() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if live[0].Value.Kind() != metrics.KindUint64 {
		return
	}
	if want := percentFor(live[0].Value.Uint64()); max(want-c.percent, c.percent-want) >= percentChange {
		c.percent = want
		debug.SetGCPercent(want)
	}
}

// percentFor is the proportion of garbage to live bytes.
func percentFor(live uint64) int {
	return int(min(max(slackBytes*100/max(live, 1), leastPercent), mostPercent))
}

// rester gives memory back that the daemon does not need while nothing happens.
type rester struct {
	allocated uint64 // at the last look
	times     int    // how often memory is to be given back yet
	samples   []metrics.Sample
}

// restCollector begins to give memory back, unless the operator has set GOGC. It ends
// with the process.
func restCollector() {
	if os.Getenv("GOGC") != "" {
		return
	}
	r := newRester()
	go func() {
		for range time.Tick(restEvery) {
			if r.look() {
				debug.FreeOSMemory()
			}
		}
	}()
}

func newRester() *rester {
	return &rester{samples: []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}}
}

// look reports whether nothing has happened since the last look and there is
// something to give back.
func (r *rester) look() bool {
	metrics.Read(r.samples)
	value := func(i int) uint64 {
		if r.samples[i].Value.Kind() != metrics.KindUint64 {
			return 0
		}
		return r.samples[i].Value.Uint64()
	}
	return r.due(value(0), value(1), value(2)+value(3))
}

// due is look, of what was ever allocated, what the last collection has found in use,
// and what is held of objects and of memory without any. What lies between objects
// cannot be given back, however often it is tried.
func (r *rester) due(allocated, live, held uint64) bool {
	quiet := allocated-r.allocated < restBytes
	r.allocated = allocated
	switch {
	case !quiet:
		r.times = 0
		return false
	case held > live+heldBytes:
		r.times = restTimes
	}
	if r.times == 0 {
		return false
	}
	r.times--
	return true
}
