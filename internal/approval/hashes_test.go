package approval_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandgate/sandgate/internal/approval"
)

// TestListsReadFilesOnce: a list reads what it does not know, and no more than it may;
// what has changed is seen all the same.
func TestListsReadFilesOnce(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "big")
	content := bytes.Repeat([]byte("x"), 1<<20)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	files := []approval.File{{
		Path: "/workspace/big", Real: "/workspace/big", Op: approval.OpRead, Bytes: 1 << 20,
		SHA256: "8cd22e71d2b33b8c5d5cf1d5a1a4d2f2a2a1d0b0c9f8e7d6c5b4a39281706f5e", // not what it is
	}}
	hashes := &approval.Hashes{}
	shown := func(left int64) (changed string, read int64) {
		look := &approval.Look{Hashes: hashes, Left: left}
		said, err := approval.Shown(files, dir, look)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(said, "; "), left - look.Left
	}
	const other = "/workspace/big has another content"
	if said, read := shown(2 << 20); said != other || read != 1<<20 {
		t.Errorf("of a file just written: got %q after %d bytes", said, read)
	}
	if said, read := shown(2 << 20); said != other || read != 1<<20 { // it may change within a step of the clock
		t.Errorf("once more: got %q after %d bytes, want that it is read again", said, read)
	}
	for { // its last change is of some time ago, as files mostly are
		if said, read := shown(2 << 20); said != other {
			t.Fatalf("got %q", said)
		} else if read == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if said, read := shown(0); said != other || read != 0 {
		t.Errorf("of a file that is known: got %q after %d bytes, want none", said, read)
	}

	// Another content of the same size, with the times set back: the change is seen.
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, bytes.Repeat([]byte("y"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if said, read := shown(2 << 20); said != other || read != 1<<20 {
		t.Errorf("of a file that was changed: got %q after %d bytes, want that it is read", said, read)
	}
	if said, read := shown(1000); said != "" || read != 0 {
		t.Errorf("of one that is too large for a list: got %q after %d bytes", said, read)
	}
	if said, err := approval.Changed(files, dir); err != nil || len(said) != 1 { // what runs is read anew
		t.Errorf("before it runs: got %q, %v", said, err)
	}
}
