package audit

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/journal"
)

func lineOf(t *testing.T, kind journal.Kind, data string) Line {
	t.Helper()
	r := journal.Record{
		Seq: 7, Time: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC), Kind: kind, Caller: "unix:uid:1000", Session: "work", CallID: "c1",
		Data: json.RawMessage(data), Hash: "ab",
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return Line{r, raw}
}

const (
	intentData   = `{"digest":"sha256:1","tool":"bash","args":{"command":"ls -l"},"profile":"open","agent":{"name":"coder"},"peer":{"transport":"unix"},"decision":{"id":"d","outcome":"allow","revision":"r1","reasons":[{"rule":"a.b","message":"fine"}]},"cage":{"sandbox_id":"cell","image":"img"}}`
	outcomeData  = `{"outcome":"EXITED","tool":"bash","digest":"sha256:1","exit_code":2,"is_error":true,"run_ms":12.5}`
	decisionData = `{"outcome":"DENIED","digest":"sha256:1","tool":"bash","peer":{"transport":"unix"},"decision":{"outcome":"deny","reasons":[{"rule":"fs.outside","message":"no"}]}}`
)

// Every event of OCSF has what its class and all classes require.
func TestOCSFHasWhatItsClassesRequire(t *testing.T) {
	base := []string{"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"}
	for _, tt := range []struct {
		kind     journal.Kind
		data     string
		class    float64
		activity float64
		status   float64
		more     []string
	}{
		{journal.KindIntent, intentData, 1007, 1, 1, []string{"actor", "process", "device"}},
		{journal.KindOutcome, outcomeData, 1007, 2, 2, []string{"actor", "process", "device", "exit_code"}},
		{journal.KindDecision, decisionData, 6003, 99, 2, []string{"actor", "api", "src_endpoint", "status_detail"}},
		{journal.KindSession, `{"event":"ended"}`, 6003, 99, 1, []string{"actor", "api", "src_endpoint"}},
		{journal.KindPolicy, `{"source":"dir","error":"bad"}`, 6003, 99, 2, []string{"actor", "api", "src_endpoint"}},
		{journal.KindStart, `{"version":"1"}`, 6002, 3, 1, []string{"app"}},
		{journal.KindStop, ``, 6002, 4, 1, []string{"app"}},
	} {
		line := lineOf(t, tt.kind, tt.data)
		raw, err := Encode(OCSF, line, "1.2.3")
		if err != nil {
			t.Fatal(err)
		}
		var e map[string]any
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatal(err)
		}
		for _, key := range append(tt.more, base...) {
			if e[key] == nil {
				t.Errorf("%s: no %s in %s", tt.kind, key, raw)
			}
		}
		if e["class_uid"] != tt.class || e["activity_id"] != tt.activity || e["type_uid"] != tt.class*100+tt.activity || e["status_id"] != tt.status {
			t.Errorf("%s: class %v, activity %v, type %v, status %v", tt.kind, e["class_uid"], e["activity_id"], e["type_uid"], e["status_id"])
		}
		if e["time"] != float64(line.Record.Time.UnixMilli()) || e["raw_data"] != string(line.JSON) {
			t.Errorf("%s: time %v, raw %v", tt.kind, e["time"], e["raw_data"])
		}
	}
}

func TestOTelIsALogRecord(t *testing.T) {
	line := lineOf(t, journal.KindOutcome, outcomeData)
	raw, err := Encode(OTel, line, "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	var got otelLogs
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	rec := got.ResourceLogs[0].ScopeLogs[0].LogRecords[0]
	attributes := map[string]string{}
	for _, a := range rec.Attributes {
		if a.Value.String != nil {
			attributes[a.Key] = *a.Value.String
		} else {
			attributes[a.Key] = *a.Value.Int
		}
	}
	want := map[string]string{
		"sandgate.seq": "7", "sandgate.hash": "ab", "user.id": "unix:uid:1000", "session.id": "work", "gen_ai.tool.call.id": "c1",
		"gen_ai.tool.name": "bash", "sandgate.outcome": "EXITED", "process.exit.code": "2",
	}
	if diff := cmp.Diff(want, attributes); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if rec.TimeUnixNano != "1767323045678000000" || rec.SeverityNumber != otelWarn || rec.EventName != "sandgate.outcome" || *rec.Body.String != string(line.JSON) {
		t.Errorf("record: %+v", rec)
	}
}

func TestFormsAreKnown(t *testing.T) {
	line := lineOf(t, journal.KindStop, ``)
	if raw, err := Encode(JSONLines, line, ""); err != nil || string(raw) != string(line.JSON) {
		t.Errorf("jsonl: %s %v, want the line as it is", raw, err)
	}
	if _, err := Encode("xml", line, ""); !errdefs.IsInvalidArgument(err) {
		t.Errorf("xml: got %v", err)
	}
}
