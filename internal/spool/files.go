package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Files makes the files of tapes. They have no name, so that nothing of them is
// left when the process ends in whatever way, but for those that Left is to find then.
// It is safe for concurrent use.
type Files struct {
	dir     string
	perCall int64
	most    int64 // files at once

	pages pages

	mu    sync.Mutex
	used  int64
	large int // tapes that keep largeBytes in memory
}

// mostLarge is how many tapes may keep largeBytes in memory at once.
const mostLarge = 16

// page is memory of a tape that keeps much.
type page [64 << 10]byte

// pages are those that no tape uses at present.
type pages struct{ pool sync.Pool }

func (p *pages) get() *page {
	if x, ok := p.pool.Get().(*page); ok {
		return x
	}
	return new(page)
}

// takeLarge asks for room in memory; giveLarge gives it back.
func (f *Files) takeLarge() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.large == mostLarge {
		return false
	}
	f.large++
	return true
}

func (f *Files) giveLarge() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.large--
}

// NewFiles makes files in an existing directory. Each keeps perCallBytes of a
// call's output, half of it of each stream, and all together totalBytes.
func NewFiles(dir string, perCallBytes, totalBytes int64) *Files {
	perCallBytes = max(perCallBytes, 4)
	return &Files{dir: dir, perCall: perCallBytes, most: totalBytes / perCallBytes}
}

// region is what a file keeps of each stream.
func (f *Files) region() int64 { return f.perCall / streams }

var errFull = errors.New("output files have no room left")

// open returns a new file. release gives its room back.
func (f *Files) open() (*os.File, error) {
	return f.take(func() (*os.File, error) { return unnamed(f.dir) })
}

// take is open with a file that somebody else makes.
func (f *Files) take(open func() (*os.File, error)) (*os.File, error) {
	f.mu.Lock()
	full := f.used >= f.most
	if !full {
		f.used++
	}
	f.mu.Unlock()
	if full {
		return nil, errFull
	}
	file, err := open()
	if err != nil {
		f.release()
		return nil, err
	}
	return file, nil
}

func (f *Files) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.used--
}

// unnamed makes a file without a name, where the file system knows none by taking
// its name away.
func unnamed(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), filepath.Join(dir, "output")), nil
	}
	file, err := os.CreateTemp(dir, tapePrefix+"*")
	if err != nil {
		return nil, fmt.Errorf("make an output file: %w", err)
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("make an output file: %w", err), file.Close())
	}
	return file, nil
}

// tapePrefix marks files of tapes that a crash has left; OpenStore removes them.
const tapePrefix = ".tape-"
