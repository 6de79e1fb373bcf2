package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/journal"
)

var began = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// sample is the record of that number: kinds, callers and so on take turns.
func sample(i int) journal.Entry {
	kinds := []journal.Kind{journal.KindIntent, journal.KindOutcome, journal.KindDecision}
	data := map[string]any{
		"digest": fmt.Sprintf("sha256:%064d", i), "nested": map[string]any{"tool": "not this", "list": []any{1, "},{", "\"tool\":\"x\""}},
		"tool": []string{"bash", "read_file", "write_file", "grep"}[i%4], "text": strings.Repeat("ordinary text ", 10),
	}
	if i%3 != 0 {
		data["outcome"] = []string{"EXITED", "DENIED"}[i%2]
	}
	e := journal.Entry{
		Kind: kinds[i%3], Caller: fmt.Sprint("unix:uid:", i%7), Session: fmt.Sprint("s", i%11), CallID: fmt.Sprint("call-", i), Data: data,
	}
	if i%13 == 0 {
		e.Caller = "token:<é>"
	}
	return e
}

// written makes a journal of n samples a second apart over several segments.
func written(t *testing.T, n int) (*journal.Journal, *Log) {
	t.Helper()
	now := began
	j, err := journal.Open(filepath.Join(t.TempDir(), "j.jsonl"), journal.Options{SegmentBytes: 64 << 10, Now: func() time.Time { return now }}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := 1; i <= n; i++ {
		now = began.Add(time.Duration(i) * time.Second) // the writer is idle
		if _, err := j.Append(t.Context(), sample(i)); err != nil {
			t.Fatal(err)
		}
	}
	return j, New(j, zap.NewNop())
}

// all asks page by page and returns the numbers of what it was given.
func all(t *testing.T, l *Log, q Query) []int64 {
	t.Helper()
	var out []int64
	for {
		p, err := l.Query(t.Context(), q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		for _, line := range p.Lines {
			out = append(out, line.Record.Seq)
			if !strings.HasPrefix(string(line.JSON), fmt.Sprintf(`{"seq":%d,`, line.Record.Seq)) {
				t.Errorf("line of %d: %s", line.Record.Seq, line.JSON)
			}
		}
		if p.Next == "" {
			return out
		}
		q.Token = p.Next
	}
}

func TestQueryFindsWhatIsThere(t *testing.T) {
	const n = 900
	j, l := written(t, n)
	if got := len(j.Segments()); got < 4 {
		t.Fatalf("%d segments, want several", got)
	}
	at := func(i int) time.Time { return began.Add(time.Duration(i) * time.Second) }
	tests := []struct {
		name string
		q    Query
		want func(i int) bool
	}{
		{"all", Query{Size: 1000}, func(int) bool { return true }},
		{"caller", Query{Caller: "unix:uid:3"}, func(i int) bool { return i%7 == 3 && i%13 != 0 }},
		{"a caller that needs escapes", Query{Caller: "token:<é>"}, func(i int) bool { return i%13 == 0 }},
		{"caller and time", Query{Caller: "unix:uid:3", Start: at(200), End: at(900)}, func(i int) bool { return i%7 == 3 && i%13 != 0 && i >= 200 && i < 900 }},
		{"session, newest first", Query{Session: "s5", NewestFirst: true}, func(i int) bool { return i%11 == 5 }},
		{"tool", Query{Tool: "grep", Size: 7}, func(i int) bool { return i%4 == 3 }},
		{"outcome", Query{Outcome: "DENIED", NewestFirst: true, Size: 13}, func(i int) bool { return i%3 != 0 && i%2 == 1 }},
		{"kind", Query{Kind: journal.KindDecision}, func(i int) bool { return i%3 == 2 }},
		{"call", Query{CallID: "call-777"}, func(i int) bool { return i == 777 }},
		{"all conditions", Query{Kind: journal.KindOutcome, Caller: "unix:uid:1", Session: "s4", Tool: "bash", Start: at(1)}, func(i int) bool {
			return i%3 == 1 && i%7 == 1 && i%13 != 0 && i%11 == 4 && i%4 == 0
		}},
		{"nobody", Query{Caller: "nobody"}, func(int) bool { return false }},
		{"before the beginning", Query{End: at(1)}, func(int) bool { return false }},
		{"after the end", Query{Start: at(n + 1)}, func(int) bool { return false }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var want []int64
			for i := 1; i <= n; i++ {
				if tt.want(i) {
					want = append(want, int64(i))
				}
			}
			if tt.q.NewestFirst {
				slices.Reverse(want)
			}
			if diff := cmp.Diff(want, all(t, l, tt.q)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPageTokensAreStableAndOfOneQuery(t *testing.T) {
	j, l := written(t, 400)
	q := Query{Caller: "unix:uid:2", Size: 5}
	first, err := l.Query(t.Context(), q)
	if err != nil || len(first.Lines) != 5 || first.Next == "" {
		t.Fatalf("first page: %d lines, %v", len(first.Lines), err)
	}
	q.Token = first.Next
	before, err := l.Query(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for i := 401; i < 800; i++ {
		if _, err := j.Append(t.Context(), sample(i)); err != nil {
			t.Fatal(err)
		}
	}
	after, err := l.Query(t.Context(), q)
	if err != nil || after.Lines[0].Record.Seq != before.Lines[0].Record.Seq || after.Next != before.Next {
		t.Errorf("the same token gives another page: %v", err)
	}
	for _, bad := range []Query{
		{Caller: "unix:uid:3", Size: 5, Token: first.Next}, {Caller: "unix:uid:2", Token: "x"}, {Size: MaxPage + 1}, {Size: -1},
	} {
		if _, err := l.Query(t.Context(), bad); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%+v: got %v, want an invalid argument", bad, err)
		}
	}
}

func TestIndexIsMadeAnewWhenItIsDamaged(t *testing.T) {
	j, l := written(t, 600)
	seg := j.Segments()[0]
	want := all(t, l, Query{Caller: "unix:uid:4"})
	good, err := os.ReadFile(seg.IndexPath())
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"nothing": func([]byte) []byte { return nil }, "cut": func(b []byte) []byte { return b[:len(b)/2] },
		"no head": func(b []byte) []byte { return b[5:] },
		"a bit":   func(b []byte) []byte { b[len(b)/2] ^= 4; return b },
	} {
		if err := os.WriteFile(seg.IndexPath(), damage(slices.Clone(good)), 0o600); err != nil {
			t.Fatal(err)
		}
		q := Query{Caller: "unix:uid:4", Kind: journal.KindIntent}
		_, qerr := l.Query(t.Context(), q)
		if qerr != nil {
			t.Errorf("%s: %v", name, qerr)
		}
		if diff := cmp.Diff(want, all(t, l, Query{Caller: "unix:uid:4"})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestTailFollowsOverSegments(t *testing.T) {
	j, l := written(t, 300)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	got := make(chan int64, 2000)
	done := make(chan error, 1)
	go func() {
		done <- l.Tail(ctx, 250, func(line Line) error {
			got <- line.Record.Seq
			return nil
		})
	}()
	for i := 301; i <= 1000; i++ {
		if _, err := j.Append(t.Context(), sample(i)); err != nil {
			t.Fatal(err)
		}
	}
	for want := int64(250); want <= 1000; want++ {
		select {
		case seq := <-got:
			if seq != want {
				t.Fatalf("got record %d, want %d", seq, want)
			}
		case err := <-done:
			t.Fatalf("ended before record %d: %v", want, err)
		}
	}
	cancel(enough)
	if err := <-done; !errors.Is(err, enough) {
		t.Errorf("ended with %v", err)
	}
	if err := l.Tail(t.Context(), 5000, func(Line) error { return nil }); !errdefs.IsOutOfRange(err) {
		t.Errorf("from a record that is not there: got %v", err)
	}
	line, err := l.Get(777)
	if err != nil || line.Record.CallID != "call-777" {
		t.Errorf("record 777: %+v %v", line.Record, err)
	}
	if _, err := l.Get(1001); !errdefs.IsOutOfRange(err) {
		t.Errorf("record 1001: got %v", err)
	}
}

func TestMembersOfData(t *testing.T) {
	for data, want := range map[string][2]string{
		`{"tool":"a","outcome":"b"}`:                              {"a", "b"},
		`{"x":{"tool":"no"},"y":[1,{"outcome":"no"}],"tool":"a"}`: {"a", ""},
		`{"s":"\"tool\":\"no\"","outcome":"b","tool":"a"}`:        {"a", "b"},
		`{"tool":{"x":1},"outcome":"b"}`:                          {"", ""},
		`{}`:                                                      {},
		``:                                                        {},
		`"tool"`:                                                  {},
		`[{"tool":"no"}]`:                                         {},
	} {
		if tool, outcome := members([]byte(data)); [2]string{tool, outcome} != want {
			t.Errorf("%s: got %q %q, want %q", data, tool, outcome, want)
		}
	}
}

// TestKindsAreAll: what the journal has can be asked for.
func TestKindsAreAll(t *testing.T) {
	src, err := os.ReadFile("../journal/record.go")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, m := range regexp.MustCompile(`Kind\w+ +Kind = "(\w+)"`).FindAllStringSubmatch(string(src), -1) {
		want = append(want, m[1])
	}
	got := Kinds()
	slices.Sort(got)
	slices.Sort(want)
	if len(want) < 10 || !slices.Equal(got, want) {
		t.Errorf("got %v, the journal has %v", got, want)
	}
}
