package daemon

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/spool"
)

// outputsDir is where outputs are kept, in the data directory.
const outputsDir = "outputs"

// memory is what the gate remembers of finished calls.
func (d *Daemon) memory() gate.Memory {
	r := &d.cfg.Results
	m := gate.Memory{
		Calls: r.MaxCount, Forgotten: *r.MaxForgotten, OutputBytes: r.MaxSize.Int64(), OutputFor: r.Keep.Std(),
		Detached: d.cfg.Background.MaxPerCaller,
	}
	if m.Forgotten == 0 {
		m.Forgotten = -1
	}
	return m
}

// openOutputs opens where outputs of calls are kept beside the memory; nil, nil
// where the configuration wants no files.
func (d *Daemon) openOutputs() (*spool.Store, *spool.Files, error) {
	r := d.cfg.Results
	if *r.MaxDisk == 0 {
		return nil, nil, nil
	}
	logger := d.root.Named("outputs")
	store, err := spool.OpenStore(spool.StoreConfig{
		Dir: d.path(outputsDir), Bytes: r.MaxDisk.Int64(), Keep: r.Keep.Std(),
		Problem: func(err error) { logger.Warn("output of a call not kept", zap.Error(err)) },
	})
	if err != nil {
		return nil, nil, fmt.Errorf("results: %w", err)
	}
	d.later("outputs", func(context.Context) error { return store.Close() })
	return store, spool.NewFiles(store.Dir(), r.MaxLog.Int64(), r.MaxDisk.Int64()), nil
}
