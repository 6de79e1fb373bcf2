package config

import (
	"fmt"
	"time"
)

// Admission says how much runs at once. A call counts with its whole cpu and
// memory limits; when there is no room it waits in line, and callers are served
// in turn.
type Admission struct {
	// CPUMillis is what the cpu limits of the running calls may add up to, in
	// thousandths of a core, 10 to 4096000. Default: eight times the cores that the daemon
	// may use, since calls mostly wait. More makes each slower when all are busy.
	CPUMillis int64 `json:"cpu_millis"`
	// Memory is what their memory limits may add up to, at least 4MiB. Default: three
	// quarters of the machine's memory. More, and calls that use what they may can push
	// the machine out of memory.
	Memory Bytes `json:"memory"`
	// MaxRunning is how many calls run at once, 1 to 1024. Default pool.max_cells.
	MaxRunning int `json:"max_running"`
	// CallerPercent is how much of each of these one caller may use, 1 to 100. Default 75.
	// With 100 the long calls of one caller can shut all others out.
	CallerPercent int `json:"caller_percent"`
	// ReservePercent keeps a share of each of these for calls under a policy profile,
	// by its name, at most 90 together; they may use what is left to all as well. Default:
	// none.
	ReservePercent map[string]int `json:"reserve_percent"`
	// MaxWaiting is how many calls wait in line, 1 to 65536. Default 256. Calls beyond it
	// are refused with a hint when to come again.
	MaxWaiting int `json:"max_waiting"`
	// MaxWaitingPerCaller is how many of them one caller has, 1 to MaxWaiting. Default a
	// quarter of MaxWaiting.
	MaxWaitingPerCaller int `json:"max_waiting_per_caller"`
	// MaxWait is how long a call waits at most, 10ms to 1h. Default 1m. A call whose own
	// timeout is shorter, or would pass before its turn comes, waits no longer than that.
	MaxWait Duration `json:"max_wait"`
}

func (a Admission) withDefaults(maxCells int) Admission {
	fill(&a.MaxRunning, maxCells)
	fill(&a.CallerPercent, 75)
	fill(&a.MaxWaiting, 256)
	fill(&a.MaxWaitingPerCaller, max(a.MaxWaiting/4, 1))
	fill(&a.MaxWait, Duration(time.Minute))
	return a
}

func (a *Admission) problems() []string {
	var bad []string
	for _, f := range []struct {
		key             string
		got, low, high  int64
		zeroIsOfMachine bool
		show            func(int64) string
	}{
		{"cpu_millis", a.CPUMillis, 10, 4_096_000, true, count},
		{"memory", a.Memory.Int64(), int64(4 * mib), 1 << 50, true, size},
		{"max_running", int64(a.MaxRunning), 1, 1024, false, count},
		{"caller_percent", int64(a.CallerPercent), 1, 100, false, count},
		{"max_waiting", int64(a.MaxWaiting), 1, 65536, false, count},
		{"max_waiting_per_caller", int64(a.MaxWaitingPerCaller), 1, int64(a.MaxWaiting), false, count},
		{"max_wait", int64(a.MaxWait), int64(10 * time.Millisecond), int64(time.Hour), false, span},
	} {
		if f.zeroIsOfMachine && f.got == 0 {
			continue
		}
		bad = append(bad, outside("admission."+f.key, f.got, f.low, f.high, f.show)...)
	}
	sum := 0
	for _, profile := range sortedKeys(a.ReservePercent) {
		percent := a.ReservePercent[profile]
		key := fmt.Sprintf("admission.reserve_percent.%s", profile)
		if !profileName.MatchString(profile) {
			bad = append(bad, fmt.Sprintf("admission.reserve_percent: %q is no profile: want 1 to 64 characters of [a-z0-9_-]", profile))
			continue
		}
		bad = append(bad, outside(key, int64(percent), 1, 90, count)...)
		sum += percent
	}
	if sum > 90 {
		bad = append(bad, fmt.Sprintf("admission.reserve_percent: %d together: want at most 90, or calls under other profiles starve", sum))
	}
	return bad
}
