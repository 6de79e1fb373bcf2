package e2e

import (
	"os"
	"path/filepath"
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
`

// loosening is a tenant that demands more than it may have, and allows.
const loosening = `package sandgate.tenants.acme

allow contains {"rule": "acme", "message": "all"}

deny contains {"rule": "acme-no-curl", "message": "not at acme"} if "curl" in input.call.shell.programs

obligations := {"sandbox": {"pids": 100000, "file_bytes": 1048576}}
`

type obliged struct {
	name, demand, command string
	stdout                []string // all of them are in it
	outcome               sandgatev1.Outcome
	enforced              map[string]int64 // as read back from the kernel
}

func obligations() []obliged {
	const exited = sandgatev1.Outcome_OUTCOME_EXITED
	return []obliged{
		{
			name: "workspace", demand: `{"sandbox": {"workspace": "ro"}}`, outcome: exited,
			command: "touch x 2>/dev/null || echo refused; awk '$2 == \"/workspace\" {print $4}' /proc/mounts | grep -o '^ro'", stdout: []string{"refused\nro\n"},
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
	d := daemontest.Start(t, "environment: testing\npool: {idle: 1}\npolicy: {dir: "+dir+"}\n"+
		"callers: [{match: {uid: 0}, profiles: [obliged, open], tenant: acme, admin: true}]\n")
	oblige := func(demand string) daemontest.Option {
		return func(r *sandgatev1.ExecuteRequest) {
			r.Call.Profile, r.Call.Env = "obliged", map[string]string{"OBLIGE": demand, "A_TOKEN": "x", "KEPT": "kept"}
		}
	}
	for _, tt := range obligations() {
		t.Run(tt.name, func(t *testing.T) {
			r := d.Execute(t, daemontest.Bash(tt.command, oblige(tt.demand), daemontest.Session("obliged-"+tt.name)))
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
		for _, demand := range []string{`{"sandbox": {"cpus": 1}}`, `{"exec": {"binaries": ["/bin/ls"]}}`, `{"output": {"redact": ["everything"]}}`, `{"mounts": []}`, `{"sandbox": {"network": "host"}}`} {
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
