package spool

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// cutOff is what a later process finds of a tape, as if this one were killed now.
func cutOff(t *testing.T, from string, perCall int64) *Tape {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	files := NewFiles(dir, perCall, 1<<20)
	left, err := files.Left()
	if err != nil || len(left) != 1 || left[0].Key != (Key{1, 2}) {
		t.Fatalf("found %v, %v", left, err)
	}
	t.Cleanup(func() {
		if err := left[0].Tape.Close(); err != nil || files.used != 0 {
			t.Errorf("close: %v, %d files in use", err, files.used)
		}
		if rest, err := os.ReadDir(dir); err != nil || len(rest) != 0 {
			t.Errorf("left are %v (%v)", rest, err)
		}
	})
	return left[0].Tape
}

// TestKilledProcessLeavesItsOutput writes at random, kills at random and looks that what
// is found is what was written, up to where it was killed.
func TestKilledProcessLeavesItsOutput(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 3)) //nolint:gosec // a test
		const perCall = 4096
		dir := t.TempDir()
		tape := &Tape{}
		tape.KeepNamed(NewFiles(dir, perCall, 1<<20), Key{1, 2})
		var want [streams][]byte
		var known [streams][]bool
		for range 1 + rng.IntN(60) {
			s := Stream(1 + rng.IntN(2)) //nolint:gosec // 1 or 2
			i := s.index()
			if rng.IntN(20) == 0 {
				gap := rng.IntN(3000)
				want[i], known[i] = append(want[i], make([]byte, gap)...), append(known[i], make([]bool, gap)...)
			}
			data := make([]byte, 1+rng.IntN(900))
			for n := range data {
				data[n] = byte(1 + rng.IntN(255)) //nolint:gosec // below 256
			}
			tape.Append(s, int64(len(want[i])), data)
			want[i] = append(want[i], data...)
			for range data {
				known[i] = append(known[i], true)
			}
		}
		if rng.IntN(2) == 0 { // killed when the data is written, and not how far it goes
			k := &tape.tracks[0]
			more := bytes.Repeat([]byte{0}, 1+rng.IntN(1500))
			tape.mark(k, k.end+int64(len(more)))
			before := *k
			if err := k.place(more, func(p []byte, at int64) error {
				_, err := tape.file.WriteAt(p, at)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			*k = before
		}
		found := cutOff(t, dir, perCall)
		stdout, stderr := found.Ends()
		wantOut, wantErr := tape.Ends()
		if stdout != wantOut || stderr != wantErr {
			t.Fatalf("seed %d: it ends at %d and %d, want %d and %d", seed, stdout, stderr, wantOut, wantErr)
		}
		var pos [streams]int64
		read := found.Read(0, 0)
		for {
			p, skipped, changed, err := read.Next(make([]byte, 700))
			if err != nil {
				t.Fatal(err)
			}
			if p.Stream == 0 {
				if changed != nil {
					t.Fatalf("seed %d: it has not ended", seed)
				}
				break
			}
			check(t, seed, p, skipped, &pos, want, known)
		}
		if pos != [streams]int64{wantOut, wantErr} {
			t.Fatalf("seed %d: read up to %v, want %d and %d", seed, pos, wantOut, wantErr)
		}
		if err := read.Close(); err != nil {
			t.Fatal(err)
		}
		if err := tape.Close(); err != nil {
			t.Fatal(err)
		}
		if rest, err := os.ReadDir(dir); err != nil || len(rest) != 0 {
			t.Fatalf("a tape that was closed has left %v (%v)", rest, err)
		}
	}
}

// TestLeftKeepsTheOrder also where the streams took turns more often than is kept.
func TestLeftKeepsTheOrder(t *testing.T) {
	for _, turns := range []int{3, 2*maxSpans + 7} {
		dir := t.TempDir()
		tape := &Tape{}
		tape.KeepNamed(NewFiles(dir, 1<<20, 1<<20), Key{1, 2})
		for i := range turns {
			tape.Append(Stream(1+i%2), int64(i/2), []byte{'a' + byte(i%26)})
		}
		found := cutOff(t, dir, 1<<20)
		was, now := tape.Read(0, 0), found.Read(0, 0)
		_, wantOrder, _ := follow(t, was, make([]byte, 9))
		got, order, ended := follow(t, now, make([]byte, 9))
		if !ended || int64(len(got[0])+len(got[1])) != int64(turns) || order[len(order)-1] != wantOrder[len(wantOrder)-1] {
			t.Errorf("%d turns: %d bytes, ended %v", turns, len(got[0])+len(got[1]), ended)
		}
		if turns < maxSpans && len(order) != turns {
			t.Errorf("the order is %v", order)
		}
		if err := errors.Join(was.Close(), now.Close(), tape.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestLeftThatCannotBeReadIsRemoved: damaged, of other bounds, of no call.
func TestLeftThatCannotBeReadIsRemoved(t *testing.T) {
	dir := t.TempDir()
	tape := &Tape{}
	tape.KeepNamed(NewFiles(dir, 4096, 1<<20), Key{1, 2})
	tape.Append(Stdout, 0, []byte("text"))
	path := NewFiles(dir, 4096, 1<<20).leftPath(Key{1, 2})
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		perCall int64
		raw     []byte
		file    string
	}{
		"other bounds": {8192, raw, filepath.Base(path)},
		"short":        {4096, raw[:4100], filepath.Base(path)},
		"damaged":      {4096, append(append([]byte(nil), raw[:4096+60]...), append([]byte{raw[4096+60] ^ 1}, raw[4096+61:]...)...), filepath.Base(path)},
		"another boot": {4096, append(append([]byte(nil), raw[:4096+4]...), append([]byte{'x'}, raw[4096+5:]...)...), filepath.Base(path)},
		"no key":       {4096, raw, leftPrefix + "x" + leftSuffix},
	} {
		at := t.TempDir()
		if err := os.WriteFile(filepath.Join(at, c.file), c.raw, 0o600); err != nil {
			t.Fatal(err)
		}
		files := NewFiles(at, c.perCall, 1<<20)
		left, err := files.Left()
		if err != nil || len(left) != 0 || files.used != 0 {
			t.Errorf("%s: found %v, %v", name, left, err)
		}
		if rest, err := os.ReadDir(at); err != nil || len(rest) != 0 {
			t.Errorf("%s: left are %v (%v)", name, rest, err)
		}
	}
	if err := tape.Close(); err != nil {
		t.Error(err)
	}
}
