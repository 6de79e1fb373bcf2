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
	replaysAlike(t, d, dir, calls)
}

// replaysAlike decides so many calls of the journal once more: nothing may differ, or be a
// guess.
func replaysAlike(t *testing.T, d *daemontest.Daemon, dir string, calls int) {
	t.Helper()
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

// TestReplayOfGrantsAndTerminals has calls run by an approval, by a grant until it is used
// up, and on a terminal, with a daemon that is killed in between.
func TestReplayOfGrantsAndTerminals(t *testing.T) {
	daemontest.RequireRoot(t)
	dir := filepath.Join(t.TempDir(), "policy")
	if err := os.CopyFS(dir, policies.FS); err != nil {
		t.Fatal(err)
	}
	d := daemontest.Start(t, approvalsConfig(t)+"policy: {dir: "+dir+"}\n")
	ann := newApprover(t, d, approverToken)
	decided := 0
	script := func(id, command string) *sandgatev1.ExecuteRequest {
		decided++
		return daemontest.Bash(command, daemontest.Profile("readonly"), daemontest.Session("g"), daemontest.CallID(id))
	}
	first := asks(t, d, script("c1", "sleep 0"))
	ann.approve(t, first.GetApprovalId(), &sandgatev1.GrantTerms{Uses: 3})
	runs(t, d, script("c1", "sleep 0"), "")
	used := func(id string) {
		t.Helper()
		if g := runs(t, d, script(id, "sleep 0"), "").GetDecision().GetGrants(); len(g) != 1 {
			t.Errorf("%s ran by the grants %v, want one", id, g)
		}
	}
	terminal := func(id string) {
		t.Helper()
		k := talk(t, d, &sandgatev1.ExecuteStart{Call: script(id, "ls").GetCall(), Stdin: true, Terminal: &sandgatev1.Terminal{Term: "vt100"}})
		if res, err := k.end(); err != nil || res.GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED {
			t.Fatalf("on a terminal: %v (%s), %v", res.GetOutcome(), res.GetMessage(), err)
		}
	}
	used("c2")
	terminal("t1")
	if err := d.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	used("c3")
	terminal("t2")
	used("c4")
	asks(t, d, script("c5", "sleep 0")) // it is used up
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	replaysAlike(t, d, dir, decided)
}
