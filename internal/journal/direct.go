package journal

import (
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// blockBytes is what memory, offset and length of a direct write are multiples of:
// no less than the logical block of any common disk.
const blockBytes = 4096

// directFile writes records past the page cache, in whole blocks, and what it has
// written is on the disk: one system call and none of the kernel's bookkeeping of
// dirty pages, instead of a write and an fdatasync. The block in which the records
// end is written again with the next ones. What it held of them are the same bytes
// then, so that a write that is torn cannot harm them. Behind the last record the
// block is filled up with zeros, as the journal's end is anyway (see ahead).
//
// Nothing else may write to the file through the page cache meanwhile: a page that
// is written back late would take a block back to what it was. So the zeros ahead
// are written in the same way, by zeroFile.
//
// It belongs to the writer's goroutine.
type directFile struct {
	dataSyncFile // for all but writing
	out          *os.File
	block        []byte // aligned memory; the block in which the records end comes first
	at           int64  // offset of block, a multiple of blockBytes
	n            int    // bytes of records in it
}

// openDirect opens f a second time for direct writes and tries one behind offset.
// An error means that the file system or the disk does not take them, or not now.
func openDirect(f *os.File, offset int64) (records, zeros file, err error) {
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.O_WRONLY|unix.O_DIRECT|unix.O_DSYNC|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open journal for direct writes: %w", err)
	}
	d := &directFile{
		dataSyncFile: dataSyncFile{f}, out: os.NewFile(uintptr(fd), f.Name()),
		block: alignedBytes(16 * blockBytes), at: -1,
	}
	if err = d.load(offset); err == nil {
		_, err = d.out.WriteAt(d.block[:blockBytes], d.at) // its records again, and zeros
	}
	if err != nil {
		_ = d.out.Close() // what it wrote changed nothing
		return nil, nil, fmt.Errorf("write journal directly: %w", err)
	}
	return d, zeroFile{d.out}, nil
}

// load reads the block in which the records end if they end at offset.
func (d *directFile) load(offset int64) error {
	d.at, d.n = -1, 0
	at, n := offset-offset%blockBytes, int(offset%blockBytes)
	if n > 0 {
		if _, err := d.ReadAt(d.block[:n], at); err != nil {
			return fmt.Errorf("read the journal's last block: %w", err)
		}
	}
	clear(d.block[n:blockBytes])
	d.at, d.n = at, n
	return nil
}

// WriteAt writes p at the end of the records, which is off, and zeros up to the end
// of its last block. It returns when they are on disk.
func (d *directFile) WriteAt(p []byte, off int64) (int, error) {
	if d.at < 0 || d.at+int64(d.n) != off { // the write before has failed
		if err := d.load(off); err != nil {
			return 0, err
		}
	}
	size := d.n + len(p)
	whole := int(blocksUp(int64(size)))
	buf := d.block
	if whole > len(buf) {
		buf = alignedBytes(whole) // of a large batch: not kept
		copy(buf, d.block[:d.n])
	}
	copy(buf[d.n:], p)
	clear(buf[size:whole])
	n, err := d.out.WriteAt(buf[:whole], d.at)
	if err == nil && n < whole {
		err = io.ErrShortWrite
	}
	if err != nil {
		return max(0, min(n-d.n, len(p))), err
	}
	last := size - size%blockBytes
	copy(d.block, buf[last:size])
	d.at, d.n = d.at+int64(last), size-last
	return len(p), nil
}

// Sync has nothing to do.
func (*directFile) Sync() error { return nil }

// Close closes both descriptors.
func (d *directFile) Close() error {
	err := d.out.Close()
	if cerr := d.dataSyncFile.Close(); err == nil {
		err = cerr
	}
	return err
}

// zeroFile is a directFile for writing whole blocks from aligned memory. It may be
// used beside it for other blocks.
type zeroFile struct{ *os.File }

// Sync has nothing to do.
func (zeroFile) Sync() error { return nil }

// blocksUp is n or the next larger multiple of blockBytes.
func blocksUp(n int64) int64 { return (n + blockBytes - 1) / blockBytes * blockBytes }

// alignedBytes returns n zeros that begin at a multiple of blockBytes in memory.
func alignedBytes(n int) []byte {
	raw := make([]byte, n+blockBytes)
	skip := 0
	if rest := int(uintptr(unsafe.Pointer(&raw[0])) % blockBytes); rest > 0 { //nolint:gosec // nothing is done with the address
		skip = blockBytes - rest
	}
	return raw[skip : skip+n : skip+n]
}
