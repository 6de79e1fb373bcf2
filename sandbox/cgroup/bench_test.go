package cgroup_test

import (
	"os"
	"testing"

	"github.com/sandgate/sandgate/sandbox/cgroup"
)

// BenchmarkGroup is what is done with the control group of a call that has the limits of
// the one before.
func BenchmarkGroup(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("needs root")
	}
	m, err := cgroup.Open(cgroup.DefaultRoot)
	if err != nil {
		b.Skip(err)
	}
	g, err := m.Group("/sandgate-bench", 2)
	if err != nil {
		b.Skip(err)
	}
	defer func() {
		g.Close()
		if err := m.Remove(b.Context(), g.Path()); err != nil {
			b.Error(err)
		}
	}()
	l := cgroup.Limits{MemoryBytes: 64 << 20, Pids: 40, CPUMillis: 1500}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.SetLimits(l); err != nil {
			b.Fatal(err)
		}
		g.Begin()
		if _, err := g.Procs(); err != nil {
			b.Fatal(err)
		}
		g.Worn(g.Usage())
	}
}
