package powercut

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
)

const sectorBytes = 512

// disk is a disk with a volatile write cache. It is safe for concurrent use.
type disk struct {
	mu     sync.Mutex
	stable *os.File
	size   int64
	// cache holds what was written to a sector since the last flush, oldest first.
	cache map[int64][][]byte

	// fuse is how many flushes it still takes; at zero it calls blow and nothing is
	// flushed any more. Negative: all.
	fuse int
	blow func()
}

func openDisk(path string) (*disk, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &disk{stable: f, size: info.Size(), cache: map[int64][][]byte{}, fuse: -1}, nil
}

// read reads what was written last, cached or not.
func (d *disk) read(p []byte, off int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.within(p, off); err != nil {
		return err
	}
	if _, err := d.stable.ReadAt(p, off); err != nil {
		return err
	}
	for at := 0; at < len(p); at += sectorBytes {
		if versions := d.cache[(off+int64(at))/sectorBytes]; len(versions) > 0 {
			copy(p[at:at+sectorBytes], versions[len(versions)-1])
		}
	}
	return nil
}

// write remembers p; with fua it is stable at once.
func (d *disk) write(p []byte, off int64, fua bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.within(p, off); err != nil {
		return err
	}
	for at := 0; at < len(p); at += sectorBytes {
		sector := (off + int64(at)) / sectorBytes
		if fua {
			delete(d.cache, sector) // what is stable is newer
			continue
		}
		d.cache[sector] = append(d.cache[sector], append([]byte(nil), p[at:at+sectorBytes]...))
	}
	if fua {
		_, err := d.stable.WriteAt(p, off)
		return err
	}
	return nil
}

func (d *disk) within(p []byte, off int64) error {
	if off < 0 || off%sectorBytes != 0 || len(p)%sectorBytes != 0 || off+int64(len(p)) > d.size {
		return fmt.Errorf("%d bytes at %d: not whole sectors of the disk", len(p), off)
	}
	return nil
}

// errPowerGone is that of a flush at which the power went.
var errPowerGone = errors.New("the power is gone")

// arm makes the power go at the n-th flush from now on, which is then not done: what
// was written before it is at the mercy of cut. blow is to take the guest's power.
func (d *disk) arm(n int, blow func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fuse, d.blow = n, blow
}

// flush makes all that was written stable.
func (d *disk) flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.fuse == 0:
		return errPowerGone
	case d.fuse > 0:
		if d.fuse--; d.fuse == 0 {
			d.blow()
			return errPowerGone
		}
	}
	for sector, versions := range d.cache {
		if _, err := d.stable.WriteAt(versions[len(versions)-1], sector*sectorBytes); err != nil {
			return err
		}
	}
	clear(d.cache)
	return nil
}

// cut takes the power away: each cached sector becomes, with the chance kept, one
// of what was written to it. It returns how many there were and how many were lost.
func (d *disk) cut(rng *rand.Rand, kept float64) (cached, lost int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for sector, versions := range d.cache {
		cached++
		if rng.Float64() >= kept {
			lost++
			continue
		}
		if _, err := d.stable.WriteAt(versions[rng.IntN(len(versions))], sector*sectorBytes); err != nil {
			return 0, 0, err
		}
	}
	clear(d.cache)
	d.fuse = -1
	return cached, lost, nil
}

func (d *disk) close() error { return d.stable.Close() }
