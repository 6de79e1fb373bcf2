package config

// Protection says how the machine, the daemon and containerd are kept from all
// cells together, beyond the limits of each call. What the machine cannot do is told
// by `sandgate doctor`.
type Protection struct {
	// CellsWeight is the share of processor and disk time of all cells together, where
	// others have 100; 1 to 10000. Default 50. It binds only while others want the time.
	CellsWeight int64 `json:"cells_weight"`
	// ServiceWeight is that of containerd and its shims, where no service manager has
	// put the daemon into a group; 1 to 10000. Default 200. Below CellsWeight, cells can
	// starve them.
	ServiceWeight int64 `json:"service_weight"`
	// Memory is what all cells may have together, at least 64MiB. Default: what the daemon
	// may have of the machine less an eighth, at least 512 MiB. When it is used up the
	// kernel ends programs in cells, which is better than others.
	Memory Bytes `json:"memory"`
	// Required refuses all calls where the cells cannot be held together so. Default
	// false: that is only reported.
	Required bool `json:"required"`
}

func (p Protection) withDefaults() Protection {
	fill(&p.CellsWeight, 50)
	fill(&p.ServiceWeight, 200)
	return p
}

func (p Protection) problems() []string {
	bad := outside("protection.cells_weight", p.CellsWeight, 1, 10_000, count)
	bad = append(bad, outside("protection.service_weight", p.ServiceWeight, 1, 10_000, count)...)
	if p.Memory != 0 {
		bad = append(bad, outside("protection.memory", p.Memory.Int64(), int64(64*mib), int64(1024*gib), size)...)
	}
	return bad
}
