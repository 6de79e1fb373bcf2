package rpc

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sandgate/sandgate/internal/telemetry"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// TestTimeAroundADecisionIsMeasured: a call that is only decided has its own stages, not
// those of calls.
func TestTimeAroundADecisionIsMeasured(t *testing.T) {
	metrics := telemetry.NewMetrics()
	h := serve(t, func(_ *harness, c *Config) {
		c.Gate, c.Telemetry = newQuickGate(), telemetry.NewRecorder(metrics, nil)
	})
	req := &sandgatev1.EvaluateRequest{Call: &sandgatev1.Call{Tool: "bash"}}
	if _, err := sandgatev1.NewToolServiceClient(h.conn).Evaluate(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	// What the reply took is known when its stream has ended, a little later.
	deadline := time.Now().Add(20 * time.Second)
	for {
		w := httptest.NewRecorder()
		metrics.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		text := w.Body.String()
		if strings.Contains(text, `sandgate_evaluate_stage_seconds_count{stage="receive"} 1`) &&
			strings.Contains(text, `sandgate_evaluate_stage_seconds_count{stage="reply"} 1`) {
			if !strings.Contains(text, `sandgate_call_stage_seconds_count{class="ok",stage="receive"} 0`) {
				t.Error("the decision was counted as a call")
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("neither receive nor reply was measured")
		}
		time.Sleep(time.Millisecond)
	}
}
