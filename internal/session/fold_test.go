package session

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/journal"
)

// past is a journal: each line is a kind, a session and the data, a second after
// the one before.
func past(t *testing.T, f *Fold, lines ...string) {
	t.Helper()
	for i, line := range lines {
		kind, rest, _ := strings.Cut(line, " ")
		id, data, _ := strings.Cut(rest, " ")
		rec := journal.Record{Seq: int64(i + 1), Time: time.Unix(int64(i), 0).UTC(), Kind: journal.Kind(kind), Caller: "c", Session: id, Data: json.RawMessage(data)}
		if err := f.Apply(rec); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
}

// history has something of everything.
var history = []string{
	`start`,
	`session made {"event":"created","profile":"readonly","terms":{"kind":"ephemeral","host_labels":{"a":"b"},"ttl_ns":5}}`,
	`intent s {"digest":"d1","tool":"bash","profile":"open","decision":{"labels":["read:secrets"]}}`,
	`outcome s {"digest":"d1","outcome":"EXITED","usage":{"cpu_user_ms":1.5,"cpu_system_ms":0.25}}`,
	`decision s {"digest":"d2","tool":"bash","profile":"open","outcome":"DENIED","decision":{"labels":["not this"]}}`,
	`decision s {"digest":"d3","tool":"bash","profile":"open","outcome":"APPROVAL_REQUIRED"}`,
	`intent s {"digest":"d4","tool":"bash","profile":"open"}`,
	`intent gone {"digest":"d5","tool":"bash","profile":"open"}`,
	`session gone {"event":"ended","reason":"idle"}`,
	`outcome gone {"digest":"d5","outcome":"EXITED"}`,
	`session kept {"event":"created","profile":"open","terms":{"kind":"directory","dir":"/srv/x"}}`,
}

func TestFold(t *testing.T) {
	f := NewFold()
	past(t, f, history...)
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	want := map[string]State{
		"made": {
			Caller: "c", ID: "made", Profile: "readonly", Created: at(1), LastUsed: at(1), Counts: map[string]int{},
			Terms: &Terms{Kind: Ephemeral, HostLabels: map[string]string{"a": "b"}, TTL: 5},
		},
		"s": {
			Caller: "c", ID: "s", Profile: "open", Created: at(2), LastUsed: at(6), Seq: 4, CPU: 1750 * time.Microsecond,
			Counts: map[string]int{"allow": 2, "deny": 1, "ask": 1}, Labels: []string{"read:secrets"},
			Recent: []Recent{
				{1, "bash", "EXITED", "d1", at(2)},
				{2, "bash", "DENIED", "d2", at(4)},
				{3, "bash", "APPROVAL_REQUIRED", "d3", at(5)},
				{4, "bash", "UNKNOWN", "d4", at(6)},
			},
		},
		"kept": {
			Caller: "c", ID: "kept", Profile: "open", Created: at(10), LastUsed: at(10), Counts: map[string]int{}, Terms: &Terms{Kind: Directory, Dir: "/srv/x"},
		},
	}
	got := map[string]State{}
	for n, s := range f.open {
		got[n.id] = *s
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sessions (-want +got):\n%s", diff)
	}
	if want := []End{{Caller: "c", ID: "gone", At: at(8), Reason: "idle", Kind: Persistent}}; cmp.Diff(want, f.ends) != "" {
		t.Errorf("ends: %+v", f.ends)
	}
}

func TestSnapshotIsTheFold(t *testing.T) {
	f := NewFold()
	past(t, f, history...)
	var first, second bytes.Buffer
	if err := f.Save(&first); err != nil {
		t.Fatal(err)
	}
	loaded := NewFold()
	past(t, loaded, `intent other {"profile":"p"}`) // which Load replaces
	if err := loaded.Load(bytes.NewReader(first.Bytes())); err != nil {
		t.Fatal(err)
	}
	if err := loaded.Save(&second); err != nil {
		t.Fatal(err)
	}
	if first.String() != second.String() {
		t.Errorf("saved %s\nloaded and saved %s", &first, &second)
	}
	past(t, loaded, `intent s {"digest":"d9","tool":"bash","profile":"open"}`) // and it goes on
	if s := loaded.open[name{"c", "s"}]; s.Seq != 5 {
		t.Errorf("after one more call: %+v", s)
	}
	for _, bad := range []string{"", "{", `{"v":99}`, `{"v":1,"open":[{}]}`, `{"v":1,"open":[null]}`} {
		if err := loaded.Load(strings.NewReader(bad)); err == nil || len(loaded.open)+len(loaded.ends) != 0 {
			t.Errorf("%q: got %v and %d sessions, want an error and none", bad, err, len(loaded.open))
		}
	}
}

func TestManagerOfAFold(t *testing.T) {
	f := NewFold()
	past(t, f, history...)
	dir := t.TempDir()
	for _, id := range []string{"made", "gone", "s"} { // a crash has left the files of the ended
		if err := os.MkdirAll(filepath.Join(dir, Key("c", id), "workspace"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, left := range []string{filepath.Join(trashPrefix+"1", "x"), filepath.Join(Key("c", "s"), "workspace.making", "x")} {
		if err := os.MkdirAll(filepath.Join(dir, left), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	m := manager(t, Config{Dir: dir, Fold: f, Now: func() time.Time { return time.Unix(20, 0) }})
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != Key("c", "s") {
		t.Errorf("left are %v (%v), want the files of s alone", left, err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, Key("c", "s"))); err != nil || len(left) != 1 {
		t.Errorf("of s there is %v (%v), want its workspace", left, err)
	}
	if got, ok, err := m.Peek("c", "s"); !ok || err != nil || got.Seq != 4 || got.Labels[0] != "read:secrets" {
		t.Errorf("s: %+v %t %v", got, ok, err)
	}
	if got := m.WorkspaceDir("c", "kept"); got != "/srv/x" {
		t.Errorf("the bound directory is %s", got)
	}
	if _, _, err := m.Peek("c", "made"); err == nil || !strings.Contains(err.Error(), "ephemeral") {
		t.Errorf("an ephemeral session outlived the daemon: %v", err)
	}
}

func TestRestartEndsEphemeralSessions(t *testing.T) {
	f := NewFold()
	past(t, f, append(history, `start`)...)
	if s := f.open[name{"c", "made"}]; s != nil {
		t.Errorf("still open: %+v", s)
	}
	if e := f.ends[len(f.ends)-1]; e.ID != "made" || e.Reason != EndedRestart {
		t.Errorf("ends: %+v", f.ends)
	}
}

// TestHalfMadeSessionHasNeverBeen: the daemon died before its workspace was what it
// was to be.
func TestHalfMadeSessionHasNeverBeen(t *testing.T) {
	f := NewFold()
	past(t, f, `start`,
		`session half {"event":"created","profile":"open","making":true,"from":"s"}`,
		`session whole {"event":"created","profile":"open","making":true,"from":"s"}`,
		`session whole {"event":"made"}`,
		`session older {"event":"created","profile":"open","from":"s"}`)
	var saved bytes.Buffer
	if err := f.Save(&saved); err != nil {
		t.Fatal(err)
	}
	if err := f.Load(&saved); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, Key("c", "half"), "workspace"), 0o700); err != nil {
		t.Fatal(err)
	}
	m := manager(t, Config{Dir: dir, Fold: f})
	if _, err := m.Get("c", "half"); err == nil || !strings.Contains(err.Error(), "could not get its workspace") {
		t.Errorf("half: got %v", err)
	}
	for _, id := range []string{"whole", "older"} {
		if _, err := m.Get("c", id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left are %v (%v)", left, err)
	}
}

func TestEndsAreBounded(t *testing.T) {
	f := NewFold()
	for i := range maxEnds + 10 {
		f.end(name{"c", time.Duration(i).String()}, EndedClosed, time.Unix(int64(i), 0))
	}
	if len(f.ends) != maxEnds || f.ends[0].ID != "10ns" {
		t.Errorf("%d ends from %s", len(f.ends), f.ends[0].ID)
	}
}
