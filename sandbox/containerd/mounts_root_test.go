package containerd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/sandbox"
)

// mountsDir is a workspace that belongs to its test's caller: files by path, and
// symbolic links by "path -> target".
func mountsDir(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		at, target, link := strings.Cut(name, " -> ")
		at = filepath.Join(dir, at)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if link {
			if err := os.Symlink(target, at); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(at, []byte(name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func mountsCall(dir, script string, mounts ...sandbox.Mount) sandbox.Call {
	call := bashCall(script)
	call.Workspace = sandbox.Workspace{HostDir: dir, KeepOwner: true}
	call.Reuse, call.ReuseKey, call.Mounts = sandbox.ReuseSession, dir, mounts
	return call
}

const (
	hidden = sandbox.MountHidden
	ro     = sandbox.MountReadOnly
	rw     = sandbox.MountWritable
)

// TestMounts looks from within the call at what is demanded of parts of its
// workspace, each with a workspace that the cell has just got and again with one
// that it has had before.
func TestMounts(t *testing.T) {
	r := start(t, testConfig(t))
	for _, tt := range []struct {
		name, script, want string
		files              []string
		readOnly           bool
		mounts             []sandbox.Mount
		states             []sandbox.MountState
	}{
		{
			name: "read-only directory", files: []string{"sub/f", "free/g"}, mounts: []sandbox.Mount{{Path: "/workspace/sub", Mode: ro}},
			script: `cat sub/f; echo x >sub/f || echo no; rm -f sub/f || echo no; mkdir sub/d || echo no; echo y >free/g && cat free/g
				ln sub/f l || echo no; mount -o remount,rw /workspace/sub || echo no; umount -l sub || echo no`,
			want: "sub/f\nno\nno\nno\ny\nno\nno\nno\n", states: []sandbox.MountState{{Path: "/workspace/sub", Mode: "ro"}},
		},
		{
			name: "read-only and hidden file", files: []string{"lock", ".env"},
			mounts: []sandbox.Mount{{Path: "/workspace/lock", Mode: ro}, {Path: "/workspace/.env", Mode: hidden}},
			script: `cat lock; echo x >lock || echo no; mv lock l2 || echo no; echo y >t; mv t lock || echo no; wc -c <.env; echo x >.env || echo no; rm .env || echo no; ln .env e || echo no; stat -c %F .env`,
			want:   "lock\nno\nno\nno\n0\nno\nno\nno\nregular empty file\n",
			states: []sandbox.MountState{{Path: "/workspace/.env", Mode: "hidden"}, {Path: "/workspace/lock", Mode: "ro"}},
		},
		{
			name: "hidden directory", files: []string{"a/secret/key", "a/open"}, mounts: []sandbox.Mount{{Path: "/workspace/a/secret", Mode: hidden}},
			script: `ls -A a/secret; cat a/secret/key || echo no; touch a/secret/x || echo no; cat a/open; cat a/../a/./secret/key || echo no; cat /proc/self/cwd/a/secret/key || echo no`,
			want:   "no\nno\na/open\nno\nno\n", states: []sandbox.MountState{{Path: "/workspace/a/secret", Mode: "hidden"}},
		},
		{
			name: "writable parts of a read-only workspace", files: []string{"build/old", "src/f", "build/keep/k"}, readOnly: true,
			mounts: []sandbox.Mount{{Path: "/workspace/build", Mode: rw}, {Path: "/workspace/build/keep", Mode: ro}},
			script: `echo x >src/f || echo no; echo y >build/new && cat build/new; rm build/old && echo gone; echo z >build/keep/k || echo no; touch top || echo no; mv build b || echo no`,
			want:   "no\ny\ngone\nno\nno\nno\n",
			states: []sandbox.MountState{{Path: "/workspace", Mode: "ro"}, {Path: "/workspace/build", Mode: "rw"}, {Path: "/workspace/build/keep", Mode: "ro"}},
		},
		{
			name: "the directories above stay where they are", files: []string{"p/.git/hooks/pre-push", "p/.git/config"},
			mounts: []sandbox.Mount{{Path: "/workspace/p/.git/hooks", Mode: ro}},
			script: `mv p p2 || echo no; mv p/.git p/g || echo no; rm -rf p || echo no; mv p/.git/hooks p/.git/h || echo no; cat p/.git/hooks/pre-push
				echo free >p/.git/config2; mkdir p/x && mv p/x p/y && ls p`,
			want: "no\nno\nno\nno\np/.git/hooks/pre-push\ny\n", states: []sandbox.MountState{{Path: "/workspace/p/.git/hooks", Mode: "ro"}},
		},
		{
			name: "what need not exist", files: []string{"f"}, mounts: []sandbox.Mount{{Path: "/workspace/f/x", Mode: ro, IfExists: true}, {Path: "/workspace/none", Mode: hidden, IfExists: true}},
			script: "cat f", want: "f\n", states: []sandbox.MountState{{Path: "/workspace/f/x", Mode: "absent"}, {Path: "/workspace/none", Mode: "absent"}},
		},
		{
			name: "odd names", files: []string{"a b\\\n/é\t", "z"}, mounts: []sandbox.Mount{{Path: "/workspace/a b\\\n/é\t", Mode: ro}},
			script: `echo x >'a b\
/é	' || echo no; cat z`, want: "no\nz\n", states: []sandbox.MountState{{Path: "/workspace/a b\\\n/é\t", Mode: "ro"}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, when := range []string{"first", "again"} {
				dir := mountsDir(t, tt.files...)
				call := mountsCall(dir, tt.script, tt.mounts...)
				call.Workspace.ReadOnly = tt.readOnly
				if when == "again" { // the cell has the directory already
					before := mountsCall(dir, "true")
					before.Workspace.ReadOnly = tt.readOnly
					for range 2 {
						if _, err := r.Run(t.Context(), before); err != nil {
							t.Fatal(err)
						}
					}
				}
				res, err := r.Run(t.Context(), call)
				if err != nil {
					t.Fatal(err)
				}
				if got := string(res.Stdout.Head); got != tt.want {
					t.Errorf("%s: the call sees %q, want %q; %s", when, got, tt.want, res.Stderr.Head)
				}
				if diff := cmp.Diff(tt.states, res.Receipt.Mounts); diff != "" {
					t.Errorf("%s: receipt (-want +got):\n%s", when, diff)
				}
				// They end with the call.
				res, err = r.Run(t.Context(), mountsCall(dir, "grep -c ' /workspace/' /proc/self/mountinfo; touch new && rm -rf -- * .[a-z]* && ls -A"))
				if err != nil || string(res.Stdout.Head) != "0\n" || res.Receipt.Mounts != nil {
					t.Errorf("%s: the next call sees %q (%s), %v, %v", when, res.Stdout.Head, res.Stderr.Head, res.Receipt.Mounts, err)
				}
			}
		})
	}
}

// TestMountsAreRefused demands what cannot be: nothing runs then, and the next call
// of the session is none the worse for it.
func TestMountsAreRefused(t *testing.T) {
	r := start(t, testConfig(t))
	dir := mountsDir(t, "f", "real/g", "link -> real", "real/out -> /etc", "real/self -> g")
	for _, tt := range []struct {
		path, want string
		ifExists   bool
	}{
		{path: "/workspace/none", want: "no such file"},
		{path: "/workspace/f/x", want: "not a directory"},
		{path: "/workspace/link", want: "symbolic link", ifExists: true},
		{path: "/workspace/link/g", want: "symbolic link", ifExists: true},
		{path: "/workspace/real/out/passwd", want: "symbolic link", ifExists: true},
		{path: "/workspace/real/self", want: "symbolic link", ifExists: true},
	} {
		for _, mode := range []sandbox.MountMode{ro, hidden, rw} {
			_, err := r.Run(t.Context(), mountsCall(dir, "true", sandbox.Mount{Path: tt.path, Mode: mode, IfExists: tt.ifExists}))
			if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s %s: %v, want a refusal with %q", tt.path, mode, err, tt.want)
			}
		}
	}
	call := mountsCall("", "true", sandbox.Mount{Path: "/workspace/f", Mode: ro})
	call.Workspace, call.ReuseKey = sandbox.Workspace{}, "nothing"
	if _, err := r.Run(t.Context(), call); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "no session") {
		t.Errorf("without a directory: %v, want a refusal", err)
	}
	call.Isolation = sandbox.IsolationGVisor
	if _, err := r.Run(t.Context(), call); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "gvisor") {
		t.Errorf("in gVisor: %v, want a refusal", err)
	}
	res, err := r.Run(t.Context(), mountsCall(dir, "cat link/g"))
	if err != nil || string(res.Stdout.Head) != "real/g\n" {
		t.Errorf("after refusals: %q, %v", res.Stdout.Head, err)
	}
}

// TestMountsOutliveTheHost removes and renames on the machine what is mounted in a
// running call: it must never see what it was not to see.
func TestMountsOutliveTheHost(t *testing.T) {
	r := start(t, testConfig(t))
	dir := mountsDir(t, "a/secret/key", "b/f")
	call := mountsCall(dir, `echo up; until [ -e go ]; do read -t 0.05 _; done; find . -name key; cat a/secret/key a/moved/key; ls -A a; echo x >b/f || echo no`,
		sandbox.Mount{Path: "/workspace/a/secret", Mode: hidden}, sandbox.Mount{Path: "/workspace/b", Mode: ro})
	done := make(chan struct{})
	call.Observer = &onOutput{do: func() {
		defer close(done)
		if err := os.Rename(dir+"/a/secret", dir+"/a/moved"); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
			t.Error(err)
		}
	}}
	res, err := r.Run(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	<-done
	if got := string(res.Stdout.Head); got != "up\nmoved\nno\n" {
		t.Errorf("the call sees %q (%s), want nothing of the renamed secret", got, res.Stderr.Head)
	}
	if err := os.RemoveAll(dir + "/a"); err != nil {
		t.Errorf("the machine cannot remove what was mounted on in a call: %v", err)
	}
}

type onOutput struct {
	do   func()
	once bool
}

func (o *onOutput) Started(sandbox.Receipt) {}

func (o *onOutput) Output(sandbox.Stream, int64, []byte) {
	if !o.once {
		o.once = true
		o.do()
	}
}
