package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sandgate/sandgate/test/daemontest"
)

func TestCommandShowsAllowedAndDeniedCalls(t *testing.T) {
	d := daemontest.Start(t, "pool: {idle: 1}\n")
	out, errOut, code := d.Sandgate(t, "", "call", "bash", "--profile", "open", "--arg", "command=echo out; echo err >&2; exit 7")
	if out != "out\n" || !strings.Contains(errOut, "err\n") || code != 7 {
		t.Errorf("allowed call: got %q, %q, exit code %d; want its streams and 7", out, errOut, code)
	}
	out, errOut, code = d.Sandgate(t, "", "call", "bash", "--profile", "readonly", "--arg", "command=git status; rm -rf .")
	if out != "" || code != 126 || !strings.Contains(errOut, "destructive-command") {
		t.Errorf("denied call: got %q, %q, exit code %d; want 126 and the rule", out, errOut, code)
	}
	if strings.Contains(errOut, "\x1b[") {
		t.Errorf("colours on something that is no terminal: %q", errOut)
	}
	out, errOut, code = d.Sandgate(t, "piped", "call", "bash", "--profile", "open", "--stdin", "--json", `{"command":"tr a-z A-Z"}`)
	var result map[string]any
	if err := json.Unmarshal([]byte(out), &result); err != nil || code != 0 || !strings.Contains(out, "EXITED") {
		t.Errorf("call --json: got %q, %q, exit code %d, %v", out, errOut, code, err)
	}
	if _, errOut, code = d.Sandgate(t, "", "call", "bash", "--profile", "open", "--timeout", "1s", "--arg", "command=sleep 60"); code != 124 {
		t.Errorf("call past its deadline: got exit code %d, want 124 (%s)", code, errOut)
	}
	if _, errOut, code = d.Sandgate(t, "", "call", "bsh", "--arg", "command=ls"); code != 125 || !strings.Contains(errOut, "bash") {
		t.Errorf("unknown tool: got exit code %d, %q; want 125 and the near name", code, errOut)
	}
	if _, errOut, code = d.Sandgate(t, "", "call", "bash", "--profile", "open", "--arg", "command=nosuchprogram"); code != 127 {
		t.Errorf("missing program in bash: got exit code %d, %q; want bash's own 127", code, errOut)
	}
}

func TestDoctorAndToolsTellWhatThereIs(t *testing.T) {
	d := daemontest.Start(t, "pool: {idle: 1}\n")
	out, errOut, code := d.Sandgate(t, "", "doctor")
	if code != 0 || !strings.Contains(out, "memory_bytes") || !strings.Contains(out, "pids") {
		t.Errorf("doctor: got %q, %q, exit code %d", out, errOut, code)
	}
	out, _, code = d.Sandgate(t, "", "tools", "--json")
	for _, tool := range []string{"bash", "python", "read_file", "write_file", "edit_file", "list_dir", "glob", "grep"} {
		if code != 0 || !strings.Contains(out, `"`+tool+`"`) {
			t.Errorf("tools: %s is missing (exit code %d)", tool, code)
		}
	}
	if out, _, _ = d.Sandgate(t, "", "tools", "--profile", "locked", "--json"); strings.Contains(out, "bash") {
		t.Errorf("tools of the locked profile: got %q, want none", out)
	}
}

// TestBoundWorkspaceKeepsItsOwner runs a call on a directory of the machine that
// belongs to somebody who is neither root nor the payload.
func TestBoundWorkspaceKeepsItsOwner(t *testing.T) {
	const owner = 4321
	daemontest.RequireRoot(t)
	dir := shortDir(t)
	if err := os.WriteFile(filepath.Join(dir, "old"), []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "old")} {
		if err := os.Chown(path, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	d := daemontest.Start(t, "pool: {idle: 1}\ncallers: [{match: {uid: 0}, profiles: [open], workspace_dirs: ["+dir+"]}]\n")
	r := d.Execute(t, daemontest.Bash("cat old; stat -c %u old; echo new > new; echo more >> old; stat -c %u .", daemontest.WorkspaceDir(dir)))
	if got := daemontest.Text(r.GetStdout()); got != "old\n1000\n1000\n" {
		t.Errorf("the call sees %q (%s), want its own files", got, daemontest.Text(r.GetStderr()))
	}
	if got := r.GetReceipt().GetWorkspace(); got != "directory:idmapped" {
		t.Errorf("receipt: workspace %q, want directory:idmapped", got)
	}
	for _, name := range []string{"old", "new"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != owner || st.Gid != owner {
			t.Errorf("%s belongs to %v on disk, want %d", name, info.Sys(), owner)
		}
	}
}

func TestSessionKeepsItsFilesAcrossARestart(t *testing.T) {
	d := daemontest.Start(t, "pool: {idle: 1}\n")
	in := []daemontest.Option{daemontest.Profile("open"), daemontest.Session("kept")}
	d.Execute(t, daemontest.Bash("echo kept > file", in...))
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := d.Execute(t, daemontest.Bash("cat file", in...)); daemontest.Text(r.GetStdout()) != "kept\n" {
		t.Errorf("after a restart: got %q, want the file", daemontest.Text(r.GetStdout()))
	}
	if r := d.Execute(t, daemontest.Bash("ls", daemontest.Profile("open"))); r.GetStdout().GetTotalBytes() != 0 {
		t.Errorf("a call without the session sees %q", daemontest.Text(r.GetStdout()))
	}
}

// TestFileToolsWorkBehindTheWall runs every file tool in a session.
func TestFileToolsWorkBehindTheWall(t *testing.T) {
	d := daemontest.Start(t, "pool: {idle: 1}\n")
	type args = map[string]any
	for _, step := range []struct {
		tool  string
		args  args
		fails bool
		says  []string
	}{
		{"write_file", args{"path": "src/a.txt", "content": "one\ntwo\nthree\n"}, false, nil},
		{"read_file", args{"path": "src/a.txt"}, false, []string{"1\tone", "3\tthree"}},
		{"read_file", args{"path": "/workspace/src/a.txt", "offset": 2, "limit": 1}, false, []string{"2\ttwo"}},
		{"edit_file", args{"path": "src/a.txt", "old_string": "two", "new_string": "2"}, false, nil},
		{"edit_file", args{"path": "src/a.txt", "old_string": "absent", "new_string": "x"}, true, []string{"src/a.txt"}},
		{"list_dir", args{"path": "src"}, false, []string{"a.txt"}},
		{"glob", args{"pattern": "**/*.txt"}, false, []string{"src/a.txt"}},
		{"grep", args{"pattern": "^t.*e$", "output_mode": "content"}, false, []string{"three"}},
		{"bash", args{"command": "ln -s /etc/passwd link; ln -s /etc dir; mkfifo fifo; cat src/a.txt"}, false, []string{"one\n2\nthree\n"}},
		{"read_file", args{"path": "link"}, true, []string{"symlink_escape"}},
		{"write_file", args{"path": "dir/x", "content": "x"}, true, []string{"symlink_escape"}},
		{"read_file", args{"path": "fifo"}, true, []string{"not_regular"}},
		{"python", args{"code": "print(6 * 7)"}, false, []string{"42"}},
	} {
		r := d.Execute(t, daemontest.Request(step.tool, step.args, daemontest.Profile("open"), daemontest.Session("files")))
		text := daemontest.Text(r.GetStdout()) + daemontest.Text(r.GetStderr())
		if r.GetIsError() != step.fails {
			t.Errorf("%s %v: got %v, exit code %d: %s", step.tool, step.args, r.GetOutcome(), r.GetExitCode(), text)
		}
		for _, want := range step.says {
			if !strings.Contains(text, want) {
				t.Errorf("%s %v: got %q, want it to say %q", step.tool, step.args, text, want)
			}
		}
	}
}
