package telemetry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/sandgate/sandgate/internal/admission"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/sandbox"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// course is a call of 100 ms of which 60 are the sandbox's, which tells of 50.
func course() *Trace {
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	t := &Trace{}
	t.Begin(at(0))
	t.Mark(Validate, at(10))
	t.Mark(Facts, at(15))
	t.Mark(Decide, at(20))
	for _, step := range []sandbox.Step{{Name: "claim", Took: 10 * time.Millisecond}, {Name: "ready", Took: 5 * time.Millisecond}, {Name: "run", Took: 35 * time.Millisecond}} {
		t.Add(StepStage(step.Name), step.Took)
	}
	t.Mark(Sandbox, at(80))
	t.Mark(RecordOutcome, at(99))
	t.Mark(Finish, at(100))
	return t
}

// decision is a call of 6 ms that is only decided.
func decision() *Trace {
	t := &Trace{}
	t.Begin(epoch)
	now := epoch
	for i, s := range []Stage{Validate, Facts, Decide} {
		now = now.Add(time.Duration(i+1) * time.Millisecond)
		t.Mark(s, now)
	}
	return t
}

func TestStagesAddUpToTheTotal(t *testing.T) {
	tr := course()
	var sum time.Duration
	for s := range stages {
		sum += tr.Of(s)
	}
	if sum != tr.Total() || tr.Total() != 100*time.Millisecond {
		t.Errorf("the stages are %s, the total %s, want 100ms both", sum, tr.Total())
	}
	for stage, want := range map[Stage]time.Duration{
		Claim: 10 * time.Millisecond, RecordIntent: 5 * time.Millisecond, Run: 35 * time.Millisecond, Sandbox: 10 * time.Millisecond, Queue: 0,
	} {
		if got := tr.Of(stage); got != want {
			t.Errorf("%s: got %s, want %s", stage, got, want)
		}
	}
}

func TestACallOfManyRoundsStaysWithinATrace(t *testing.T) {
	tr := &Trace{}
	tr.Begin(epoch)
	now := epoch
	for range 10 * maxSegments {
		for _, s := range []Stage{Facts, Decide} {
			now = now.Add(time.Millisecond)
			tr.Mark(s, now)
		}
	}
	if tr.Total() != now.Sub(epoch) || tr.Of(Facts)+tr.Of(Decide) != tr.Total() {
		t.Errorf("total %s, stages %s and %s, want %s", tr.Total(), tr.Of(Facts), tr.Of(Decide), now.Sub(epoch))
	}
}

func TestNamesAreThereAndDiffer(t *testing.T) {
	seen := map[string]bool{}
	for s := range stages {
		if s.String() == "" || seen[s.String()] {
			t.Errorf("stage %d is called %q", s, s)
		}
		seen[s.String()] = true
	}
	for c := range classes {
		if c.String() == "" || c.String() == "unknown" {
			t.Errorf("class %d is called %q", c, c)
		}
	}
	for _, tt := range []struct {
		outcome string
		isError bool
		err     error
		want    Class
	}{
		{"EXITED", false, nil, OK},
		{"EXITED", true, nil, Failed},
		{"TIMED_OUT", true, nil, Failed},
		{"UNKNOWN", true, io.EOF, Failed},
		{"DENIED", true, nil, Refused},
		{"APPROVAL_REQUIRED", true, nil, Refused},
		{"", false, io.EOF, Error},
	} {
		if got := ClassOf(tt.outcome, tt.isError, tt.err); got != tt.want {
			t.Errorf("%s %v %v: got %s, want %s", tt.outcome, tt.isError, tt.err, got, tt.want)
		}
	}
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("scrape: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no line %q in the metrics", line)
		}
	}
}

func TestMetricsTellOfCalls(t *testing.T) {
	m := NewMetrics()
	r := NewRecorder(m, nil)
	r.Ended(t.Context(), course(), Call{Class: OK, Outcome: "EXITED", Tool: "bash", CallID: "secret-name"})
	r.Ended(t.Context(), course(), Call{Class: Error, Tool: "bash"})
	r.Ended(t.Context(), course(), Call{Class: Failed, Outcome: "NEVER_HEARD_OF"})
	r.Replayed()
	r.Evaluated(t.Context(), *decision(), Call{Class: Refused})
	r.Evaluated(t.Context(), *decision(), Call{Class: Error})
	r.EvaluateRequest(time.Millisecond, 2*time.Millisecond)
	r.Request(time.Millisecond, 2*time.Millisecond, OK)
	r.Committed(3, time.Millisecond)
	got := scrape(t, m)
	wantLines(
		t, got, `sandgate_call_stage_seconds_sum{class="ok",stage="claim"} 0.01`,
		`sandgate_call_stage_seconds_count{class="ok",stage="queue"} 0`,
		`sandgate_call_stage_seconds_sum{class="ok",stage="reply"} 0.002`, `sandgate_call_seconds_sum{class="ok"} 0.1`,
		`sandgate_calls_total{outcome="EXITED"} 1`, `sandgate_calls_total{outcome="ERROR"} 1`, `sandgate_calls_total{outcome="OTHER"} 1`,
		`sandgate_calls_replayed_total 1`, `sandgate_evaluate_seconds_sum 0.006`, `sandgate_evaluate_seconds_count 1`, `sandgate_evaluate_stage_seconds_sum{stage="decide"} 0.003`,
		`sandgate_evaluate_stage_seconds_sum{stage="reply"} 0.002`, `sandgate_evaluate_stage_seconds_count{stage="finish"} 0`, `sandgate_journal_commit_records_sum 3`,
	)
	if strings.Contains(got, "secret-name") || strings.Contains(got, "NEVER_HEARD_OF") {
		t.Error("a label holds what a caller can choose")
	}
}

func TestMetricsTellOfTheParts(t *testing.T) {
	m := NewMetrics()
	m.Watch(Sources{
		Pools: func() []sandbox.Pool {
			return []sandbox.Pool{{Image: "host", Isolation: "runc", Fresh: 2, Busy: 3, Waiting: 1, Target: 4, Made: 9, Dry: 5}}
		},
		Admission: func() admission.State {
			return admission.State{Running: 3, Waiting: 7, WaitingCallers: 2, Beginning: 1, Slots: 4, Used: admission.Resources{Calls: 3, CPUMillis: 3000}, Budget: admission.Resources{Calls: 4, CPUMillis: 8000, MemoryBytes: 1 << 30}, Refused: 6}
		},
		Journal: func() journal.State {
			return journal.State{Bytes: 100, Records: 10, Err: errors.New("disk is gone"), Full: errors.New("no room")}
		},
		Sessions: func() int { return 11 },
	})
	wantLines(
		t, scrape(t, m), `sandgate_pool_cells{image="host",isolation="runc",state="fresh"} 2`,
		`sandgate_pool_cells_total{event="dry",image="host",isolation="runc"} 5`, `sandgate_pool_waiting_calls{image="host",isolation="runc"} 1`,
		`sandgate_admission_calls{state="waiting"} 7`, `sandgate_admission_budget{resource="memory_bytes"} 1.073741824e+09`,
		`sandgate_admission_used{resource="slots"} 1`, `sandgate_admission_budget{resource="slots"} 4`,
		`sandgate_admission_calls_total{event="refused"} 6`, `sandgate_journal_bytes 100`, `sandgate_journal_failing 1`, `sandgate_journal_full 1`, `sandgate_sessions 11`,
	)
}

// traced returns a recorder whose spans can be read once flush was called.
func traced(t testing.TB, ratio float64) (r *Recorder, spans func() tracetest.SpanStubs) {
	t.Helper()
	memory := tracetest.NewInMemoryExporter()
	tr := newTracing(sdktrace.NewSimpleSpanProcessor(memory), TracingOptions{SampleRatio: ratio})
	t.Cleanup(func() {
		if err := tr.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return NewRecorder(nil, tr), memory.GetSpans
}

func TestSpansOfACallAreInTheTraceOfItsCaller(t *testing.T) {
	r, spans := traced(t, 1)
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx := r.Remote(t.Context(), func(key string) string {
		if key == "traceparent" {
			return parent
		}
		return ""
	})
	r.Ended(ctx, course(), Call{Class: OK, Outcome: "EXITED", Tool: "bash", CallID: "c1"})
	got := spans()
	whole := got[len(got)-1]
	if whole.Name != "tool_call" || whole.SpanContext.TraceID().String() != parent[3:35] || whole.Parent.SpanID().String() != parent[36:52] {
		t.Fatalf("the call is %s in %s under %s, want it under %s", whole.Name, whole.SpanContext.TraceID(), whole.Parent.SpanID(), parent)
	}
	var sum time.Duration
	for _, s := range got[:len(got)-1] {
		if s.Parent.SpanID() != whole.SpanContext.SpanID() {
			t.Errorf("%s is not under the call", s.Name)
		}
		sum += s.EndTime.Sub(s.StartTime)
	}
	if total := whole.EndTime.Sub(whole.StartTime); sum != total || total != 100*time.Millisecond || !whole.StartTime.Equal(epoch) {
		t.Errorf("stages of %s in a call of %s, want 100ms both", sum, total)
	}
}

// TestSpansTellOfTheFront: whoever ends the span, it has what the request took before the
// gate, and after it unless the request was answered before the call had ended.
func TestSpansTellOfTheFront(t *testing.T) {
	received, answered := epoch.Add(-2*time.Millisecond), epoch.Add(103*time.Millisecond)
	for _, tt := range []struct {
		name    string
		tell    func(r *Recorder, q *Request)
		want    string
		from    time.Time
		to      time.Time
		nothing bool // before the answer
	}{
		{"a call", func(r *Recorder, q *Request) {
			r.Ended(q.In(t.Context()), course(), Call{Class: OK, Outcome: "EXITED"})
		}, "receive validate facts decide claim record_intent run sandbox record_outcome finish reply tool_call ", received, answered, true},
		{"a call that is decided", func(r *Recorder, q *Request) {
			r.Evaluated(q.In(t.Context()), *decision(), Call{Class: OK})
		}, "receive validate facts decide reply evaluate ", received, answered, true},
		{"a decision that failed", func(r *Recorder, q *Request) {
			r.Evaluated(q.In(t.Context()), *decision(), Call{Class: Error})
		}, "receive validate facts decide reply evaluate ", received, answered, true},
		{"a call that goes on alone", func(r *Recorder, q *Request) {
			q.Replied(epoch)
			r.Evaluated(q.In(t.Context()), *decision(), Call{Class: OK})
		}, "receive validate facts decide evaluate ", received, epoch.Add(6 * time.Millisecond), false},
		{"a call without a request", func(r *Recorder, _ *Request) {
			r.Evaluated(t.Context(), *decision(), Call{Class: OK})
		}, "validate facts decide evaluate ", epoch, epoch.Add(6 * time.Millisecond), false},
		{"a request without a call", func(*Recorder, *Request) {}, "", received, answered, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, spans := traced(t, 1)
			q := r.Received(received)
			tt.tell(r, q)
			wholes := func() (n int) {
				for _, s := range spans() {
					if !s.Parent.IsValid() {
						n++
					}
				}
				return n
			}
			if n := wholes(); tt.nothing == (n > 0) {
				t.Errorf("%d spans have ended before the answer", n)
			}
			q.Replied(answered)
			names, sum := "", time.Duration(0)
			for _, s := range spans() {
				names += s.Name + " "
				if s.Parent.IsValid() {
					sum += s.EndTime.Sub(s.StartTime)
				} else if !s.StartTime.Equal(tt.from) || !s.EndTime.Equal(tt.to) {
					t.Errorf("%s is from %s to %s, want %s to %s", s.Name, s.StartTime, s.EndTime, tt.from, tt.to)
				}
			}
			if names != tt.want {
				t.Errorf("got the spans %s, want %s", names, tt.want)
			}
			if whole := tt.to.Sub(tt.from); names != "" && sum != whole {
				t.Errorf("the stages are %s of %s", sum, whole)
			}
		})
	}
}

func TestACallerThatDidNotSampleIsHeeded(t *testing.T) {
	r, spans := traced(t, 1)
	ctx := r.Remote(t.Context(), func(key string) string {
		return map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}[key]
	})
	r.Ended(ctx, course(), Call{Class: OK, Outcome: "EXITED"})
	if got := spans(); len(got) != 0 {
		t.Errorf("got %d spans, want none", len(got))
	}
}

func TestNothingConfiguredMeasuresNothing(t *testing.T) {
	r := NewRecorder(nil, nil)
	r.Ended(t.Context(), course(), Call{})
	r.Replayed()
	r.Evaluated(t.Context(), Trace{}, Call{})
	r.EvaluateRequest(1, 1)
	r.Request(1, 1, OK)
	q := r.Received(epoch)
	q.Replied(epoch)
	r.Committed(1, 1)
	if ctx := t.Context(); r.Remote(ctx, nil) != ctx || q.In(ctx) != ctx {
		t.Error("the context was changed")
	}
}

func TestTracingNeedsNoCollectorToStart(t *testing.T) {
	if _, err := NewTracing(t.Context(), TracingOptions{SampleRatio: 1}); err == nil {
		t.Error("without an address: got no error")
	}
	tr, err := NewTracing(t.Context(), TracingOptions{Address: "127.0.0.1:1", Insecure: true, SampleRatio: 1})
	if err != nil {
		t.Fatal(err)
	}
	NewRecorder(nil, tr).Ended(t.Context(), course(), Call{Class: OK, Outcome: "EXITED"})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := tr.Close(ctx); err == nil {
		t.Error("close: got no error though nobody took the spans")
	}
}

// What a call pays: the marks, with the clock, and what is done at its end.
func BenchmarkCall(b *testing.B) {
	spans, _ := traced(b, 1e-9)
	for name, r := range map[string]*Recorder{"nothing": nil, "metrics": NewRecorder(NewMetrics(), nil), "tracing unsampled": spans} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var t Trace
			for b.Loop() {
				t.Begin(time.Now())
				for s := Validate; s < Claim; s++ {
					t.Mark(s, time.Now())
				}
				for s := Claim; s < Sandbox; s++ {
					t.Add(s, 1)
				}
				t.Mark(Sandbox, time.Now())
				t.Mark(RecordOutcome, time.Now())
				t.Mark(Finish, time.Now())
				r.Ended(b.Context(), &t, Call{Class: OK, Outcome: "EXITED"})
			}
		})
	}
}
