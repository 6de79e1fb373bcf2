package powercut

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

func newDisk(t *testing.T, sectors int) *disk {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, sectors*sectorBytes), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := openDisk(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.close() })
	return d
}

func fill(c byte, sectors int) []byte { return bytes.Repeat([]byte{c}, sectors*sectorBytes) }

// content is one letter for each sector, "?" for a mixed one.
func content(t *testing.T, d *disk, sectors int) string {
	t.Helper()
	p := make([]byte, sectors*sectorBytes)
	if err := d.read(p, 0); err != nil {
		t.Fatal(err)
	}
	var out []byte
	for i := range sectors {
		s := p[i*sectorBytes : (i+1)*sectorBytes]
		switch c := s[0]; {
		case !bytes.Equal(s, bytes.Repeat([]byte{c}, sectorBytes)):
			out = append(out, '?')
		case c == 0:
			out = append(out, '.')
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

func TestCutLosesWhatWasNotFlushed(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // repeatable
	d := newDisk(t, 8)
	write := func(c byte, sector, n int64, fua bool) {
		t.Helper()
		if err := d.write(fill(c, int(n)), sector*sectorBytes, fua); err != nil {
			t.Fatal(err)
		}
	}
	write('a', 0, 4, false)
	if err := d.flush(); err != nil {
		t.Fatal(err)
	}
	write('b', 2, 4, false)
	write('c', 3, 2, true)
	if got := content(t, d, 8); got != "aabccb.." {
		t.Errorf("before the cut: got %s", got)
	}
	if cached, lost, err := d.cut(rng, 0); err != nil || cached != 2 || lost != 2 {
		t.Errorf("cut: %d cached, %d lost, %v", cached, lost, err)
	}
	if got := content(t, d, 8); got != "aaacc..." {
		t.Errorf("after the cut: got %s", got)
	}
}

func TestCutReordersAndTears(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2)) //nolint:gosec // repeatable
	seen := map[string]bool{}
	for range 400 {
		d := newDisk(t, 2)
		for _, c := range []byte("xyz") {
			if err := d.write(fill(c, 2), 0, false); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := d.cut(rng, 0.75); err != nil {
			t.Fatal(err)
		}
		seen[content(t, d, 2)] = true
		_ = d.close()
	}
	if len(seen) != 16 { // each sector: nothing, x, y or z
		t.Errorf("saw %d different ends, want 16: %v", len(seen), seen)
	}
}

func TestPowerGoesAtAFlush(t *testing.T) {
	d := newDisk(t, 1)
	blown := 0
	d.arm(2, func() { blown++ })
	for i, want := range []error{nil, errPowerGone, errPowerGone} {
		if err := d.write(fill("xyz"[i], 1), 0, false); err != nil {
			t.Fatal(err)
		}
		if err := d.flush(); !errors.Is(err, want) {
			t.Errorf("flush %d: got %v, want %v", i+1, err, want)
		}
	}
	rng := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // repeatable
	if _, _, err := d.cut(rng, 0); err != nil || blown != 1 || content(t, d, 1) != "x" {
		t.Errorf("got %q, %d blown fuses, %v; want the flushed x", content(t, d, 1), blown, err)
	}
}

func TestDiskRefusesPartsOfSectors(t *testing.T) {
	d := newDisk(t, 2)
	for _, c := range []struct{ off, n int64 }{{1, 512}, {0, 100}, {1024, 512}, {-512, 512}} {
		if err := d.write(make([]byte, c.n), c.off, false); err == nil {
			t.Errorf("%d bytes at %d were taken", c.n, c.off)
		}
	}
}
