package containerd

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/cgroup"
	"github.com/sandgate/sandgate/sandbox/oci"
)

func TestOutcomeNamesTheCause(t *testing.T) {
	gone := errors.New("host went away")
	for _, c := range []struct {
		name  string
		exit  cell.Exit
		oom   int64
		cause error
		want  sandbox.Outcome
	}{
		{"exit 0", cell.Exit{}, 0, nil, sandbox.OutcomeExited},
		{"exit 137 of its own", cell.Exit{ExitCode: 137}, 0, nil, sandbox.OutcomeExited},
		{"exit 137 of its own, counter unknown", cell.Exit{ExitCode: 137}, -1, nil, sandbox.OutcomeExited},
		{"killed for memory", cell.Exit{ExitCode: -1, Signal: 9}, 1, nil, sandbox.OutcomeOutOfMemory},
		{"grandchild killed for memory", cell.Exit{ExitCode: 0}, 1, nil, sandbox.OutcomeOutOfMemory},
		{"killed by a signal", cell.Exit{ExitCode: -1, Signal: 9}, 0, nil, sandbox.OutcomeSignaled},
		{"deadline", cell.Exit{ExitCode: -1, Signal: 9, TimedOut: true}, 0, nil, sandbox.OutcomeTimedOut},
		{"deadline after a memory kill", cell.Exit{ExitCode: -1, Signal: 9, TimedOut: true}, 3, nil, sandbox.OutcomeTimedOut},
		{"cancelled", cell.Exit{ExitCode: -1, Signal: 9, Cancelled: true}, 0, gone, sandbox.OutcomeCancelled},
		{"caller's deadline", cell.Exit{ExitCode: -1, Signal: 9, Cancelled: true}, 0, sandbox.ErrDeadline, sandbox.OutcomeTimedOut},
		{"ended before the cancellation", cell.Exit{ExitCode: 3}, 0, gone, sandbox.OutcomeExited},
		{"output", cell.Exit{ExitCode: -1, Signal: 9, OutputLimit: true}, 0, nil, sandbox.OutcomeOutputLimit},
		{"disk", cell.Exit{ExitCode: 1, DiskFull: true}, 0, nil, sandbox.OutcomeDiskLimit},
		{"file too large", cell.Exit{ExitCode: -1, Signal: 25}, 0, nil, sandbox.OutcomeDiskLimit},
		{"not started", cell.Exit{ExitCode: -1, StartError: "no such file"}, 0, nil, sandbox.OutcomeStartFailed},
	} {
		if got := outcomeOf(c.exit, c.oom, c.cause); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestEnvironmentAddsOnlyWhatIsMissing(t *testing.T) {
	host, image := class{isolation: sandbox.IsolationRunc}, class{isolation: sandbox.IsolationRunc, digest: "sha256:1"}
	for _, tt := range []struct {
		name             string
		cl               class
		env, image, want []string
	}{
		{
			"the host image", host,
			[]string{"A=1"},
			nil,
			[]string{"A=1", "HOME=/home/agent", "PATH=" + defaultPath, "TMPDIR=/tmp", "LC_CTYPE=C.UTF-8", "SHELL=/bin/bash"},
		},
		{"a home", host, []string{"HOME=/x"}, nil, []string{"HOME=/x", "PATH=" + defaultPath, "TMPDIR=/tmp", "LC_CTYPE=C.UTF-8"}},
		{
			"an image", image,
			[]string{"A=1"},
			[]string{"PATH=/image/bin", "SECRET=1"},
			[]string{"A=1", "HOME=/home/agent", "PATH=/image/bin", "TMPDIR=/tmp", "LC_CTYPE=C.UTF-8"},
		},
		{
			"a language", image,
			[]string{"HOME=/x", "LANG=C"},
			[]string{"PATH=/image/bin"},
			[]string{"HOME=/x", "LANG=C", "PATH=/image/bin", "TMPDIR=/tmp"},
		},
	} {
		if diff := cmp.Diff(tt.want, environment(tt.env, tt.image, defaults(tt.cl))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestHostImageHasNoSecrets(t *testing.T) {
	rootfs := filepath.Join(t.TempDir(), "host")
	binds, err := makeHostRootfs(rootfs, map[string]string{"greeting": "hello\n"})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range binds {
		if !strings.HasPrefix(b.Source, "/etc/") && !slices.Contains(hostTopDirs(), b.Source) || b.Source != b.Target {
			t.Errorf("bind %+v: want only system directories in their own place", b)
		}
	}
	for _, name := range []string{"etc/shadow", "etc/gshadow", "etc/sudoers", "etc/ssh", "etc/ssl/private", "etc/environment", "etc/gitconfig", "root", "var/lib"} {
		if _, err := os.Lstat(filepath.Join(rootfs, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is in the host image (%v)", name, err)
		}
	}
	for _, point := range append(oci.MountPoints(), cell.MountPoints...) {
		if info, err := os.Stat(filepath.Join(rootfs, point)); err != nil || !info.IsDir() || info.Mode().Perm() != 0o755 {
			t.Errorf("mount point %s: %v, %v", point, info, err)
		}
	}
	passwd, err := os.ReadFile(filepath.Join(rootfs, "etc/passwd"))
	if err != nil || !strings.Contains(string(passwd), "agent:x:1000:1000:") || strings.Count(string(passwd), "\n") != 3 {
		t.Errorf("passwd is %q, %v, want three users", passwd, err)
	}
	if own, err := os.ReadFile(filepath.Join(rootfs, "etc/greeting")); err != nil || string(own) != "hello\n" {
		t.Errorf("the file of the configuration is %q, %v", own, err)
	}
	for _, name := range []string{"passwd", "ssl/x", "..", ""} {
		if _, err := (Config{DataDir: "/d", HostEtc: map[string]string{name: "x"}}).withDefaults(); !errdefs.IsInvalidArgument(err) {
			t.Errorf("the file %q: got %v", name, err)
		}
	}
}

func TestConfigHasDefaults(t *testing.T) {
	cfg, err := Config{DataDir: "/var/lib/sandgate/"}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.RunDir != "/run/sandgate-"+InstanceOf("/var/lib/sandgate") || cfg.Runtimes[sandbox.IsolationRunc].Binary != "runc" || cfg.IDBase == 0 {
		t.Errorf("got %+v", cfg)
	}
}

// TestLostCallIsNeverAnError: init had the request, whatever the host has heard.
func TestLostCallIsNeverAnError(t *testing.T) {
	groups, err := cgroup.Open(cgroup.DefaultRoot)
	if err != nil {
		t.Skipf("no control groups to look into: %v", err)
	}
	for started, want := range map[bool]string{false: "may have run", true: "it ran"} {
		u := &running{
			r: &Runtime{groups: groups, log: slog.New(slog.DiscardHandler)}, call: &sandbox.Call{}, started: started,
			c: &aCell{id: "none", path: "/sandgate-none/none"}, stage: &staging{group: groups.At("/sandgate-none/none/call-0", ownPids)},
		}
		u.killed.Store(!started) // by the backstop: that nothing was heard of the start does not make it timed out
		res := u.lost(t.Context(), cell.ErrClosed)
		if res.Outcome != sandbox.OutcomeUnknown || res.ExitCode != -1 || !strings.Contains(res.Message, want) {
			t.Errorf("started %t: got %s %d %q, want UNKNOWN: %s", started, res.Outcome, res.ExitCode, res.Message, want)
		}
	}
}

func TestLeftWorkspacesAreNeverRemovedWithTheirFiles(t *testing.T) {
	r := &Runtime{cfg: Config{RunDir: t.TempDir()}}
	left := filepath.Join(r.boundDirs(), "c1")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(left, "precious")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.removeRunDir(); err == nil {
		t.Error("a run directory with files at a workspace's place was removed")
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := r.removeRunDir(); err != nil {
		t.Errorf("with an empty place: got %v, want nil", err)
	}
}

// TestEvidenceIsNeverHalf: what /proc does not tell, or not as numbers, is no proof.
func TestEvidenceIsNeverHalf(t *testing.T) {
	whole, err := readStatus(os.Getpid())
	if err != nil || whole.parent != os.Getppid() || len(whole.ids) == 0 || whole.ids[0] != os.Getpid() {
		t.Fatalf("own status: %v, parent %d, ids %v", err, whole.parent, whole.ids)
	}
	seen, err := whole.evidence(evidence{})
	if err != nil || seen.uid != os.Getuid() || len(seen.namespaces) != 7 || seen.namespaces["mnt"] == "" {
		t.Fatalf("own evidence: %+v, %v", seen, err)
	}
	again, err := whole.evidence(evidence{namespaces: map[string]string{"mnt": "mnt:[1]", "net": seen.namespaces["net"]}})
	if err != nil || !maps.Equal(again.namespaces, seen.namespaces) {
		t.Errorf("beside an earlier look: got %v, %v, want %v", again.namespaces, err, seen.namespaces)
	}
	for _, key := range []string{"Uid", "Seccomp", "NoNewPrivs", "CapEff", "CapPrm", "CapBnd"} {
		for change, text := range map[string]string{"none": "\nx" + key + ":", "no number": "\n" + key + ":\tx"} {
			s := whole
			s.text = bytes.Replace(whole.text, []byte("\n"+key+":"), []byte(text), 1)
			if _, err := s.evidence(evidence{}); err == nil {
				t.Errorf("%s of %s: no error", change, key)
			}
		}
	}
}
