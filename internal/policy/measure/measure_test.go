package measure

import (
	"strings"
	"testing"

	"github.com/sandgate/sandgate/internal/policy"
)

func TestRun(t *testing.T) {
	e, err := policy.New(t.Context(), policy.Config{})
	if err != nil || e.Ready() != nil {
		t.Fatal(err, e.Ready())
	}
	calls := []policy.Input{{Session: policy.SessionInput{Profile: "open"}}, {Session: policy.SessionInput{Profile: "readonly"}}}
	r, err := Run(t.Context(), e, calls, 100, 5)
	if err != nil {
		t.Fatal(err)
	}
	if r.Calls != 2 || r.Decisions != 100 || r.P50 <= 0 || r.P99 < r.P50 || r.PerSecond <= 0 || r.Allocations < 10 || len(r.Slowest) != 5 {
		t.Errorf("got %+v", r)
	}
	for _, l := range r.Slowest {
		if !strings.HasPrefix(l.File, "policies/sandgate/") || l.Line < 1 || l.Share <= 0 || l.Share > 100 {
			t.Errorf("line: got %+v", l)
		}
	}
	if _, err := Run(t.Context(), e, nil, 1, 0); err == nil {
		t.Error("no calls: want an error")
	}
}
