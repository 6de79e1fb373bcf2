package containerd_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/sandgate/sandgate/sandbox"
)

// smallImage has the static program of the tree, sandgate-init, and one file.
func smallImage(t *testing.T) v1.Image {
	t.Helper()
	program, err := os.ReadFile(filepath.Join(binDir, "sandgate-init"))
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, f := range []struct {
		name string
		mode int64
		data []byte
	}{{"opt/bin/program", 0o755, program}, {"etc/mark", 0o644, []byte("from the image\n")}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	made, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, made)
	if err != nil {
		t.Fatal(err)
	}
	img, err = mutate.ConfigFile(img, withPlatform(t, img))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func withPlatform(t *testing.T, img v1.Image) *v1.ConfigFile {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Env = []string{"PATH=/opt/bin", "SECRET=of-the-image"}
	return config
}

func dockerArchive(t *testing.T, img v1.Image) []byte {
	t.Helper()
	ref, err := name.NewTag("example.test/small:1")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := tarball.Write(ref, img, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func ociArchive(t *testing.T, img v1.Image) []byte {
	t.Helper()
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestImportedImageRunsPinned(t *testing.T) {
	requireRoot(t)
	r := start(t, testConfig(t))
	img := smallImage(t)
	for kind, archive := range map[string][]byte{"docker": dockerArchive(t, img), "oci": ociArchive(t, img)} {
		t.Run(kind, func(t *testing.T) {
			ref := "example.test/" + kind + ":1"
			got, err := r.Import(t.Context(), bytes.NewReader(archive), ref)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 || got[0].Name != ref || !strings.HasPrefix(got[0].Digest, "sha256:") || got[0].SizeBytes == 0 {
				t.Fatalf("imported %+v, want %s with digest and size", got, ref)
			}
			runImage(t, r, ref, got[0].Digest)
			runImage(t, r, ref+"@"+got[0].Digest, got[0].Digest)
			call := imageCall(ref + "@sha256:" + strings.Repeat("0", 64))
			if _, err := r.Run(t.Context(), call); !errdefs.IsFailedPrecondition(err) {
				t.Errorf("other digest: got %v, want failed precondition", err)
			}
			late, cancel := context.WithCancelCause(t.Context())
			cancel(sandbox.ErrDeadline)
			if res, err := r.Run(late, imageCall(ref)); err != nil || res.Outcome != sandbox.OutcomeTimedOut {
				t.Errorf("call whose time was over: got %s, %v, want TIMED_OUT", res.Outcome, err)
			}
			if err := r.Remove(t.Context(), ref); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Run(t.Context(), imageCall(ref)); !errdefs.IsNotFound(err) {
				t.Errorf("removed image: got %v, want not found", err)
			}
		})
	}
	if list, err := r.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("list: got %+v, %v, want none", list, err)
	}
	if err := r.Remove(t.Context(), "example.test/none"); !errdefs.IsNotFound(err) {
		t.Errorf("remove: got %v, want not found", err)
	}
}

func imageCall(image string) sandbox.Call {
	call := bashCall("")
	call.Image, call.Argv = image, []string{"program", "no-such-face"}
	return call
}

// runImage runs the image's program, which refuses its argument with code 2.
func runImage(t *testing.T, r sandbox.Runtime, image, digest string) {
	t.Helper()
	res, err := r.Run(t.Context(), imageCall(image))
	if err != nil {
		t.Fatal(err)
	}
	if res.Outcome != sandbox.OutcomeExited || res.ExitCode != 2 || !strings.Contains(string(res.Stderr.Head), "no-such-face") {
		t.Errorf("got %s %d %q (%s), want EXITED 2", res.Outcome, res.ExitCode, res.Stderr.Head, res.Message)
	}
	if res.Receipt.ImageDigest != digest || res.Receipt.HostUID != 101000 {
		t.Errorf("receipt %+v, want digest %s", res.Receipt, digest)
	}
}

func TestImportRefusesWhatIsNoImage(t *testing.T) {
	requireRoot(t)
	r := start(t, testConfig(t))
	for what, try := range map[string]struct {
		archive []byte
		name    string
	}{
		"no archive":    {[]byte("hello"), "example.test/x:1"},
		"empty archive": {make([]byte, 1024), "example.test/x:1"},
		"reserved name": {dockerArchive(t, smallImage(t)), "host"},
		"digest name":   {dockerArchive(t, smallImage(t)), "a@sha256:00"},
	} {
		if _, err := r.Import(t.Context(), bytes.NewReader(try.archive), try.name); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: got %v, want an invalid argument", what, err)
		}
	}
	if list, err := r.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("list: got %+v, %v, want none", list, err)
	}
}
