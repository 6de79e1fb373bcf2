package daemon

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/internal/admission"
)

// cpuOvercommit is how many times over the cores are given out by default. A call
// rarely uses what its limit lets it, and when many do each only becomes slower.
const cpuOvercommit = 8

// slotsPerCore is how many calls begin at once for each core: while one waits for the
// disk or its cell, another runs. With half as many, processors rest while calls wait: 32
// clients make 7 % fewer. More bring nothing, and the calls of a caller that makes few
// take a millisecond longer for each slot that another caller keeps full.
const slotsPerCore = 4

// openLine makes the line of calls from the configuration and, where that says
// nothing, the machine.
func (d *Daemon) openLine() (*admission.Line, error) {
	a := d.cfg.Admission
	budget := admission.Resources{Calls: a.MaxRunning, CPUMillis: a.CPUMillis, MemoryBytes: a.Memory.Int64()}
	if budget.CPUMillis == 0 {
		// GOMAXPROCS is what the process may use of the cores.
		budget.CPUMillis = int64(runtime.GOMAXPROCS(0)) * 1000 * cpuOvercommit
	}
	if budget.MemoryBytes == 0 {
		total, err := machineMemory()
		if err != nil {
			return nil, fmt.Errorf("admission.memory: %w", err)
		}
		budget.MemoryBytes = total / 4 * 3
	}
	reserve := make(map[string]float64, len(a.ReservePercent))
	for profile, percent := range a.ReservePercent {
		reserve[profile] = float64(percent) / 100
	}
	line, err := admission.New(admission.Config{
		Budget: budget, Reserve: reserve, CallerShare: float64(a.CallerPercent) / 100,
		MaxWaiting: a.MaxWaiting, MaxWaitingPerCaller: a.MaxWaitingPerCaller, MaxWait: a.MaxWait.Std(),
		Slots: slotsPerCore * runtime.GOMAXPROCS(0), Idle: admission.IdleProcessor(runtime.NumCPU()),
	})
	if err != nil {
		return nil, fmt.Errorf("admission: %w", err)
	}
	return line, nil
}

// machineMemory is the memory of the machine, in bytes.
func machineMemory() (int64, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("ask the machine for its memory: %w", err)
	}
	return int64(info.Totalram) * int64(info.Unit), nil //nolint:gosec // no machine has as much
}
