package policy

import (
	"fmt"
	"slices"
)

// amount is one numeric limit of SandboxObligations.
type amount struct {
	name string
	of   func(*SandboxObligations) *int64
}

var amounts = []amount{
	{"cpu_millis", func(o *SandboxObligations) *int64 { return &o.CPUMillis }},
	{"memory_bytes", func(o *SandboxObligations) *int64 { return &o.MemoryBytes }},
	{"pids", func(o *SandboxObligations) *int64 { return &o.Pids }},
	{"wall_time_ms", func(o *SandboxObligations) *int64 { return &o.WallTimeMs }},
	{"output_bytes", func(o *SandboxObligations) *int64 { return &o.OutputBytes }},
	{"output_total_bytes", func(o *SandboxObligations) *int64 { return &o.OutputTotalBytes }},
	{"disk_bytes", func(o *SandboxObligations) *int64 { return &o.DiskBytes }},
	{"file_bytes", func(o *SandboxObligations) *int64 { return &o.FileBytes }},
	{"open_files", func(o *SandboxObligations) *int64 { return &o.OpenFiles }},
}

// word is one limit of SandboxObligations that has a list of values, the
// tightest first. A ceiling names the loosest value that is allowed.
type word struct {
	name   string
	of     func(*SandboxObligations) *string
	values []string
	ranked bool // the order of values is an order of strength
}

var words = []word{
	// Neither isolation class is in every respect the stronger one: no rank.
	{"isolation", func(o *SandboxObligations) *string { return &o.Isolation }, []string{"runc", "gvisor"}, false},
	{"reuse", func(o *SandboxObligations) *string { return &o.Reuse }, []string{"never", "session", "caller"}, true},
	{"network", func(o *SandboxObligations) *string { return &o.Network }, []string{"none"}, true},
	{"workspace", func(o *SandboxObligations) *string { return &o.Workspace }, []string{modeRO, WorkspaceTransaction, modeRW}, true},
}

// checkSandbox lists what is wrong with ob: values that do not exist, more than
// the ceiling, what this daemon cannot enforce (isolations nil: do not check).
func checkSandbox(ob, ceiling SandboxObligations, isolations []string) []problem {
	var found []problem
	for _, a := range amounts {
		value, limit := *a.of(&ob), *a.of(&ceiling)
		switch {
		case value < 0:
			found = append(found, problem{
				RuleInvalidDecision,
				fmt.Sprintf("obligations.sandbox.%s is %d, want a positive number", a.name, value),
			})
		case limit > 0 && value > limit:
			found = append(found, problem{
				RuleObligationCeiling,
				fmt.Sprintf("obligations.sandbox.%s is %d, above the daemon's ceiling of %d", a.name, value, limit),
			})
		}
	}
	for _, w := range words {
		if p := w.check(*w.of(&ob), *w.of(&ceiling)); p != nil {
			found = append(found, *p)
		}
	}
	if p := checkMounts(ob, ceiling); p != nil {
		found = append(found, *p)
	}
	if isolations != nil && ob.Isolation != "" && !slices.Contains(isolations, ob.Isolation) {
		found = append(found, problem{
			RuleObligationUnsupported,
			fmt.Sprintf("the policy demands the isolation %q, which this daemon cannot make", ob.Isolation),
		})
	}
	return found
}

func (w word) check(value, ceiling string) *problem {
	if value == "" {
		return nil
	}
	at := slices.Index(w.values, value)
	if at < 0 && w.name == "network" {
		return &problem{
			RuleObligationUnsupported,
			fmt.Sprintf("the policy demands the network %q, which this daemon cannot enforce; it can do none", value),
		}
	}
	if at < 0 {
		return &problem{RuleInvalidDecision, fmt.Sprintf("obligations.sandbox.%s is %q, want one of %q", w.name, value, w.values)}
	}
	if ceiling == "" {
		return nil
	}
	if (w.ranked && at > slices.Index(w.values, ceiling)) || (!w.ranked && value != ceiling) {
		return &problem{
			RuleObligationCeiling,
			fmt.Sprintf("obligations.sandbox.%s is %q, the daemon's ceiling is %q", w.name, value, ceiling),
		}
	}
	return nil
}

// Effective is the cage of a call: what the policy demands; where it demands
// nothing the defaults; and never more than the ceiling. A zero field is left
// only where all three are zero.
func Effective(ob Obligations, ceiling, defaults SandboxObligations) SandboxObligations {
	out := ob.Sandbox
	for _, a := range amounts {
		value, limit := a.of(&out), *a.of(&ceiling)
		if *value == 0 {
			*value = *a.of(&defaults)
		}
		if limit > 0 && (*value == 0 || *value > limit) {
			*value = limit
		}
	}
	for _, w := range words {
		value, limit := w.of(&out), *w.of(&ceiling)
		if *value == "" {
			*value = *w.of(&defaults)
		}
		if limit == "" {
			continue
		}
		at, most := slices.Index(w.values, *value), slices.Index(w.values, limit)
		if *value == "" || !w.ranked || at < 0 || at > most {
			*value = limit
		}
	}
	out.Mounts = mountsIn(out.Mounts, out.Workspace, ceiling.Workspace)
	return out
}
