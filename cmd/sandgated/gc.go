package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// A daemon that holds 10 MiB and allocates 200 KiB for each call would collect
// garbage every 50 calls, which took a third of its CPU. It may let the heap grow
// by up to slackBytes before it does so, and by more as long as the heap has then no more
// than smallBytes: a daemon with few sessions is far below what one with a thousand may
// take. What holds more than that anyway keeps the runtime's usual proportion.
const (
	slackBytes    = 24 << 20
	smallBytes    = 64 << 20
	leastPercent  = 100 // the runtime's default
	mostPercent   = 400
	percentChange = 20 // a smaller change is not worth stopping the world
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
	slack := uint64(slackBytes)
	if live < smallBytes-slackBytes {
		slack = smallBytes - live
	}
	return int(min(max(slack*100/max(live, 1), leastPercent), mostPercent))
}
