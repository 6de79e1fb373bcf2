package merkle

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/mod/sumdb/tlog"
)

func leaf(t *testing.T, i int) tlog.Hash {
	t.Helper()
	sum := sha256.Sum256(fmt.Append(nil, i))
	h, err := Leaf(hex.EncodeToString(sum[:]))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func grown(t *testing.T, path string, from, to int) *Tree {
	t.Helper()
	tree, err := OpenTree(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := tree.Size(); got != int64(from) {
		t.Fatalf("%d leaves in the file, want %d", got, from)
	}
	for i := from; i < to; i++ {
		if err := tree.Add(leaf(t, i)); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func TestTreeProvesItsLeavesAndItsPast(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tree")
	if err := grown(t, path, 0, 37).Close(); err != nil {
		t.Fatal(err)
	}
	tree := grown(t, path, 37, 100)
	for _, size := range []int64{1, 36, 37, 64, 100} {
		root, err := tree.Root(size)
		if err != nil {
			t.Fatal(err)
		}
		for seq := int64(1); seq <= size; seq++ {
			p, err := tree.ProveRecord(size, seq)
			if err != nil || tlog.CheckRecord(p, size, root, seq-1, leaf(t, int(seq-1))) != nil {
				t.Errorf("record %d of %d: no proof: %v", seq, size, err)
			}
			if tlog.CheckRecord(p, size, root, seq-1, leaf(t, int(seq))) == nil {
				t.Errorf("record %d of %d: another record is proven", seq, size)
			}
		}
		now, err := tree.Root(100)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := tree.ProveTree(100, size); err != nil || tlog.CheckTree(p, 100, now, size, root) != nil {
			t.Errorf("tree of %d is not proven to be the beginning: %v", size, err)
		}
	}
	if _, err := tree.ProveRecord(100, 101); !errdefs.IsOutOfRange(err) {
		t.Errorf("a record behind the tree: got %v", err)
	}
	if _, err := tree.ProveTree(101, 3); !errdefs.IsOutOfRange(err) {
		t.Errorf("a tree that is not there: got %v", err)
	}
}

func TestTreeGoesOnFromItsFrontierAndFromACut(t *testing.T) {
	dir := t.TempDir()
	whole := grown(t, filepath.Join(dir, "whole"), 0, 90)
	want, err := whole.Root(90)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{1, 31, 32, 53} {
		hashes, err := whole.Frontier(size)
		if err != nil {
			t.Fatal(err)
		}
		part, err := OpenTree(filepath.Join(dir, fmt.Sprint("part", size)))
		if err != nil {
			t.Fatal(err)
		}
		if err := part.Restart(size, hashes[1:]); !errdefs.IsDataLoss(err) {
			t.Errorf("too few hashes: got %v", err)
		}
		if err := part.Restart(size, hashes); err != nil {
			t.Fatal(err)
		}
		for i := int(size); i < 90; i++ {
			if err := part.Add(leaf(t, i)); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := part.Root(90); err != nil || got != want {
			t.Errorf("from %d on: another root: %v", size, err)
		}
		if p, err := part.ProveRecord(90, size+1); err != nil || tlog.CheckRecord(p, 90, want, size, leaf(t, int(size))) != nil {
			t.Errorf("from %d on: the first record is not proven: %v", size, err)
		}
		if err := part.Cut(size + 3); err != nil {
			t.Fatal(err)
		}
		if got, err := part.Root(size + 3); err != nil || part.Size() != size+3 {
			t.Errorf("cut: %d leaves, root %v, %v", part.Size(), got, err)
		}
	}
}

func TestKeyIsMadeOnceAndForItsOwnerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	key, err := LoadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadKey(path)
	if err != nil || again.Public() != key.Public() || again.Name() != key.Name() {
		t.Fatalf("read again: %v, another key", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v %v, want 0600", info.Mode(), err)
	}
	signed, err := key.Sign(3, tlog.Hash{1, 2})
	if err != nil {
		t.Fatal(err)
	}
	c, err := OpenCheckpoint(signed, key.Public())
	if err != nil || c.Size != 3 || c.Root != (tlog.Hash{1, 2}) || c.Origin != key.Name() {
		t.Errorf("checkpoint: %+v %v", c, err)
	}
	forged := strings.Replace(string(signed), "\n3\n", "\n4\n", 1)
	if _, err := OpenCheckpoint([]byte(forged), key.Public()); !errdefs.IsDataLoss(err) {
		t.Errorf("a changed size: got %v", err)
	}
	other, err := LoadKey(path + "2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCheckpoint(signed, other.Public()); !errdefs.IsDataLoss(err) {
		t.Errorf("another key: got %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(path); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("a key that others may read: got %v", err)
	}
}
