package changeset

import (
	"fmt"
	"testing"
)

// BenchmarkSteps tells what each part of committing 1,000 changed files takes.
func BenchmarkSteps(b *testing.B) {
	var lower, upper []string
	for i := range 1000 {
		upper = append(upper, fmt.Sprintf("d%d/f%d", i/50, i))
		if i%2 == 0 {
			lower = append(lower, upper[i])
		}
	}
	for _, part := range []string{"read", "stage", "commit", "remove"} {
		b.Run(part, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				s := newScene(b, lower, upper)
				timed := func(name string, do func() error) {
					if name == part {
						b.StartTimer()
						defer b.StopTimer()
					}
					if err := do(); err != nil {
						b.Fatal(err)
					}
				}
				var set *Set
				var staged *Staged
				timed("read", func() (err error) { set, err = Read(s.o, ReadOptions{}); return err })
				timed("stage", func() (err error) { staged, err = Stage(s.o, set, s.stage); return err })
				timed("commit", func() error { return staged.Commit() })
				timed("remove", func() error { return Remove(s.stage) })
				if err := staged.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
