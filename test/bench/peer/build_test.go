package peer

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
)

func TestBuildOfIsCommitVersionOrNothing(t *testing.T) {
	vcs := func(revision, modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs.revision", Value: revision}, {Key: "vcs.modified", Value: modified}}
	}
	const module, commit = "example.org/program", "0123456789abcdef0123456789abcdef01234567"
	other := debug.Module{Path: "example.org/other", Version: "v7.0.0"}
	for _, tt := range []struct {
		name string
		info debug.BuildInfo
		want string
	}{
		{"main module", debug.BuildInfo{Main: debug.Module{Path: module, Version: "v1.2.3"}, Deps: []*debug.Module{&other}}, "v1.2.3"},
		{"dependency", debug.BuildInfo{Main: other, Deps: []*debug.Module{{Path: module, Version: "v1.2.4"}}}, "v1.2.4"},
		{"replaced", debug.BuildInfo{Main: other, Deps: []*debug.Module{{Path: module, Version: "v1.2.4", Replace: &debug.Module{Path: "fork", Version: "v9.0.0"}}}}, "v9.0.0"},
		{"commit", debug.BuildInfo{Main: debug.Module{Path: module, Version: "v0.0.0-1-0123"}, Settings: vcs(commit, "false")}, "commit 0123456789ab"},
		{"dirty", debug.BuildInfo{Main: debug.Module{Path: module}, Settings: vcs(commit, "true")}, "commit 0123456789ab and changes"},
		{"commit of somebody else", debug.BuildInfo{Main: other, Deps: []*debug.Module{{Path: module, Version: "v1.2.5"}}, Settings: vcs(commit, "true")}, "v1.2.5"},
		{"from a directory", debug.BuildInfo{Main: debug.Module{Path: module, Version: develVersion}}, ""},
		{"not part of it", debug.BuildInfo{Main: other}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := buildOf(&tt.info, module); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBuildOfAFileThatNotesNothingIsItsDigest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Build(path, "example.org/program")
	if want := "no commit noted, SHA-256 ba7816bf8f01cfea"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if got, err := Build(path+"-not", "example.org/program"); err == nil {
		t.Errorf("got %q of a file that is not there", got)
	}
}
