package main

import (
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/policy"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/bench/report"
	"github.com/sandgate/sandgate/test/daemontest"
)

// TestMain has the test's program be the least daemon, too, as the benchmark's is.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == leastArg {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestQuickRunIsComplete runs the whole matrix with few operations. It looks at
// whether every table is there and its figures can be true, never at speed.
func TestQuickRunIsComplete(t *testing.T) {
	daemontest.RequireRoot(t)
	dir := t.TempDir()
	o := options{quick: true, json: filepath.Join(dir, "r.json"), table: filepath.Join(dir, "R.md")}
	var progress strings.Builder
	if err := run(t.Context(), o, io.Discard, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	r, err := report.Read(o.json)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range r.Skipped {
		t.Logf("not measured: %s: %s", n.What, n.Reason)
	}
	gvisor := !slices.ContainsFunc(r.Skipped, func(n report.Note) bool { return n.What == "gVisor" })
	wantCells := map[string]int{
		report.GroupCommands: len(jobs()), report.GroupClients: 5, report.GroupReuse: 3, report.GroupDecide: 2*len(decidedCalls()) + 4,
		report.GroupFloors: 4, report.GroupRules: 3 * len(quickSize().rules), report.GroupNeighbours: len(abusers()), report.GroupSessions: len(quickSize().sessions), report.GroupIdle: 1,
	}
	if gvisor {
		wantCells[report.GroupIsolation] = 6
	}
	got := map[string]int{}
	for i := range r.Cells {
		got[r.Cells[i].Group]++
		checkCell(t, &r.Cells[i])
	}
	if got[report.GroupPeers] < 2 || got[report.GroupCells] < 3 {
		t.Errorf("got %d cells of peers and %d of new cells, want at least runc, containerd and full, dry, cold", got[report.GroupPeers], got[report.GroupCells])
	}
	delete(got, report.GroupPeers)
	delete(got, report.GroupCells)
	if diff := cmp.Diff(wantCells, got); diff != "" {
		t.Errorf("cells of each group: -want +got:\n%s", diff)
	}
	checkMemory(t, r)
	for _, part := range []string{report.ArmFloor, report.ArmSandgate, report.ArmEmpty, report.ArmWalls, report.ArmRecords, report.ArmDecision, report.ArmLeast} {
		if s := r.Find(report.GroupFloors, report.CellBash, 1, 0).Arm(part); s == nil || s.CPU() <= 0 {
			t.Errorf("floors: %s: got %+v, want a series with processor time", part, s)
		}
	}
	checkStages(t, r)
	if r.Machine.Cores == 0 || r.Machine.MemoryBytes == 0 || r.Ended.Before(r.Began) {
		t.Errorf("machine %+v", r.Machine)
	}
	wantVersions := []string{"sandgate", "Go", "containerd", "runc"}
	if gvisor {
		wantVersions = append(wantVersions, "gVisor")
	}
	checkVersions(t, r.Versions, wantVersions...)
}

// checkVersions wants a version of each program that tells it from others.
func checkVersions(t *testing.T, versions []report.Version, want ...string) {
	t.Helper()
	for _, name := range want {
		i := slices.IndexFunc(versions, func(v report.Version) bool { return v.Name == name })
		if i < 0 || !strings.ContainsAny(versions[i].Version, "0123456789") || strings.Contains(versions[i].Version, "(devel)") {
			t.Errorf("versions: got %+v, want one of %s", versions, name)
		}
	}
}

// TestVersionsAreThoseOfTheBinaries needs no root, but the programs.
func TestVersionsAreThoseOfTheBinaries(t *testing.T) {
	dir, err := daemontest.BinDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range built {
		if _, err := os.Stat(filepath.Join(dir, p.program)); err != nil {
			t.Skipf("%v: `make build runtimes` builds it", err)
		}
	}
	got, err := versions(dir)
	if err != nil {
		t.Fatal(err)
	}
	checkVersions(t, got, "sandgate", "Go", "containerd", "runc", "gVisor")
	for _, v := range got {
		if strings.Contains(v.Version, "SHA-256") && v.Name != "sandgate" {
			t.Errorf("%s: got %q, want the version of its module", v.Name, v.Version)
		}
	}
}

// checkStages looks at what holds at any speed: the rows of the timelines add up to what
// the client waited, and hardly anything in them is of no stage.
func checkStages(t *testing.T, r *report.Run) {
	t.Helper()
	bands := 0
	for i := range r.Stages {
		s := &r.Stages[i]
		if s.Calls == 0 || s.Seen <= 0 || len(s.Stages) < 2 || s.Explained <= 0 || s.Explained > 1.2 {
			t.Errorf("stages of %s (%s): %+v", s.Name, s.Source, s)
		}
		if s.Band == nil {
			continue
		}
		bands++
		told, rest := s.Sums()
		if off := float64(told+rest)/float64(s.Seen) - 1; math.Abs(off) > 0.3 || math.Abs(float64(rest)) > 0.05*float64(told) {
			t.Errorf("timelines of %s: stages of %v, %v of no stage, p50 %v: want them to add up to it, and hardly any of no stage", s.Name, told, rest, s.Seen)
		}
	}
	if bands != 2 {
		t.Errorf("got %d tables of timelines, want one of the commands and one of the floors", bands)
	}
}

func checkCell(t *testing.T, c *report.Cell) {
	t.Helper()
	if c.Group == report.GroupNeighbours && c.Counts[harmCalls] == 0 {
		t.Errorf("%s: %s: no call of the abuser was counted: %v", c.Group, c.Name, c.Counts)
	}
	if c.Base != "" && c.Arm(c.Base) == nil {
		t.Errorf("%s: %s: no series %q", c.Group, c.Name, c.Base)
	}
	for i := range c.Series {
		s := &c.Series[i]
		if len(s.Reps) != quickSize().plan.Reps {
			t.Errorf("%s: %s: %s: %d repetitions, want %d", c.Group, c.Name, s.Name, len(s.Reps), quickSize().plan.Reps)
		}
		for _, rep := range s.Reps {
			if len(rep.Latencies) == 0 || rep.Wall <= 0 || slices.Min(rep.Latencies) <= 0 || slices.Max(rep.Latencies) > time.Minute {
				t.Errorf("%s: %s: %s: %d latencies in %v", c.Group, c.Name, s.Name, len(rep.Latencies), rep.Wall)
			}
		}
	}
}

func checkMemory(t *testing.T, r *report.Run) {
	t.Helper()
	if len(r.Memory) != 2+2*len(quickSize().sessions) {
		t.Errorf("memory: got %d rows", len(r.Memory))
	}
	for _, m := range r.Memory {
		sum := int64(0)
		for _, p := range m.Parts {
			sum += p.Bytes
		}
		if m.Name == report.MemoryIdle {
			if m.Bytes < 1 || m.Bytes > 1<<30 {
				t.Errorf("memory of idle sessions: %d bytes", m.Bytes)
			}
			continue
		}
		if m.Bytes < 1<<20 || m.Bytes > 1<<30 || len(m.Parts) > 0 && sum != m.Bytes {
			t.Errorf("memory of %s: %d bytes, parts %+v", m.Name, m.Bytes, m.Parts)
		}
	}
}

func TestPoliciesAndToolsOfTheBenchmarkLoad(t *testing.T) {
	for _, kind := range []string{rulesForTools, rulesForCommands, rulesForArguments} {
		dir := filepath.Join(t.TempDir(), "policy")
		err := errors.Join(writePolicy(dir, profileNever, profileCaller, profileGVisor, profileLarge), writeRules(dir, kind, 3))
		if err != nil {
			t.Fatal(err)
		}
		engine, err := policy.New(t.Context(), policy.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := engine.Ready(); err != nil {
			t.Errorf("rules for a %s: %v", kind, err)
		}
		for _, p := range []string{profileOpen, profileNever, profileCaller, profileGVisor, profileLarge} {
			if !slices.Contains(engine.Status().Profiles, p) {
				t.Errorf("profiles: got %v, want %s", engine.Status().Profiles, p)
			}
		}
	}
	dir := filepath.Join(t.TempDir(), "tools")
	if err := writeTools(dir); err != nil {
		t.Fatal(err)
	}
	c, err := catalog.New(catalog.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range tools {
		if _, err := c.Lookup(tool.name); err != nil {
			t.Error(err)
		}
	}
}

func TestStagesOfResultsAddUp(t *testing.T) {
	d := func(decide, queue, start, run, total time.Duration) *sandgatev1.Durations {
		p := durationpb.New
		return &sandgatev1.Durations{Decide: p(decide), Queue: p(queue), Start: p(start), Run: p(run), Total: p(total)}
	}
	got := stagesOfResults("x", []time.Duration{100, 100}, []*sandgatev1.Durations{d(10, 0, 20, 30, 80), d(20, 0, 20, 30, 90)})
	if got.Seen != 100 || got.Calls != 2 || math.Abs(got.Explained-0.65) > 1e-9 {
		t.Errorf("got %+v, want 100 seen and 65 %% explained", got)
	}
	if outside := got.Stages[len(got.Stages)-1].Took; outside != 10 {
		t.Errorf("outside of the gate: got %v, want the lower median of 20 and 10", outside)
	}
}

func TestStagesAreReadFromMetrics(t *testing.T) {
	text := `# HELP sandgate_call_stage_seconds Time of each stage.
sandgate_call_stage_seconds_bucket{stage="decide",le="0.1"} 2
sandgate_call_stage_seconds_sum{stage="decide"} 0.5
sandgate_call_stage_seconds_count{stage="decide"} 2
sandgate_call_stage_seconds_sum{tool="bash",stage="run"} 1.5
sandgate_call_stage_seconds_count{tool="bash",stage="run"} 1
sandgate_call_stage_seconds_sum{tool="python",stage="run"} 0.5
sandgate_evaluate_stage_seconds_sum{stage="decide"} 0.25
sandgate_evaluate_stage_seconds_count{stage="decide"} 5
go_goroutines 12
`
	got := parseStageSums(text)
	want := map[string]stageSum{"decide": {0.5, 2}, "run": {2, 1}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(stageSum{})); diff != "" {
		t.Fatalf("-want +got:\n%s", diff)
	}
	second := time.Second
	s := stagesOfMetrics("x", []time.Duration{2 * second, 2 * second}, map[string]stageSum{"run": {1, 0}}, got)
	if s.Explained != 0.375 || s.Seen != 2*second || s.Stages[0].Name != "run" {
		t.Errorf("got %+v, want 37.5 %% explained, run first", s)
	}
}

func TestOnlyWholeRunsAreKept(t *testing.T) {
	for _, tt := range []struct {
		args        []string
		json, table string
	}{
		{nil, "r.json", "R.md"},
		{[]string{"-quick"}, "", ""},
		{[]string{"-only", "decide", "-table", "T.md"}, "", "T.md"},
		{[]string{"-read", "old.json"}, "", ""},
		{[]string{"-quick", "-json", "q.json"}, "q.json", ""},
	} {
		var o options
		flags := flag.NewFlagSet("bench", flag.ContinueOnError)
		flags.BoolVar(&o.quick, "quick", false, "")
		flags.StringVar(&o.json, "json", "r.json", "")
		flags.StringVar(&o.table, "table", "R.md", "")
		flags.StringVar(&o.read, "read", "", "")
		flags.StringVar(&o.only, "only", "", "")
		if err := flags.Parse(tt.args); err != nil {
			t.Fatal(err)
		}
		if o.keepOnlyWholeRuns(flags); o.json != tt.json || o.table != tt.table {
			t.Errorf("%v: files %q and %q, want %q and %q", tt.args, o.json, o.table, tt.json, tt.table)
		}
	}
}
