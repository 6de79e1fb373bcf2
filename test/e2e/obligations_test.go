package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sandgate/sandgate/policies"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// obligedProfile demands what the call's environment says.
const obligedProfile = `package sandgate.profiles.obliged

allow contains {"rule": "cage-holds", "message": "the cage is the limit"}

default obligations := {}

obligations := json.unmarshal(input.call.env.OBLIGE)

transform := {"args": {"command": input.call.env.REWRITE}}

deny contains {"rule": "labelled", "message": "the session has the label that the call must not see"} if {
	input.call.env.NOT_AFTER in input.session.labels
}
`

// loosening is a tenant that demands more than it may have, and allows.
const loosening = `package sandgate.tenants.acme

allow contains {"rule": "acme", "message": "all"}

deny contains {"rule": "acme-no-curl", "message": "not at acme"} if "curl" in input.call.shell.programs

obligations := {"sandbox": {"pids": 100000, "file_bytes": 1048576}}
`

type obliged struct {
	name, before, demand, command string // before runs without demands
	alone                         bool   // without a session

	stdout   []string // all of them are in it
	outcome  sandgatev1.Outcome
	enforced map[string]int64 // as read back from the kernel
	mounts   []string         // likewise: "path mode"
}

func obligations() []obliged {
	const exited = sandgatev1.Outcome_OUTCOME_EXITED
	return []obliged{
		{
			name: "workspace", demand: `{"sandbox": {"workspace": "ro"}}`, outcome: exited,
			command: "touch x 2>/dev/null || echo refused; awk '$2 == \"/workspace\" {print $4}' /proc/mounts | grep -o '^ro'", stdout: []string{"refused\nro\n"}, mounts: []string{"/workspace ro"},
		},
		{
			name: "workspace without a session", alone: true, demand: `{"sandbox": {"workspace": "ro"}}`, outcome: exited,
			command: "touch x 2>/dev/null || echo refused; awk '$2 == \"/workspace\" {w = $4} END {print w}' /proc/mounts | grep -o '^ro'", stdout: []string{"refused\nro\n"}, mounts: []string{"/workspace ro"},
		},
		{
			name: "mounts", before: "mkdir -p keep hide .git/hooks; echo k >keep/k; echo s >hide/s; echo e >.env", outcome: exited,
			demand: `{"sandbox": {"mounts": [{"path": "/workspace/keep", "mode": "ro"}, {"path": "/workspace/hide", "mode": "hidden"}, {"path": "/workspace/.env", "mode": "hidden"},
				{"path": "/workspace/.git/hooks", "mode": "ro"}, {"path": "/workspace/none", "mode": "ro", "if_exists": true}]}}`,
			command: `cat keep/k; echo x 2>/dev/null >keep/k || echo ro; cat hide/s .env 2>/dev/null; ls hide; mv .git g 2>/dev/null || echo pinned; touch new && echo rw
				awk '$5 ~ "^/workspace/" {print $5, substr($6, 1, 2)}' /proc/self/mountinfo | sort`,
			stdout: []string{"k\nro\npinned\nrw\n/workspace/.env ro\n/workspace/.git rw\n/workspace/.git/hooks ro\n/workspace/hide ro\n/workspace/keep ro\n"},
			mounts: []string{"/workspace/.env hidden", "/workspace/.git/hooks ro", "/workspace/hide hidden", "/workspace/keep ro", "/workspace/none absent"},
		},
		{
			name: "writable mounts", before: "mkdir -p build src", outcome: exited,
			demand:  `{"sandbox": {"workspace": "ro", "mounts": [{"path": "/workspace/build", "mode": "rw"}]}}`,
			command: "touch src/x 2>/dev/null || echo ro; touch build/x && echo rw", stdout: []string{"ro\nrw\n"}, mounts: []string{"/workspace ro", "/workspace/build rw"},
		},
		{
			name: "memory_bytes", demand: `{"sandbox": {"memory_bytes": 67108864}}`, outcome: sandgatev1.Outcome_OUTCOME_OUT_OF_MEMORY,
			command: "head -c 200m /dev/zero | tail", enforced: map[string]int64{"memory_bytes": 64 << 20},
		},
		{
			name: "pids", demand: `{"sandbox": {"pids": 12}}`, outcome: exited, enforced: map[string]int64{"pids": 12},
			command: "(for i in $(seq 40); do sleep 9 & done) 2>&1 | grep -c 'Resource temporarily' | grep -qv '^0$' && echo refused; kill $(jobs -p) 2>/dev/null; true", stdout: []string{"refused"},
		},
		{name: "wall_time_ms", demand: `{"sandbox": {"wall_time_ms": 300}}`, command: "sleep 20", outcome: sandgatev1.Outcome_OUTCOME_TIMED_OUT},
		{name: "output_bytes", demand: `{"sandbox": {"output_bytes": 4096}}`, command: "head -c 100000 /dev/zero | tr '\\0' a", outcome: exited, stdout: []string{"[…]"}},
		{name: "output_total_bytes", demand: `{"sandbox": {"output_total_bytes": 100000}}`, command: "yes", outcome: sandgatev1.Outcome_OUTCOME_OUTPUT_LIMIT},
		{
			name: "disk_bytes", demand: `{"sandbox": {"disk_bytes": 1048576}}`, outcome: exited,
			command: "df -k --output=size /tmp | tail -1; head -c 2m /dev/zero > /tmp/x 2>/dev/null || echo full", stdout: []string{"1024\n", "full"},
		},
		{
			name: "file_bytes", demand: `{"sandbox": {"file_bytes": 524288}}`, outcome: exited,
			command: "ulimit -f; grep 'Max file size' /proc/self/limits", stdout: []string{"512\n", "524288"},
		},
		{
			name: "open_files", demand: `{"sandbox": {"open_files": 33}}`, outcome: exited,
			command: "ulimit -Hn; grep 'Max open files' /proc/self/limits", stdout: []string{"33\n"},
		},
		{name: "cpu_millis", demand: `{"sandbox": {"cpu_millis": 250}}`, command: "true", outcome: exited, enforced: map[string]int64{"cpu_millis": 250}},
		{name: "network", demand: `{"sandbox": {"network": "none"}}`, command: "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; echo > /dev/tcp/1.1.1.1/53 || echo unreachable", outcome: exited, stdout: []string{"lo\nunreachable\n"}},
		{
			name: "env", demand: `{"exec": {"env_set": {"PAGER": "cat"}, "env_drop": ["*_TOKEN", "OBLIGE"]}}`, outcome: exited,
			command: `echo "$PAGER:${A_TOKEN-gone}:${KEPT}:${OBLIGE-gone}"`, stdout: []string{"cat:gone:kept:gone\n"},
		},
		{
			name: "redact", demand: `{"output": {"redact": ["aws-key"], "patterns": {"ticket": "TCK-[0-9]+"}, "labels": ["seen"]}}`, outcome: exited,
			command: "printf AKIA; sleep 0.1; echo ABCDEFGHIJKLMNOP TCK-77", stdout: []string{"[masked] [masked]\n"},
		},
	}
}

// TestObligationsHold demands each obligation of one running daemon and looks from
// within the call, and at what was read back from the kernel.
func TestObligationsHold(t *testing.T) {
	daemontest.RequireRoot(t)
	dir := filepath.Join(shortDir(t), "policy")
	if err := os.CopyFS(dir, policies.FS); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"obliged.rego": obligedProfile, "acme.rego": loosening} {
		if err := os.WriteFile(filepath.Join(dir, "sandgate", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bin, err := daemontest.BinDir()
	if err != nil {
		t.Fatal(err)
	}
	d := daemontest.Start(t, "containerd: {runtimes: {gvisor: {binary: "+filepath.Join(bin, "runsc")+"}}}\nenvironment: testing\npool: {idle: 1}\npolicy: {dir: "+dir+"}\n"+
		"callers: [{match: {uid: 0}, profiles: [obliged, open], tenant: acme, admin: true}]\n")
	oblige := func(demand string) daemontest.Option {
		return func(r *sandgatev1.ExecuteRequest) {
			r.Call.Profile, r.Call.Env = "obliged", map[string]string{"OBLIGE": demand, "A_TOKEN": "x", "KEPT": "kept"}
		}
	}
	for _, tt := range obligations() {
		t.Run(tt.name, func(t *testing.T) {
			session := daemontest.Session("obliged-" + strings.ReplaceAll(tt.name, " ", "-"))
			if tt.alone {
				session = func(*sandgatev1.ExecuteRequest) {}
			}
			if tt.before != "" {
				if r := d.Execute(t, daemontest.Bash(tt.before, oblige(`{}`), session)); r.GetIsError() {
					t.Fatal(r)
				}
			}
			r := d.Execute(t, daemontest.Bash(tt.command, oblige(tt.demand), session))
			if r.GetOutcome() != tt.outcome {
				t.Fatalf("%s %s, want %s; %s", r.GetOutcome(), r.GetMessage(), tt.outcome, daemontest.Text(r.GetStderr()))
			}
			for _, want := range tt.stdout {
				if got := daemontest.Text(r.GetStdout()); !strings.Contains(got, want) {
					t.Errorf("the call sees %q (%s), want %q", got, daemontest.Text(r.GetStderr()), want)
				}
			}
			for name, want := range tt.enforced {
				if got := r.GetReceipt().GetEnforced()[name]; got != want {
					t.Errorf("the receipt has %s %d, want %d: %v", name, got, want, r.GetReceipt().GetEnforced())
				}
			}
			var mounts []string
			for _, m := range r.GetReceipt().GetMounts() {
				mounts = append(mounts, m.GetPath()+" "+m.GetMode())
			}
			if !slices.Equal(mounts, tt.mounts) {
				t.Errorf("the receipt has the mounts %q, want %q", mounts, tt.mounts)
			}
		})
	}
	t.Run("reuse", func(t *testing.T) {
		cells := map[string]bool{}
		for _, reuse := range []string{"session", "session", "never", "never"} {
			r := d.Execute(t, daemontest.Bash("true", oblige(`{"sandbox": {"reuse": "`+reuse+`"}}`), daemontest.Session("again")))
			cells[r.GetReceipt().GetCellId()] = true
		}
		if len(cells) != 3 {
			t.Errorf("four calls ran in %d cells, want 3: %v", len(cells), cells)
		}
	})
	t.Run("reuse of a caller's cell", func(t *testing.T) {
		cells := map[string]bool{}
		for _, session := range []string{"one", "two"} {
			r := d.Execute(t, daemontest.Bash("true", oblige(`{"sandbox": {"reuse": "caller"}}`), daemontest.Session(session)))
			cells[r.GetReceipt().GetCellId()] = true
		}
		if len(cells) != 1 {
			t.Errorf("two sessions of one caller ran in %v, want one cell", cells)
		}
	})
	t.Run("cpu_millis slows down", func(t *testing.T) {
		r := d.Execute(t, daemontest.Bash("timeout 1 bash -c 'while :; do :; done'; true", oblige(`{"sandbox": {"cpu_millis": 200}}`)))
		if used := r.GetUsage().GetCpuUser().AsDuration() + r.GetUsage().GetCpuSystem().AsDuration(); used <= 0 || used > 600*time.Millisecond {
			t.Errorf("a second of a fifth of a processor used %v of it", used)
		}
	})
	t.Run("isolation", func(t *testing.T) {
		for isolation, veiled := range map[string]bool{"runc": false, "gvisor": true} {
			r := d.Execute(t, daemontest.Bash("cat /proc/version; touch x 2>/dev/null || echo refused", oblige(`{"sandbox": {"workspace": "ro", "isolation": "`+isolation+`"}}`)))
			got := daemontest.Text(r.GetStdout())
			if strings.Contains(got, "gvisor") != veiled || !strings.HasSuffix(got, "refused\n") || r.GetReceipt().GetIsolation() != isolation || slices.Contains(r.GetReceipt().GetUnverified(), "mounts") != veiled {
				t.Errorf("%s: %s, the call sees %q, receipt %v", isolation, r.GetMessage(), got, r.GetReceipt())
			}
		}
		r := d.Execute(t, daemontest.Bash("true", oblige(`{"sandbox": {"isolation": "gvisor", "mounts": [{"path": "/workspace/a", "mode": "ro"}]}}`)))
		if r.GetOutcome() != sandgatev1.Outcome_OUTCOME_DENIED {
			t.Errorf("mounts in gVisor: %s, want a deny", r.GetOutcome())
		}
	})
	t.Run("labels", func(t *testing.T) {
		after := func(r *sandgatev1.ExecuteRequest) { r.Call.Env["NOT_AFTER"] = "saw:secret" }
		in := daemontest.Session("labelled")
		first := d.Execute(t, daemontest.Bash("true", oblige(`{"output": {"labels": ["saw:secret"]}}`), after, in))
		if next := d.Execute(t, daemontest.Bash("true", oblige(`{}`), after, in)); first.GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED || next.GetOutcome() != sandgatev1.Outcome_OUTCOME_DENIED {
			t.Errorf("%s, then %s: want the next call to see the label", first.GetOutcome(), next.GetOutcome())
		}
	})
	t.Run("file tools obey the mounts", func(t *testing.T) { fileToolsObey(t, d, oblige) })
	t.Run("transform and audit level", func(t *testing.T) {
		r := d.Execute(t, daemontest.Bash("echo sent", oblige(`{"audit": {"level": "shape"}}`), func(r *sandgatev1.ExecuteRequest) {
			r.Call.CallId, r.Call.Env["REWRITE"] = "rewritten", "echo secretly rewritten"
		}))
		tr := r.GetDecision().GetTransform()
		if daemontest.Text(r.GetStdout()) != "secretly rewritten\n" || tr.GetFromDigest() != r.GetDigest() || tr.GetToDigest() == "" || tr.GetToDigest() == r.GetDigest() {
			t.Errorf("%q with %v", daemontest.Text(r.GetStdout()), tr)
		}
		raw, err := os.ReadFile(filepath.Join(d.DataDir, "journal", "journal.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		if text := string(raw); strings.Contains(text, "echo sent") || strings.Contains(text, "secretly") || !strings.Contains(text, tr.GetToDigest()) {
			t.Error("the journal holds the arguments of a call of which it is to hold the shape, or not the new digest")
		}
	})
	t.Run("a tenant only tightens", func(t *testing.T) {
		r := d.Execute(t, daemontest.Bash("ulimit -f; true", oblige(`{"sandbox": {"pids": 20}}`)))
		if got := daemontest.Text(r.GetStdout()); got != "1024\n" || r.GetReceipt().GetEnforced()["pids"] != 20 {
			t.Errorf("files of %s KiB, enforced %v", got, r.GetReceipt().GetEnforced())
		}
		if r := d.Execute(t, daemontest.Bash("curl x", oblige(`{}`))); r.GetOutcome() != sandgatev1.Outcome_OUTCOME_DENIED {
			t.Errorf("what the tenant denies: %s", r.GetOutcome())
		}
	})
	t.Run("unknown keys", func(t *testing.T) {
		for _, demand := range []string{
			`{"sandbox": {"cpus": 1}}`,
			`{"exec": {"binaries": ["/bin/ls"]}}`,
			`{"output": {"redact": ["everything"]}}`,
			`{"mounts": []}`,
			`{"audit": {"keep_days": 9}}`,
			`{"sandbox": {"mounts": [{"path": "/etc", "mode": "ro"}]}}`,
			`{"sandbox": {"mounts": [{"path": "/workspace/a", "mode": "ro", "source": "/etc"}]}}`,
			`{"sandbox": {"network": "host"}}`,
		} {
			if r := d.Execute(t, daemontest.Bash("true", oblige(demand))); r.GetOutcome() != sandgatev1.Outcome_OUTCOME_DENIED {
				t.Errorf("%s: %s, want a deny", demand, r.GetOutcome())
			}
		}
	})
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	d.WaitFootprint(t, daemontest.Footprint{NetNS: 64}, 5*time.Second)
}

// fileToolsObey reads and writes by the tools, which resolve every path in the cell,
// what the mounts do not let be read or written.
func fileToolsObey(t *testing.T, d *daemontest.Daemon, oblige func(string) daemontest.Option) {
	in := daemontest.Session("tools")
	if r := d.Execute(t, daemontest.Bash("mkdir keep hide; echo kept >keep/k; echo secret >hide/s", oblige(`{}`), in)); r.GetIsError() {
		t.Fatal(r)
	}
	demand := oblige(`{"sandbox": {"mounts": [{"path": "/workspace/keep", "mode": "ro"}, {"path": "/workspace/hide", "mode": "hidden"}]}}`)
	for _, tt := range []struct {
		tool  string
		args  map[string]any
		fails bool
		want  string
	}{
		{tool: "read_file", args: map[string]any{"path": "keep/k"}, want: "kept"},
		{tool: "read_file", args: map[string]any{"path": "hide/s"}, fails: true},
		{tool: "write_file", args: map[string]any{"path": "keep/k", "content": "other"}, fails: true},
		{tool: "write_file", args: map[string]any{"path": "keep/new", "content": "other"}, fails: true},
		{tool: "write_file", args: map[string]any{"path": "hide/s", "content": "other"}, fails: true},
		{tool: "write_file", args: map[string]any{"path": "free", "content": "other"}},
		{tool: "grep", args: map[string]any{"pattern": "secret|kept"}, want: "keep/k"},
	} {
		r := d.Execute(t, daemontest.Request(tt.tool, tt.args, demand, in))
		got := daemontest.Text(r.GetStdout())
		if r.GetIsError() != tt.fails || r.GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED || !strings.Contains(got, tt.want) || strings.Contains(got, "secret") {
			t.Errorf("%s %v: %s %s %q %q", tt.tool, tt.args, r.GetOutcome(), r.GetMessage(), got, daemontest.Text(r.GetStderr()))
		}
	}
	if r := d.Execute(t, daemontest.Bash("cat keep/k hide/s free; ls keep hide", oblige(`{}`), in)); daemontest.Text(r.GetStdout()) != "kept\nsecret\nother"+"hide:\ns\n\nkeep:\nk\n" {
		t.Errorf("afterwards: %q", daemontest.Text(r.GetStdout()))
	}
}
