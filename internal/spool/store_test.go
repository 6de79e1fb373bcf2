package spool

import (
	"bytes"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

func openStore(t *testing.T, dir string, change func(*StoreConfig)) *Store {
	t.Helper()
	cfg := StoreConfig{Dir: dir, Bytes: 1 << 20, Keep: time.Hour, Problem: func(err error) { t.Error(err) }}
	if change != nil {
		change(&cfg)
	}
	s, err := OpenStore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func closeStore(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func stored(s *Store, key Key, want Digest) (string, error) {
	r, err := s.Open(key, want)
	if err != nil {
		return "", err
	}
	raw, err := io.ReadAll(r)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	return string(raw), err
}

func digestOf(text string) Digest { return Stored{[]byte(text)}.Digest() }

func TestStoredIsFoundAgainAlsoByTheNextProcess(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, nil)
	texts := map[Key]string{{1}: "one", {2}: strings.Repeat("two", 1000), {3}: ""}
	for key, text := range texts {
		s.Put(key, Stored{[]byte(text)})
		if got, err := stored(s, key, digestOf(text)); err != nil || got != text {
			t.Errorf("at once: %q, %v", got, err)
		}
	}
	s.Put(Key{1}, Stored{[]byte("an"), []byte("ew")})
	closeStore(t, s)
	next := openStore(t, dir, nil)
	texts[Key{1}] = "anew"
	for key, text := range texts {
		if got, err := stored(next, key, digestOf(text)); err != nil || got != text {
			t.Errorf("by the next: %q, %v", got, err)
		}
	}
	if _, err := stored(next, Key{1}, digestOf("one")); !errdefs.IsNotFound(err) {
		t.Errorf("by another digest: %v", err)
	}
	if _, err := stored(next, Key{9}, Digest{}); !errdefs.IsNotFound(err) {
		t.Errorf("never stored: %v", err)
	}
}

func TestDamageIsNotToldAsOutput(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, nil)
	text := "the output"
	s.Put(Key{1}, Stored{[]byte(text)})
	s.Put(Key{2}, Stored{[]byte(text)})
	closeStore(t, s)
	path := s.paths()[0]
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[recordHead] ^= 1                                                // of the first
	if err := os.WriteFile(path, raw[:len(raw)-1], 0o600); err != nil { // the last one torn
		t.Fatal(err)
	}
	next := openStore(t, dir, nil)
	for _, key := range []Key{{1}, {2}} {
		if got, err := stored(next, key, digestOf(text)); !errdefs.IsNotFound(err) {
			t.Errorf("%v: got %q, %v", key, got, err)
		}
	}
}

func TestStoreKeepsItsBounds(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	now := time.Unix(1000, 0)
	s := openStore(t, dir, func(c *StoreConfig) {
		c.Bytes, c.Keep = 64<<10, time.Minute
		c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	})
	text := strings.Repeat("x", 1000)
	data := Stored{[]byte(text)}
	flushed := func() {
		for {
			s.mu.Lock()
			waiting := len(s.queue)
			s.mu.Unlock()
			if waiting == 0 {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	for i := range 200 {
		s.Put(Key{byte(i)}, data)
		if i%8 == 7 {
			flushed()
		}
	}
	flushed()
	sizeOf := func() (n int64) {
		for _, path := range s.paths() {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			n += info.Size()
		}
		return n
	}
	if n := sizeOf(); n > 64<<10 || n < 32<<10 {
		t.Errorf("%d bytes on disk, want at most %d", n, 64<<10)
	}
	if _, err := stored(s, Key{0}, data.Digest()); !errdefs.IsNotFound(err) {
		t.Errorf("the oldest: %v", err)
	}
	if _, err := stored(s, Key{199}, data.Digest()); err != nil {
		t.Errorf("the latest: %v", err)
	}
	mu.Lock()
	now = now.Add(2 * time.Minute)
	mu.Unlock()
	s.mu.Lock()
	s.expire()
	left := len(s.index)
	s.mu.Unlock()
	if n := sizeOf(); n != 0 || left != 0 {
		t.Errorf("after their time %d bytes and %d names are left", n, left)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		t.Error(err)
	}
}

func TestPiecesReadBack(t *testing.T) {
	raw := AppendPiece(nil, Piece{Stdout, 0, []byte("head")})
	raw = AppendPiece(raw, Piece{Stderr, 1 << 40, []byte("tail")})
	var got []string
	err := ReadPieces(bytes.NewReader(raw), func(p Piece) error {
		got = append(got, string(p.Data))
		return nil
	})
	if err != nil || strings.Join(got, " ") != "head tail" {
		t.Errorf("got %q, %v", got, err)
	}
	for cut := 1; cut < pieceHead+4; cut++ {
		if err := ReadPieces(bytes.NewReader(raw[:cut]), func(Piece) error { return nil }); err == nil {
			t.Errorf("cut at %d: no error", cut)
		}
	}
	d := digestOf(string(raw))
	if back, err := ParseDigest(d.String()); err != nil || back != d {
		t.Errorf("digest read back: %v, %v", back, err)
	}
	for _, bad := range []string{"md5:00", "sha256:00", "sha256:" + strings.Repeat("z", 64)} {
		if _, err := ParseDigest(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
