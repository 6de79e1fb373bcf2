package config

import (
	"fmt"
	"time"
)

// Background bounds calls that run in the background: that a host has started
// with detach and looks after later.
type Background struct {
	// WallTime is their deadline where neither policy nor the host wants a shorter one,
	// 10ms to MaxWallTime. Default: MaxWallTime.
	WallTime Duration `json:"wall_time"`
	// MaxWallTime is the most that any of them gets, in the place of the ceiling's wall
	// time, at most 720h. Default: 1h, or the ceiling's wall time where that is given.
	MaxWallTime Duration `json:"max_wall_time"`
	// MaxPerCaller is how many of them one caller has at once, 1 to 1024. Default 16.
	// They count among the running calls of admission as well.
	MaxPerCaller int `json:"max_per_caller"`
}

// withDefaults fills in what was left out; ceiling is the wall time that was
// given there, 0 for none.
func (b Background) withDefaults(ceiling Duration) Background {
	if ceiling == 0 {
		ceiling = Duration(time.Hour)
	}
	fill(&b.MaxWallTime, ceiling)
	fill(&b.WallTime, b.MaxWallTime)
	fill(&b.MaxPerCaller, 16)
	return b
}

func (b *Background) problems() []string {
	bad := outside("background.max_wall_time", int64(b.MaxWallTime), int64(minWallTime), int64(720*time.Hour), span)
	bad = append(bad, outside("background.max_per_caller", int64(b.MaxPerCaller), 1, 1024, count)...)
	if b.WallTime < Duration(minWallTime) || b.WallTime > b.MaxWallTime {
		bad = append(bad, fmt.Sprintf("background.wall_time: %s: want %s to background.max_wall_time (%s)", b.WallTime, minWallTime, b.MaxWallTime))
	}
	return bad
}

func (r *Results) problems() []string {
	bad := outside("results.max_log", r.MaxLog.Int64(), 64<<10, int64(gib), size)
	bad = append(bad, outside("results.max_forgotten", int64(*r.MaxForgotten), 0, 100_000_000, count)...)
	if disk := r.MaxDisk.Int64(); disk != 0 {
		bad = append(bad, outside("results.max_disk", disk, int64(mib), int64(1024*gib), size)...)
	}
	return bad
}
