package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sandgate/sandgate/policies"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// memoryPolicy decides by all that a session is made with, has used and remembers: the
// rule is another for each.
const memoryPolicy = `package sandgate.profiles.memory

saw := object.filter(input.session, {"id", "kind", "created", "expires", "quota", "usage", "host_labels", "labels", "counts", "seq"})

last := [sprintf("%s %s", [c.tool, c.outcome]) | some c in input.session.recent]

all := sprintf("%v %v", [saw, last])

allow contains {"rule": sprintf("memory-%s", [substring(crypto.sha256(all), 0, 12)]), "message": all} if {
	not input.call.args.command == "no"
}

labels contains "seen"
`

// TestReplayOfSessions has a daemon decide calls of several sessions by what they were
// made with and what they remember, and then decides what
// its journal holds once more by the same policy: nothing may differ, or be a guess.
func TestReplayOfSessions(t *testing.T) {
	daemontest.RequireRoot(t)
	dir := filepath.Join(t.TempDir(), "policy")
	if err := os.CopyFS(dir, policies.FS); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sandgate", "memory.rego"), []byte(memoryPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	d := daemontest.Start(t, "pool: {idle: 1}\npolicy: {dir: "+dir+"}\ncallers: [{match: {uid: 0}, profiles: [memory], admin: true}]\n")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := sessions(t, d).CreateSession(ctx, &sandgatev1.CreateSessionRequest{
		SessionId: "made", Profile: "memory", Ttl: durationpb.New(time.Hour), HostLabels: map[string]string{"team": "a b"},
		Quota: &sandgatev1.SessionQuota{Calls: 100, CpuTime: durationpb.New(time.Minute)},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	calls := 0
	some := func() {
		for _, session := range []daemontest.Option{daemontest.Session("made"), daemontest.Session("first"), daemontest.Session("made")} {
			for _, command := range []string{"true", "no", "exit 3", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"} {
				d.Execute(t, daemontest.Bash(command, session))
				calls++
			}
		}
		sandgate(t, d, "session", "upload", "made", file) // which is no end of what is remembered
	}
	some()
	some()
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	out, errOut, code := d.Sandgate(t, "", "policy", "replay", "--log", filepath.Join(d.DataDir, "journal"), "--candidate", dir, "--fail-on", "changed", "--format", "json")
	var report struct {
		Calls, Same   int
		NotReplayable int            `json:"not_replayable"`
		Approximate   map[string]int `json:"approximate"`
		Groups        json.RawMessage
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v: %q, %q", err, out, errOut)
	}
	if code != 0 || report.Calls != calls || report.Same != calls || report.NotReplayable > 0 || len(report.Approximate) > 0 {
		t.Errorf("exit code %d, %d calls of which %d were replayed and %d the same, guesses %v: %s", code, calls, report.Calls, report.Same, report.Approximate, report.Groups)
	}
}
