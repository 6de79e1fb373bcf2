package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sandgate/sandgate/internal/admission"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/sandbox"
)

// Sources tell how the parts are doing. They must not block. Each may be nil.
type Sources struct {
	Pools     func() []sandbox.Pool
	Admission func() admission.State
	Journal   func() journal.State
	Sessions  func() int // in memory
	Policy    func() Policy
}

// watcher is a prometheus.Collector that asks the sources.
type watcher struct{ from Sources }

var _ prometheus.Collector = (*watcher)(nil)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("sandgate_"+name, help, labels, nil)
}

var (
	poolCells = desc("pool_cells", "Cells by state: fresh (made ahead), kept (idle, of a session or caller), busy, making, dying.", "image", "isolation", "state")
	poolWait  = desc("pool_waiting_calls", "Calls that wait for a cell.", "image", "isolation")
	poolGoal  = desc("pool_target_cells", "Fresh cells that the pool wants at present.", "image", "isolation")
	poolTotal = desc("pool_cells_total", "Events: made, claims, dry (claims that waited for a cell to be made), retired, poisoned, failed.", "image", "isolation", "event")

	lineCalls   = desc("admission_calls", "Calls by state: running, waiting.", "state")
	lineCallers = desc("admission_waiting_callers", "Callers with calls in line.")
	lineUsed    = desc("admission_used", "What the running calls count: calls, cpu_millis, memory_bytes, and slots: those that have begun just now.", "resource")
	lineBudget  = desc("admission_budget", "What they may count at most.", "resource")
	lineTotal   = desc("admission_calls_total", "Events: admitted, waited, refused (line full), expired (timeout in line), left (cancelled in line).", "event")

	journalBytes   = desc("journal_bytes", "Size of all records.")
	journalWaiting = desc("journal_waiting_records", "Records that wait to be written.")
	journalFailing = desc("journal_failing", "1 while the last commit failed: no call runs then.")
	journalFull    = desc("journal_full", "1 while its disk has no more room than the reserve: no call runs then.")
	journalTotal   = desc("journal_records_total", "Records written since the start.")
	journalFailed  = desc("journal_failed_commits_total", "Commits that failed since the start.")

	sessionCount = desc("sessions", "Sessions in memory.")
)

// Describe implements prometheus.Collector.
func (w *watcher) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		poolCells, poolWait, poolGoal, poolTotal, lineCalls, lineCallers, lineUsed, lineBudget, lineTotal,
		journalBytes, journalWaiting, journalFailing, journalFull, journalTotal, journalFailed, sessionCount,
	} {
		out <- d
	}
	for _, d := range policyDescs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (w *watcher) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	count := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	if w.from.Pools != nil {
		for _, p := range w.from.Pools() {
			pool(p, gauge, count)
		}
	}
	if w.from.Admission != nil {
		s := w.from.Admission()
		gauge(lineCalls, int64(s.Running), "running")
		gauge(lineCalls, int64(s.Waiting), "waiting")
		gauge(lineCallers, int64(s.WaitingCallers))
		for name, v := range map[string][2]int64{
			"calls": {int64(s.Running), int64(s.Budget.Calls)}, "cpu_millis": {s.Used.CPUMillis, s.Budget.CPUMillis},
			"memory_bytes": {s.Used.MemoryBytes, s.Budget.MemoryBytes},
		} {
			gauge(lineUsed, v[0], name)
			gauge(lineBudget, v[1], name)
		}
		if s.Slots > 0 {
			gauge(lineUsed, int64(s.Beginning), "slots")
			gauge(lineBudget, int64(s.Slots), "slots")
		}
		for event, v := range map[string]int64{
			"admitted": s.Admitted, "waited": s.Waited, "refused": s.Refused, "expired": s.Expired, "left": s.Left,
		} {
			count(lineTotal, v, event)
		}
	}
	if w.from.Journal != nil {
		s := w.from.Journal()
		gauge(journalBytes, s.Bytes)
		gauge(journalWaiting, int64(s.Waiting))
		failing, full := int64(0), int64(0)
		if s.Err != nil {
			failing = 1
		}
		if s.Full != nil {
			full = 1
		}
		gauge(journalFailing, failing)
		gauge(journalFull, full)
		count(journalTotal, s.Records)
		count(journalFailed, s.FailedCommits)
	}
	if w.from.Sessions != nil {
		gauge(sessionCount, int64(w.from.Sessions()))
	}
	if w.from.Policy != nil {
		w.from.Policy().collect(out)
	}
}

func pool(p sandbox.Pool, gauge, count func(*prometheus.Desc, int64, ...string)) {
	image, isolation := p.Image, string(p.Isolation)
	for state, v := range map[string]int{
		"fresh": p.Fresh, "kept": p.Kept, "busy": p.Busy, "making": p.Making, "dying": p.Dying,
	} {
		gauge(poolCells, int64(v), image, isolation, state)
	}
	gauge(poolWait, int64(p.Waiting), image, isolation)
	gauge(poolGoal, int64(p.Target), image, isolation)
	for event, v := range map[string]int64{
		"made": p.Made, "claims": p.Claims, "dry": p.Dry, "retired": p.Retired, "poisoned": p.Poisoned, "failed": p.Failed,
	} {
		count(poolTotal, v, image, isolation, event)
	}
}
