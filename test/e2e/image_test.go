package e2e

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

const (
	imageName = "test.local/hello:1"
	program   = `package main

import ("fmt"; "os")

func main() {
	_, err := os.Stat("/usr")
	fmt.Println("hello", os.Args[1], os.Getuid(), os.WriteFile("/x", nil, 0o600) != nil, os.IsNotExist(err))
}
`
	declaration = `name: hello
description: Says hello from an image of its own.
input_schema:
  type: object
  additionalProperties: false
  required: [who]
  properties: {who: {type: string, description: Whom to greet.}}
annotations: {readOnlyHint: true}
effects: [exec]
risk: low
image: ` + imageName + `
exec:
  argv: [/hello, {arg: who}]
`
)

// TestImportedImageRunsATool makes an image with nothing in it but one program,
// imports it by the command, and calls a declared tool that runs in it.
func TestImportedImageRunsATool(t *testing.T) {
	daemontest.RequireRoot(t)
	tools := shortDir(t)
	if err := os.WriteFile(filepath.Join(tools, "hello.yaml"), []byte(declaration), 0o600); err != nil {
		t.Fatal(err)
	}
	d := daemontest.Start(t, "pool: {idle: 1}\ntools: {dir: "+tools+"}\n")
	call := daemontest.Request("hello", map[string]string{"who": "you; id"}, daemontest.Profile("open"))
	if r, err := d.Tools.Execute(t.Context(), call); err == nil || !strings.Contains(err.Error(), imageName) {
		t.Errorf("before the import: got %v, %v; want an error that names the image", r.GetResult().GetOutcome(), err)
	}

	if out, errOut, code := d.Sandgate(t, "", "image", "import", imageArchive(t)); code != 0 {
		t.Fatalf("image import: exit code %d: %s%s", code, out, errOut)
	}
	out, _, code := d.Sandgate(t, "", "image", "ls")
	if code != 0 || !strings.Contains(out, imageName) || !strings.Contains(out, "sha256:") {
		t.Errorf("image ls: got %q, exit code %d", out, code)
	}
	r := d.Execute(t, call)
	if got := daemontest.Text(r.GetStdout()); r.GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED || got != "hello you; id 1000 true true\n" {
		t.Errorf("call: got %v %q (%s)", r.GetOutcome(), got, daemontest.Text(r.GetStderr()))
	}
	if rc := r.GetReceipt(); rc.GetImage() != imageName || !strings.HasPrefix(rc.GetImageDigest(), "sha256:") {
		t.Errorf("receipt: image %q %q, want its name and digest", rc.GetImage(), rc.GetImageDigest())
	}
	if _, errOut, code := d.Sandgate(t, "", "image", "rm", imageName); code != 0 {
		t.Errorf("image rm: exit code %d: %s", code, errOut)
	}
	if out, _, _ = d.Sandgate(t, "", "image", "ls"); strings.Contains(out, imageName) {
		t.Errorf("image ls after rm: got %q", out)
	}
}

// imageArchive builds a static program and puts it, alone, into an image.
func imageArchive(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "hello")
	if err := os.WriteFile(source, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", binary, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GO111MODULE=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the image's program: %v\n%s", err, out)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "hello", Mode: 0o755, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", "amd64"
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "image.tar")
	tag, err := name.NewTag(imageName)
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(path, tag, image); err != nil {
		t.Fatal(err)
	}
	return path
}
