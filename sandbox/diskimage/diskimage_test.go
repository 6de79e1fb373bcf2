package diskimage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

func requireRoot(t testing.TB) {
	t.Helper()
	if os.Getenv("SANDGATE_ROOT_TESTS") != "1" {
		t.Skip("mounts disk images: set SANDGATE_ROOT_TESTS=1 and run as root")
	}
}

func attached(t testing.TB, size int64) string {
	t.Helper()
	requireRoot(t)
	dir := filepath.Join(t.TempDir(), "workspace")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Attach(t.Context(), dir, size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Detach(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestImageBinds: bytes, inodes, sparse files and files that are deleted and open; and
// what is deleted comes back to the machine.
func TestImageBinds(t *testing.T) {
	const size = 64 << 20
	dir := attached(t, size)
	bytes, inodes, err := Size(dir)
	if err != nil || bytes > size || bytes < size*3/4 || inodes > size/bytesPerInode+16 {
		t.Fatalf("got %d bytes, %d inodes, %v", bytes, inodes, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("it begins with %v (%v)", entries, err)
	}
	fill := func(name string) (int64, *os.File) {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		block, n := make([]byte, 1<<20), int64(0)
		for i := range block {
			block[i] = byte(i)
		}
		for {
			m, err := f.Write(block)
			n += int64(m)
			if err != nil {
				if !errors.Is(err, unix.ENOSPC) {
					t.Errorf("got %v, want ENOSPC", err)
				}
				return n, f
			}
		}
	}
	n, f := fill("big")
	if n > size || !Full(dir) {
		t.Errorf("%d bytes fit, full is %v", n, Full(dir))
	}
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	if more, g := fill("while the deleted one is open"); more > 4<<20 {
		t.Errorf("%d more bytes fit", more)
	} else if err := errors.Join(g.Close(), os.Remove(g.Name()), f.Close()); err != nil {
		t.Fatal(err)
	}
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sparse.Truncate(1<<40), sparse.Close(), os.Remove(sparse.Name())); err != nil {
		t.Fatal(err)
	}
	var made int64
	for ; made <= inodes; made++ {
		if f, err := os.Create(filepath.Join(dir, "f"+strings.Repeat("x", int(made%50))+"-"+strconv.FormatInt(made, 10))); err != nil {
			break
		} else if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if made > inodes || !Full(dir) {
		t.Errorf("%d files of %d inodes, full is %v", made, inodes, Full(dir))
	}
	fd, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(removeContents(dir), unix.Syncfs(int(fd.Fd())), fd.Close()); err != nil {
		t.Fatal(err)
	}
	var image unix.Stat_t
	if err := unix.Stat(dir+Suffix, &image); err != nil || image.Blocks*512 > size/2 {
		t.Errorf("the image still takes %d bytes (%v)", image.Blocks*512, err)
	}
}

func removeContents(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// TestAttachAgain finds what was there, and never has an image at two devices.
func TestAttachAgain(t *testing.T) {
	dir := attached(t, MinBytes)
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := os.Open(dir) // as a cell would
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close() //nolint:errcheck // of a test
	if err := Attach(t.Context(), dir, MinBytes); err != nil {
		t.Fatalf("attached already: %v", err)
	}
	if err := Detach(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "f")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("detached: %v", err)
	}
	if size, _, err := Size(dir); err != nil || size <= MinBytes {
		t.Errorf("got %d, %v, want the size of what is below", size, err)
	}
	if err := Attach(t.Context(), dir, MinBytes); err != nil {
		t.Fatal(err)
	}
	if body, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || string(body) != "kept" {
		t.Errorf("got %q, %v", body, err)
	}
	var a, b unix.Stat_t
	if err := errors.Join(unix.Fstat(int(held.Fd()), &a), unix.Stat(dir, &b)); err != nil || a.Dev != b.Dev {
		t.Errorf("two file systems of one image: %d and %d (%v)", a.Dev, b.Dev, err)
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	if err := Attach(t.Context(), dir, MinBytes-1); !errdefs.IsInvalidArgument(err) {
		t.Errorf("small: got %v", err)
	}
	if err := os.Symlink("/", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := Attach(t.Context(), filepath.Join(dir, "link"), MinBytes); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("link: got %v", err)
	}
	if err := Remove(filepath.Join(dir, "none")); err != nil {
		t.Errorf("nothing: %v", err)
	}
	if err := Attach(t.Context(), dir, MinBytes); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "want it empty") {
		t.Errorf("with files in it: got %v", err)
	}
}

func TestProbe(t *testing.T) {
	requireRoot(t)
	dir := t.TempDir()
	killed := filepath.Join(dir, "disk-probe-1", "workspace") // in the midst of a probe
	if err := os.MkdirAll(killed, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Attach(t.Context(), killed, MinBytes); err != nil {
		t.Fatal(err)
	}
	if err := Probe(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v (%v)", left, err)
	}
}

// TestImageKeepsTimes: when a file was made, and its changes within one second.
func TestImageKeepsTimes(t *testing.T) {
	dir := attached(t, 16<<20)
	fractions := 0
	for i := range 3 { // the fraction can be nothing by chance
		path := filepath.Join(dir, strconv.Itoa(i))
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		var st unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BTIME|unix.STATX_CTIME, &st); err != nil {
			t.Fatal(err)
		}
		if st.Mask&unix.STATX_BTIME == 0 {
			t.Error("it is not kept when a file was made")
		}
		if st.Ctime.Nsec != 0 {
			fractions++
		}
	}
	if fractions == 0 {
		t.Error("times are kept in whole seconds")
	}
}

// TestImageOutlivesAPowerCut: the copy of an image that is in use, as a power cut would
// leave it, is a file system with what was synced in it.
func TestImageOutlivesAPowerCut(t *testing.T) {
	dir := attached(t, MinBytes)
	for i := range 200 {
		path := filepath.Join(dir, strconv.Itoa(i%7), strconv.Itoa(i))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("synced"), 0o600); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	f, err := os.Create(filepath.Join(dir, "last"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("synced"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut")
	image, err := os.ReadFile(dir + Suffix)
	if err != nil {
		t.Fatal(err)
	}
	if replay := image[1024+0x60] & 4; replay == 0 { // EXT4_FEATURE_INCOMPAT_RECOVER
		t.Error("an image in use does not say that its journal has to be replayed: it has none")
	}
	if err := errors.Join(os.Mkdir(cut, 0o700), os.WriteFile(cut+Suffix, image, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := Attach(t.Context(), cut, MinBytes); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Detach(cut); err != nil {
			t.Error(err)
		}
	})
	if body, err := os.ReadFile(filepath.Join(cut, "last")); err != nil || string(body) != "synced" {
		t.Errorf("got %q, %v", body, err)
	}
	if _, err := os.Stat(filepath.Join(cut, "1", "1")); err != nil {
		t.Errorf("what was made before it: %v", err)
	}
}
