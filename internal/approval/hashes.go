package approval

import (
	"os"
	"sync"
	"syscall"
	"time"
)

// Hashes remember what files hash to, so that lists of approvals need not read them time
// and again. They are for showing: what is approved, and what runs, is always read anew.
// The zero value is empty. It is safe for concurrent use.
type Hashes struct {
	mu   sync.Mutex
	sums map[identity]string
}

// identity is what a file is by, as it is: a change of its content changes its ctime,
// which no program can set.
type identity struct {
	dev, ino     uint64
	size         int64
	mtime, ctime syscall.Timespec
}

// maxHashes bounds what is remembered; a file takes about 200 bytes.
const maxHashes = 8192

// settledFor is how old the last change of a file has to be: the clock of a file system
// takes steps, and a second change within one of them could not be told.
const settledFor = 2 * time.Second

func identify(f *os.File) (identity, bool) {
	info, err := f.Stat()
	if err != nil {
		return identity{}, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}, false
	}
	return identity{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}, true
}

// get returns what the file hashes to, if that is known.
func (h *Hashes) get(id identity) (string, bool) {
	if h == nil {
		return "", false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	digest, ok := h.sums[id]
	return digest, ok
}

// put remembers the hash of a file that was the same before it was read and after.
func (h *Hashes) put(before, after identity, digest string, now time.Time) {
	age := now.Sub(time.Unix(before.ctime.Unix()))
	if h == nil || before != after || age < settledFor {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.sums) >= maxHashes || h.sums == nil {
		h.sums = map[identity]string{}
	}
	h.sums[before] = digest
}

// Look is how the files of approvals are looked at to show them: with what is remembered,
// and reading at most so much. It is of one goroutine. nil reads all anew.
type Look struct {
	Hashes *Hashes // Required.
	// Left is how many bytes may still be read. Of a file for which that is too little
	// nothing is said.
	Left int64
}

// knows returns what a file hashes to without reading it.
func (l *Look) knows(id identity) (string, bool) {
	if l == nil {
		return "", false
	}
	return l.Hashes.get(id)
}

// spends reports whether a file may be read.
func (l *Look) spends(size int64) bool {
	if l == nil {
		return true
	}
	if size > l.Left {
		return false
	}
	l.Left -= size
	return true
}

func (l *Look) note(before, after identity, digest string) {
	if l != nil {
		l.Hashes.put(before, after, digest, time.Now())
	}
}
