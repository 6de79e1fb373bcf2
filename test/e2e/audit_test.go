package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandgate/sandgate/test/daemontest"
)

func TestJournalIsAskedProvenAndVerified(t *testing.T) {
	daemontest.RequireRoot(t)
	d := daemontest.Start(t, "pool: {idle: 1}\ncallers: [{match: {uid: 0}, profiles: [open], admin: true}]\njournal: {checkpoint_interval: 100ms}\n")
	for range 3 {
		d.Execute(t, daemontest.Bash("echo hello"))
	}
	var kinds []string
	for line := range strings.SplitSeq(strings.TrimSpace(sandgate(t, d, "audit", "query", "--caller", "unix:uid:0", "--tool", "bash", "--json")), "\n") {
		var r struct {
			Kind string `json:"kind"`
			Seq  int64  `json:"seq"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		kinds = append(kinds, r.Kind)
	}
	if n := strings.Count(strings.Join(kinds, " "), "intent"); n != 3 {
		t.Errorf("kinds of bash's records: %v, want 3 intents", kinds)
	}
	if table := sandgate(t, d, "audit", "query", "--kind", "outcome"); strings.Count(table, "EXITED") != 3 {
		t.Errorf("table of outcomes:\n%s", table)
	}
	if events := sandgate(t, d, "audit", "export", "--form", "ocsf"); !strings.Contains(events, `"class_uid":1007`) {
		t.Errorf("events: %s", events)
	}
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(sandgate(t, d, "audit", "key")), 0o600); err != nil {
		t.Fatal(err)
	}
	saved := filepath.Join(t.TempDir(), "checkpoint")
	if out := sandgate(t, d, "audit", "verify", "--key", key, "--save", saved); !strings.Contains(out, "signed checkpoint counts") {
		t.Errorf("verify: %s", out)
	}
	d.Execute(t, daemontest.Bash("echo more"))
	sandgate(t, d, "audit", "verify", "--key", key, "--checkpoint", saved)
	sandgate(t, d, "audit", "show", "1", "--key", key)

	dir := filepath.Join(d.DataDir, "journal")
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	sandgate(t, d, "audit", "verify", "--dir", dir, "--key", key, "--checkpoint", saved)
	path := filepath.Join(dir, "journal.jsonl")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(raw), "echo hello", "echo hullo", 1)
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	_, problem, code := d.Sandgate(t, "", "audit", "verify", "--dir", dir, "--key", key)
	if code != 3 || !strings.Contains(problem, path+", line ") {
		t.Errorf("a changed journal: exit code %d, %s; want 3 and the place", code, problem)
	}
}
