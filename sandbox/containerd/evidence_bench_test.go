package containerd

import (
	"os"
	"testing"
)

// BenchmarkEvidence is the look at the holder of a stage, here at this process.
func BenchmarkEvidence(b *testing.B) {
	var room []byte
	var seen evidence
	b.ReportAllocs()
	for b.Loop() {
		s, err := readStatusInto(room[:0], os.Getpid())
		if err != nil {
			b.Fatal(err)
		}
		room = s.text
		if seen, err = s.evidence(seen); err != nil {
			b.Fatal(err)
		}
	}
}
