package daemon

import (
	"context"
	"fmt"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/config"
	"github.com/sandgate/sandgate/internal/logging"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/containerd"
)

var _ Sandbox = (*containerd.Runtime)(nil)

// OpenContainerd opens the sandbox on containerd, a private one unless the
// configuration names the address of another.
func OpenContainerd(ctx context.Context, cfg config.Config, logger *zap.Logger) (Sandbox, error) {
	runtimes := make(map[sandbox.Isolation]containerd.RuntimeClass, len(cfg.Containerd.Runtimes))
	for class, r := range cfg.Containerd.Runtimes {
		runtimes[sandbox.Isolation(class)] = containerd.RuntimeClass{Shim: r.Shim, Binary: r.Binary}
	}
	idle := *cfg.Pool.Idle
	if idle == 0 {
		idle = -1 // there 0 means the default
	}
	idleMemory := cfg.Pool.IdleMemory.Int64()
	if idleMemory == 0 {
		total, err := machineMemory()
		if err != nil {
			return nil, fmt.Errorf("pool.idle_memory: %w", err)
		}
		idleMemory = total / 8
	}
	return containerd.New(ctx, containerd.Config{
		DataDir: filepath.Join(cfg.DataDir, containerdDir), BinDir: cfg.Containerd.BinDir,
		Address: cfg.Containerd.Address, Namespace: cfg.Containerd.Namespace, Runtimes: runtimes, IDBase: cfg.Containerd.IDBase,
		PoolSize: idle, PoolCeiling: cfg.Pool.IdleMax, IdleMemoryBytes: idleMemory, MaxCells: cfg.Pool.MaxCells, CellsPerShim: cfg.Pool.CellsPerShim,
		IdleTimeout: cfg.Pool.IdleTimeout.Std(), MaxAge: cfg.Pool.MaxAge.Std(), MaxCalls: cfg.Pool.MaxCalls,
		HostEtc:      map[string]string{"gitconfig": gitConfig(cfg.Tools.Committer())},
		CgroupParent: cfg.Containerd.CgroupParent, Logger: logging.Slog(logger),
		Protection: containerd.Protection{
			CellsWeight: cfg.Protection.CellsWeight, ServiceWeight: cfg.Protection.ServiceWeight,
			MemoryBytes: cfg.Protection.Memory.Int64(), Required: cfg.Protection.Required,
		},
	})
}

// gitConfig is git's configuration of the whole system in a cell, which everything else
// that git reads overrules.
func gitConfig(name, email string) string {
	return fmt.Sprintf("[user]\n\tname = \"%s\"\n\temail = \"%s\"\n", name, email)
}
