package containerd_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/changeset"
)

func transactionCall(dir, script string, mounts ...sandbox.Mount) sandbox.Call {
	call := mountsCall(dir, script, mounts...)
	call.Workspace.Transaction = true
	return call
}

// listing is a directory as text: types, modes, times of files (and, if wanted, of
// directories) and contents.
func listing(t *testing.T, dir string, dirTimes bool) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		out.WriteString(strings.TrimPrefix(p, dir) + " " + info.Mode().String())
		if !info.IsDir() || dirTimes {
			out.WriteString(" " + info.ModTime().String())
		}
		if info.Mode().IsRegular() {
			body, err := os.ReadFile(p) // #nosec G122 -- of a test's own directory
			if err != nil {
				return err
			}
			out.WriteString(" " + string(body))
		}
		out.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// told is a set as short lines: "created file a 0644".
func told(set *changeset.Set) []string {
	var out []string
	for _, c := range set.Changes {
		line := string(c.Kind) + " " + string(c.Type) + " " + c.Path
		if c.Was != "" {
			line += " was " + string(c.Was)
		}
		if c.Target != "" {
			line += " -> " + c.Target
		}
		if c.Escapes {
			line += " escapes"
		}
		out = append(out, line)
	}
	return out
}

// TestTransaction looks at what a call has left, and that the workspace is as it was
// until that is committed, and then is as the call saw it.
func TestTransaction(t *testing.T) {
	r := start(t, testConfig(t))
	for _, tt := range []struct {
		name, script string
		files        []string
		mounts       []sandbox.Mount
		want         []string
		unfit        string
	}{
		{name: "nothing", files: []string{"a"}, script: `cat a; cat <>a; touch -r a a; chmod --reference=a a`},
		{
			name: "files", files: []string{"keep", "change", "gone", "d/gone", "d/keep"},
			script: `echo new >new; echo more >>change; rm gone d/gone; mkdir -p n/m; echo x >n/m/f; chmod 755 d/keep; mv keep moved`,
			want: []string{
				"modified file change", "deleted file d/gone", "modified file d/keep", "deleted file gone", "deleted file keep",
				"created file moved", "created dir n", "created dir n/m", "created file n/m/f", "created file new",
			},
		},
		{
			name: "directories", files: []string{"d/a", "d/b/c", "e/a", "f/x", "g"},
			script: `rm -r d; rm -r e && mkdir -m 700 e && echo z >e/new; rm -r f; echo file >f; rm g; mkdir g; echo y >g/y`,
			want: []string{
				"deleted dir d", "deleted file d/a", "deleted dir d/b", "deleted file d/b/c", "deleted file e/a", "created file e/new",
				"modified file f was dir", "deleted file f/x", "modified dir g was file", "created file g/y",
			},
		},
		{
			name: "links", files: []string{"a", "d/f", "l -> a"},
			script: `ln -s d/f in; ln -s /etc/passwd out; ln -s ../../x d/up; ln -s d/../a round; ln -sfn d l; ln a hard`,
			want: []string{
				"modified file a", "created symlink d/up -> ../../x escapes", "created file hard", "created symlink in -> d/f", "modified symlink l -> d",
				"created symlink out -> /etc/passwd escapes", "created symlink round -> d/../a escapes",
			},
		},
		{name: "fifo", script: `mkfifo p`, want: []string{"created special p"}, unfit: "fifo"},
		{
			name: "parts of it", files: []string{"ro/f", "hid/f", "rw/f"},
			mounts: []sandbox.Mount{{Path: "/workspace/ro", Mode: ro}, {Path: "/workspace/hid", Mode: hidden}},
			script: `echo x >ro/f; echo x >hid/g; echo x >rw/f; true`, want: []string{"modified file rw/f"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := mountsDir(t, tt.files...)
			before := listing(t, dir, true)
			res, err := r.Run(t.Context(), transactionCall(dir, tt.script+"\nls -lAR --time-style=+ | sed 's/ *[0-9]* / /' >/dev/null", tt.mounts...))
			if err != nil || res.Outcome != sandbox.OutcomeExited || res.Overlay == nil {
				t.Fatalf("got %+v, %v, want EXITED with an overlay", res, err)
			}
			defer res.Overlay.Close() //nolint:errcheck // of a test
			if after := listing(t, dir, true); after != before {
				t.Errorf("the call changed its workspace: %s", cmp.Diff(before, after))
			}
			if res.Receipt.Workspace != "directory:idmapped:transaction" || res.Receipt.Enforced["workspace_disk_bytes"] == 0 {
				t.Errorf("receipt: got %q, %v", res.Receipt.Workspace, res.Receipt.Enforced)
			}
			set, err := changeset.Read(res.Overlay, changeset.ReadOptions{Root: sandbox.WorkspacePath})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, told(set)); d != "" || len(set.Conflicts) > 0 {
				t.Fatalf("changes: %s, conflicts %q", d, set.Conflicts)
			}
			stage := filepath.Join(t.TempDir(), "stage")
			staged, err := changeset.Stage(res.Overlay, set, stage)
			if tt.unfit != "" {
				if err == nil || !strings.Contains(err.Error(), tt.unfit) || !strings.Contains(set.Unfit, tt.unfit) {
					t.Errorf("got %v, %q, want it unfit for the %s", err, set.Unfit, tt.unfit)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := staged.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := staged.Commit(); err != nil {
				t.Errorf("again: %v", err)
			}
			committed := listing(t, dir, false)
			if err := staged.Undo(); err != nil {
				t.Fatal(err)
			}
			if err := staged.Commit(); err != nil {
				t.Fatalf("after it was undone: %v", err)
			}
			if again := listing(t, dir, false); again != committed {
				t.Errorf("committed anew: %s", cmp.Diff(committed, again))
			}
			if err := staged.Close(); err != nil {
				t.Fatal(err)
			}
			if err := changeset.Remove(stage); err != nil {
				t.Fatal(err)
			}
			if len(tt.want) > 0 && listing(t, dir, true) == before {
				t.Error("nothing was committed")
			}
		})
	}
}

// TestTransactionOfGVisorIsRefused: the machine cannot attach an overlay there.
func TestTransactionOfGVisorIsRefused(t *testing.T) {
	r := start(t, testConfig(t))
	call := transactionCall(t.TempDir(), "true")
	call.Isolation = sandbox.IsolationGVisor
	if _, err := r.Run(t.Context(), call); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "overlay") {
		t.Errorf("got %v, want FAILED_PRECONDITION that names the overlay", err)
	}
}

// TestTransactionIsBounded: what a call writes is bounded, and that it was full is
// told. The directory below does not grow.
func TestTransactionIsBounded(t *testing.T) {
	r := start(t, testConfig(t))
	dir := mountsDir(t, "f")
	for _, script := range []string{
		`for i in 1 2 3 4; do head -c 4000000 /dev/zero >>big$i || exit 1; done`,
		`i=0; while :; do i=$((i+1)); : >f$i || exit 1; done`,
	} {
		call := transactionCall(dir, script)
		call.Limits.DiskBytes, call.Limits.FileBytes = 8<<20, 8<<20
		res, err := r.Run(t.Context(), call)
		if err != nil || res.Outcome != sandbox.OutcomeDiskLimit || res.Receipt.Enforced["workspace_disk_bytes"] != 8<<20 {
			t.Errorf("got %s %v %v, want DISK_LIMIT under a bound of 8 MiB: %s", res.Outcome, res.Receipt.Enforced, err, res.Stderr.Head)
		}
		if res.Overlay != nil {
			if err := res.Overlay.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the workspace has %d entries (%v), want the one that was there", len(entries), err)
	}
}
