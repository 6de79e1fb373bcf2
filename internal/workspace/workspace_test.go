package workspace

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// open makes a workspace with files: a name that ends with / is a directory, a
// content that begins with -> a symbolic link.
func open(t *testing.T, files map[string]string) (*Dir, string) {
	t.Helper()
	at := filepath.Join(t.TempDir(), "workspace")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		full := filepath.Join(at, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(full, 0o755)
		case strings.HasPrefix(content, "->"):
			err = os.Symlink(content[2:], full)
		default:
			err = os.WriteFile(full, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	d, err := Open(at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, at
}

// tree reads a directory back: modes and contents by name.
func tree(t *testing.T, at string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(at, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == at {
			return err
		}
		name, err := filepath.Rel(at, path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			out[name+"/"] = info.Mode().Perm().String()
		case e.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			out[name] = "->" + target
			return err
		case e.Type().IsRegular():
			raw, err := os.ReadFile(path) //nolint:gosec // nobody else writes in the folder of a test
			out[name] = info.Mode().String() + " " + string(raw)
			return err
		default:
			out[name] = e.Type().String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWriteAndRead(t *testing.T) {
	d, at := open(t, map[string]string{"old": "old text", "in": "->old"})
	w, err := d.Write(t.Context(), "a/b/new", 0o4755, strings.NewReader("hello"), 10)
	if err != nil || w.Bytes != 5 || w.Digest != "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" {
		t.Fatalf("got %+v, %v", w, err)
	}
	if _, err := d.Write(t.Context(), "in", 0o600, strings.NewReader("not through the link"), 100); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a/": "-rwxr-xr-x", "a/b/": "-rwxr-xr-x", "a/b/new": "-rwxr-xr-x hello", "in": "-rw------- not through the link", "old": "-rw-r--r-- old text"}
	if diff := cmp.Diff(want, tree(t, at)); diff != "" {
		t.Error(diff)
	}
	f, size, err := d.Read("a/b/new", 2)
	if err != nil || size != 5 {
		t.Fatalf("size %d, %v", size, err)
	}
	raw, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil || string(raw) != "llo" {
		t.Errorf("read %q, %v", raw, err)
	}
	if _, _, err := d.Read("old", 9); !errdefs.IsOutOfRange(err) {
		t.Errorf("offset behind the end: %v", err)
	}
}

// A person downloads into /tmp or a folder that a group shares: there the files are
// his own, and nothing has to be given away, which he could not do.
func TestWhatAPersonUnpacksInAForeignDirectoryIsHisOwn(t *testing.T) {
	at := os.TempDir() // root's, where the test does not run as root
	if os.Geteuid() == 0 {
		at = t.TempDir()
		if err := os.Chown(at, 4711, 4712); err != nil {
			t.Fatal(err)
		}
	}
	own := t.TempDir()
	name := "sandgate-test-" + filepath.Base(filepath.Dir(own)) + filepath.Base(own)
	t.Cleanup(func() {
		if err := os.RemoveAll(filepath.Join(at, name)); err != nil {
			t.Error(err)
		}
	})
	d, err := OpenOwn(at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := d.Write(t.Context(), name+"/file", 0o640, strings.NewReader("x"), 1); err != nil {
		t.Fatal(err)
	}
	for _, of := range []string{name, name + "/file"} {
		info, err := os.Stat(filepath.Join(at, of))
		if err != nil {
			t.Fatal(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
			t.Errorf("%s belongs to %+v, want this process's user %d", of, st, os.Geteuid())
		}
	}
}

func TestWhatDoesNotFitLeavesTheFileAsItWas(t *testing.T) {
	d, at := open(t, map[string]string{"f": "before"})
	broken := errors.New("the host went away")
	for name, from := range map[string]io.Reader{
		"too large": strings.NewReader("0123456789"),
		"broken":    io.MultiReader(strings.NewReader("ab"), failing{broken}),
	} {
		if _, err := d.Write(t.Context(), "f", 0o644, from, 9); err == nil {
			t.Errorf("%s was taken", name)
		} else if name == "broken" != errors.Is(err, broken) || name == "too large" != errdefs.IsResourceExhausted(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Write(ended, "f", 0o644, strings.NewReader("x"), 9); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	if diff := cmp.Diff(map[string]string{"f": "-rw-r--r-- before"}, tree(t, at)); diff != "" {
		t.Error(diff)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestPathsStayInside(t *testing.T) {
	d, at := open(t, map[string]string{"out": "->/etc", "up": "->..", "far": "->/etc/passwd", "dir/": "", "loop": "->loop"})
	if err := os.WriteFile(filepath.Join(filepath.Dir(at), "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(at, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := tree(t, filepath.Dir(at))
	for _, name := range []string{
		"", "/etc/passwd", "../secret", "dir/../../secret", "a\x00b", "\xff", strings.Repeat("n", 256), strings.Repeat("a/", 2100),
	} {
		if _, err := d.Write(t.Context(), name, 0o644, strings.NewReader("x"), 9); !errdefs.IsInvalidArgument(err) {
			t.Errorf("write %.40q: %v", name, err)
		}
		if _, _, err := d.Read(name, 0); !errdefs.IsInvalidArgument(err) {
			t.Errorf("read %.40q: %v", name, err)
		}
	}
	for _, name := range []string{"out/passwd", "up/secret", "loop/x"} {
		if _, err := d.Write(t.Context(), name, 0o644, strings.NewReader("x"), 9); err == nil {
			t.Errorf("write %s went through", name)
		} else if strings.Contains(err.Error(), tempPrefix) || strings.Contains(err.Error(), filepath.Dir(at)) {
			t.Errorf("write %s tells of the machine: %v", name, err)
		}
	}
	for _, name := range []string{"out/passwd", "up/secret", "far", "pipe", "dir", "loop"} {
		if _, _, err := d.Read(name, 0); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("read %s: %v, want a failed precondition", name, err)
		}
	}
	if _, _, err := d.Read("missing", 0); !errdefs.IsNotFound(err) {
		t.Errorf("missing: %v", err)
	}
	if diff := cmp.Diff(before, tree(t, filepath.Dir(at))); diff != "" {
		t.Error(diff)
	}
}

func TestPackAndUnpack(t *testing.T) {
	files := map[string]string{
		"a.txt": "text", "sub/deep/b": "more", "empty/": "", "link": "->a.txt", "away": "->/etc/passwd", "run.sh": "#!/bin/sh\n",
	}
	d, at := open(t, files)
	for _, err := range []error{
		os.Chmod(filepath.Join(at, "run.sh"), 0o755|fs.ModeSetuid), os.Link(filepath.Join(at, "a.txt"), filepath.Join(at, "sub/hard")),
		unix.Mkfifo(filepath.Join(at, "pipe"), 0o600), os.Chmod(filepath.Join(at, "empty"), 0o500),
		os.Chtimes(filepath.Join(at, "a.txt"), time.Time{}, time.Unix(1_000_000_000, 123)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var packed bytes.Buffer
	totals, err := d.Pack(t.Context(), ".", &packed, Limits{})
	if err != nil || totals != (Totals{Bytes: 18, Files: 9, Skipped: 1}) {
		t.Fatalf("got %+v, %v", totals, err)
	}
	to, there := open(t, map[string]string{"in/sub/deep/b": "older", "in/link": "->/etc/hostname"})
	if _, err := to.Unpack(t.Context(), "in", bytes.NewReader(packed.Bytes()), Limits{}); err != nil {
		t.Fatal(err)
	}
	want := tree(t, at)
	delete(want, "pipe")
	want["run.sh"], want["empty/"] = "-rwxr-xr-x #!/bin/sh\n", "-rwx------"
	if diff := cmp.Diff(want, tree(t, filepath.Join(there, "in"))); diff != "" {
		t.Error(diff)
	}
	one, err := os.Stat(filepath.Join(there, "in/a.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if two, err := os.Stat(filepath.Join(there, "in/sub/hard")); err != nil || !os.SameFile(one, two) || !one.ModTime().Equal(time.Unix(1_000_000_000, 123)) {
		t.Errorf("hard link or time lost: %v, %v", one.ModTime(), err)
	}
	var again bytes.Buffer
	if _, err := d.Pack(t.Context(), ".", &again, Limits{}); err != nil || !bytes.Equal(again.Bytes(), packed.Bytes()) {
		t.Errorf("the same files are packed otherwise: %v", err)
	}
	if _, err := d.Pack(t.Context(), "away", io.Discard, Limits{}); err == nil {
		t.Error("packed what is outside")
	}
	for _, l := range []Limits{{Bytes: 17}, {Files: 8}} {
		if _, err := d.Pack(t.Context(), ".", io.Discard, l); !errdefs.IsResourceExhausted(err) {
			t.Errorf("pack within %+v: %v", l, err)
		}
		if _, err := to.Unpack(t.Context(), "small", bytes.NewReader(packed.Bytes()), l); !errdefs.IsResourceExhausted(err) {
			t.Errorf("unpack within %+v: %v", l, err)
		}
	}
}

func TestHostileArchives(t *testing.T) {
	d, at := open(t, map[string]string{"dir/": "", "out": "->..", "shared": "mine"})
	outside := filepath.Join(filepath.Dir(at), "outside")
	if err := os.WriteFile(outside, []byte("outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, list := range map[string][]tar.Header{
		"above":           {{Name: "../outside", Typeflag: tar.TypeReg, Size: 1}},
		"absolute":        {{Name: "/outside", Typeflag: tar.TypeReg, Size: 1}},
		"through a link":  {{Name: "out/outside", Typeflag: tar.TypeReg, Size: 1}},
		"its own link":    {{Name: "esc", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "esc/outside", Typeflag: tar.TypeReg, Size: 1}},
		"hard link above": {{Name: "h", Typeflag: tar.TypeLink, Linkname: "../outside"}},
		"hard link along": {{Name: "h", Typeflag: tar.TypeLink, Linkname: "out/outside"}},
		"hard to symlink": {{Name: "s", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, {Name: "h", Typeflag: tar.TypeLink, Linkname: "s"}},
		"device":          {{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}},
		"pipe":            {{Name: "p", Typeflag: tar.TypeFifo}},
		"over directory":  {{Name: "dir", Typeflag: tar.TypeReg, Size: 1}},
		"long name":       {{Name: strings.Repeat("x", 300), Typeflag: tar.TypeReg, Size: 1}},
		"empty target":    {{Name: "e", Typeflag: tar.TypeSymlink}},
	} {
		t.Run(name, func(t *testing.T) {
			var raw bytes.Buffer
			w := tar.NewWriter(&raw)
			for _, h := range list {
				if err := w.WriteHeader(&h); err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write(bytes.Repeat([]byte("x"), int(h.Size))); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Unpack(t.Context(), ".", &raw, Limits{}); err == nil {
				t.Error("was unpacked")
			}
		})
	}
	for name, raw := range map[string]string{"gzip": "\x1f\x8b\x08\x00\x00\x00\x00\x00" + strings.Repeat("z", 600), "text": strings.Repeat("no tar ", 200), "cut": "x"} {
		if _, err := d.Unpack(t.Context(), ".", strings.NewReader(raw), Limits{}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if raw, err := os.ReadFile(outside); err != nil || string(raw) != "outside" {
		t.Errorf("outside is %q, %v", raw, err)
	}
	if got := tree(t, filepath.Dir(at)); len(got) > 12 {
		t.Errorf("too much was made: %v", got)
	}
}

// A program that exchanges a directory for a link all the time gets nothing written
// or read outside.
func TestExchangedDirectoriesLeadNowhere(t *testing.T) {
	d, at := open(t, map[string]string{"real/f": "inside", "evil": "->../outside"})
	outside := filepath.Join(filepath.Dir(at), "outside")
	if err := os.MkdirAll(outside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "f"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(at, "real"), unix.AT_FDCWD, filepath.Join(at, "evil"), unix.RENAME_EXCHANGE)
			}
		}
	})
	for range 2000 {
		if f, _, err := d.Read("real/f", 0); err == nil {
			raw, err := io.ReadAll(f)
			if err = errors.Join(err, f.Close()); err != nil || string(raw) == "secret" {
				t.Errorf("read %q, %v", raw, err)
			}
		}
		_, _ = d.Write(t.Context(), "real/new", 0o644, strings.NewReader("x"), 9) // either inside or not at all
	}
	close(stop)
	swapper.Wait()
	if diff := cmp.Diff(map[string]string{"f": "-rw------- secret"}, tree(t, outside)); diff != "" {
		t.Error(diff)
	}
}

// fullDisk fails as a file on a full disk does, with its name on the machine.
type fullDisk struct{}

// Write implements io.Writer.
func (fullDisk) Write([]byte) (int, error) {
	return 0, &fs.PathError{Op: "write", Path: "/machine/secret", Err: unix.ENOSPC}
}

func TestAFullDiskIsToldWithoutItsPlace(t *testing.T) {
	d, _ := open(t, map[string]string{"file": strings.Repeat("x", 1<<20)})
	_, _, err := pack(t.Context(), d, fullDisk{}, Limits{})
	if err = mapped(err); !errdefs.IsResourceExhausted(err) || strings.Contains(err.Error(), "/machine") {
		t.Errorf("got %v", err)
	}
}

func TestSnapshots(t *testing.T) {
	d, at := open(t, map[string]string{"keep": "same", "change": "before", "mode": "x", "gone/f": "1", "link": "->a"})
	snaps := NewSnapshots(filepath.Join(t.TempDir(), "snapshots"))
	if list, err := snaps.List(); err != nil || len(list) != 0 {
		t.Fatalf("got %v, %v", list, err)
	}
	took := time.Unix(1_800_000_000, 0).UTC()
	for _, left := range []string{"half" + packSuffix, "one" + packSuffix + tempSuffix} { // by a daemon that was killed
		if err := errors.Join(os.MkdirAll(snaps.dir, 0o700), os.WriteFile(snaps.path("", left), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	one, err := snaps.Take(t.Context(), d, "one", Limits{}, took)
	if left, rerr := os.ReadDir(snaps.dir); rerr != nil || len(left) != 2 {
		t.Errorf("beside the snapshot there is %v (%v)", left, rerr)
	}
	if err != nil || one.Files != 6 || one.Bytes != 12 || !one.Created.Equal(took) || one.StoredBytes == 0 {
		t.Fatalf("got %+v, %v", one, err)
	}
	if _, err := snaps.Take(t.Context(), d, "one", Limits{}, took); !errdefs.IsAlreadyExists(err) {
		t.Errorf("again: %v", err)
	}
	if _, err := snaps.Take(t.Context(), d, "big", Limits{Bytes: 3}, took); !errdefs.IsResourceExhausted(err) {
		t.Errorf("too big: %v", err)
	}
	for _, err := range []error{
		os.WriteFile(filepath.Join(at, "change"), []byte("AFTER!"), 0o644), os.Chmod(filepath.Join(at, "mode"), 0o755),
		os.RemoveAll(filepath.Join(at, "gone")), os.WriteFile(filepath.Join(at, "new"), nil, 0o600),
		os.Remove(filepath.Join(at, "link")), os.Symlink("b", filepath.Join(at, "link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	_, in, err := snaps.Open("one")
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.ChangedFrom(t.Context(), in, 100)
	if err = errors.Join(err, in.Close()); err != nil {
		t.Fatal(err)
	}
	want := &Changes{Created: []string{"new"}, Modified: []string{"change", "link", "mode"}, Deleted: []string{"gone", "gone/f"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	fresh, there := open(t, nil)
	_, in, err = snaps.Open("one")
	if err != nil {
		t.Fatal(err)
	}
	_, err = fresh.Unpack(t.Context(), ".", in, Limits{})
	if err = errors.Join(err, Verified(in), in.Close()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{
		"keep": "-rw-r--r-- same", "change": "-rw-r--r-- before", "mode": "-rw-r--r-- x", "gone/": "-rwxr-xr-x", "gone/f": "-rw-r--r-- 1", "link": "->a",
	}, tree(t, there)); diff != "" {
		t.Error(diff)
	}
	if list, err := snaps.List(); err != nil || len(list) != 1 || list[0] != one {
		t.Errorf("got %+v, %v", list, err)
	}
	if err := snaps.Remove("one"); err != nil {
		t.Fatal(err)
	}
	if err := snaps.Remove("one"); !errdefs.IsNotFound(err) {
		t.Errorf("removed twice: %v", err)
	}
}

func TestDamagedSnapshotsAreNoticed(t *testing.T) {
	d, _ := open(t, map[string]string{"f": strings.Repeat("some text ", 500)})
	dir := t.TempDir()
	snaps := NewSnapshots(dir)
	if _, err := snaps.Take(t.Context(), d, "s", Limits{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "s"+packSuffix)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	check := func(raw []byte) error {
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		_, in, err := snaps.Open("s")
		if err != nil {
			return err
		}
		return errors.Join(Verified(in), in.Close())
	}
	if err := check(good); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		if err := check(bad); err == nil {
			// A bit of the frame's header may mean nothing: then the content is the same.
			_, in, err := snaps.Open("s")
			if err != nil {
				t.Fatal(err)
			}
			other, _ := open(t, nil)
			if _, err := other.Unpack(t.Context(), ".", in, Limits{}); err != nil {
				t.Errorf("byte %d: %v", i, err)
			}
			_ = in.Close()
		}
		if err := check(good[:i]); err == nil {
			t.Errorf("cut after %d bytes was taken", i)
		}
	}
}

func TestChangedSince(t *testing.T) {
	d, at := open(t, map[string]string{"old": "1", "touched": "1"})
	// The times of files are the kernel's: whoever asks has to wait until they differ.
	info, err := os.Stat(filepath.Join(at, "old"))
	if err != nil {
		t.Fatal(err)
	}
	since := info.ModTime().Add(3 * clockTick)
	for time.Now().Before(since.Add(clockTick)) {
		time.Sleep(clockTick) // not to wait for anybody: for the clock itself
	}
	for _, err := range []error{os.WriteFile(filepath.Join(at, "touched"), []byte("2"), 0o600), os.WriteFile(filepath.Join(at, "new"), nil, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	got, err := d.ChangedSince(t.Context(), since, 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&Changes{Created: []string{"new"}, Modified: []string{"touched"}, Blind: true}, got); diff != "" {
		t.Error(diff)
	}
	if got, err := d.ChangedSince(t.Context(), since, 1); err != nil || !got.Truncated || len(got.Created)+len(got.Modified) != 1 {
		t.Errorf("at most one: %+v, %v", got, err)
	}
}

// TestTimesInWholeSeconds: of a file system that keeps no more, a file counts that was
// changed within the second.
func TestTimesInWholeSeconds(t *testing.T) {
	since := time.Unix(1_800_000_000, 700_000_000)
	for file, want := range map[time.Time]bool{
		time.Unix(1_800_000_000, 0):           false,
		time.Unix(1_799_999_999, 0):           true,
		time.Unix(1_800_000_000, 699_999_999): true,
		time.Unix(1_800_000_000, 700_000_000): false,
	} {
		if got := before(file, since); got != want {
			t.Errorf("%d.%09d before .7: got %t, want %t", file.Unix(), file.Nanosecond(), got, want)
		}
	}
}
