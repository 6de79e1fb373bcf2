package peer

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

func TestBareTellsAFailureAndWrongOutput(t *testing.T) {
	ctx := t.Context()
	if err := Bare([]string{"/bin/true"}, 0)(ctx, 0); err != nil {
		t.Error(err)
	}
	if err := Bare([]string{"/bin/false"}, 0)(ctx, 0); err == nil {
		t.Error("a command that failed counts as one that ended well")
	}
	if err := Bare([]string{"/bin/echo", "abc"}, 4)(ctx, 0); err != nil {
		t.Error(err)
	}
	if err := Bare([]string{"/bin/echo", "abc"}, 5)(ctx, 0); err == nil || !strings.Contains(err.Error(), "4 bytes") {
		t.Errorf("got %v, want an error that tells the 4 bytes", err)
	}
}

func TestAbsentPeersSaySo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, m := range Makers() {
		p, err := m.Make(t.Context(), Env{BinDir: t.TempDir(), Dir: t.TempDir(), Bash: []string{"/bin/true"}, True: []string{"/bin/true"}})
		if !errors.Is(err, ErrAbsent) {
			t.Errorf("%s: got %v, %v; want ErrAbsent", m.Name, p, err)
		}
	}
}

// TestDockerWithoutAnEngineSaysSo has a client that finds no engine, as on most machines
// where one is installed and nobody has started the other.
func TestDockerWithoutAnEngineSaysSo(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	_, err := docker(t.Context(), Env{Bash: []string{"/bin/true"}})
	if !errors.Is(err, ErrAbsent) || !strings.Contains(err.Error(), "Cannot connect to the Docker daemon") {
		t.Errorf("got %v, want ErrAbsent and what the client said", err)
	}
}

// TestGoJudgeAnswers reads answers as the real program gives them.
func TestGoJudgeAnswers(t *testing.T) {
	result := func(status uint64, text string) []byte {
		b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), status)
		b = protowire.AppendString(protowire.AppendTag(b, 3, protowire.BytesType), text)
		return protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), b)
	}
	refused := protowire.AppendString(protowire.AppendTag(nil, 3, protowire.BytesType), "no such thing")
	for _, tt := range []struct {
		name  string
		reply []byte
		want  string // part of the error; empty: none
	}{
		{"accepted", result(judgeStatusAccepted, ""), ""},
		{"failed", result(8, "exit 1"), "status 8: exit 1"},
		{"refused", refused, "no such thing"},
		{"nothing", nil, "0 results"},
		{"torn", result(1, "x")[:4], "malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := judgeAccepted(tt.reply)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestInstalledPeersRun runs every peer that is here, but for those that need a
// running containerd or docker.
func TestInstalledPeersRun(t *testing.T) {
	if os.Getenv("SANDGATE_ROOT_TESTS") != "1" {
		t.Skip("needs root and namespaces; set SANDGATE_ROOT_TESTS=1 to run it")
	}
	bin := os.Getenv("SANDGATE_BIN_DIR")
	if bin == "" {
		bin = filepath.Join("..", "..", "..", "bin")
	}
	for _, m := range Makers() {
		t.Run(m.Name, func(t *testing.T) {
			p, err := m.Make(t.Context(), Env{BinDir: bin, Dir: t.TempDir(), Bash: []string{"/bin/bash", "-c", "true"}, True: []string{"/bin/true"}})
			if errors.Is(err, ErrAbsent) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if err := p.Op(t.Context(), 0); err != nil {
					t.Error(err)
				}
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if left, _ := filepath.Glob("/sys/fs/cgroup/*" + cgroupParent()); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestEmptyRootIsAnArchive(t *testing.T) {
	root, err := emptyRoot()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "tar", "-t")
	cmd.Stdin = root
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), "usr/\n") || !strings.Contains(string(out), "bin\n") {
		t.Errorf("got %q, %v", out, err)
	}
}
