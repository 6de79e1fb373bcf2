package containerd

import (
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cgroup"
)

// UsageOf tells what a live call has used so far; false when no such call runs. It
// may be called beside anything else.
func (r *Runtime) UsageOf(callID string) (sandbox.Usage, bool) {
	found, ok := r.metered.Load(callID)
	if !ok {
		return sandbox.Usage{}, false
	}
	meter, ok := found.(*cgroup.Meter)
	if !ok {
		return sandbox.Usage{}, false
	}
	g := meter.Usage()
	return sandbox.Usage{
		CPUUser: g.CPUUser, CPUSystem: g.CPUSystem,
		MemoryPeakBytes: g.MemoryPeakBytes, PidsPeak: g.PidsPeak, PidsLimitHits: g.PidsLimitHits,
		OOMKills: g.OOMKills, IOReadBytes: g.IOReadBytes, IOWriteBytes: g.IOWriteBytes,
	}, true
}
