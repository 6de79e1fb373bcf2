package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// stageSum is the sum and count of one stage's histogram.
type stageSum struct {
	seconds float64
	count   float64
}

// errNoMetrics is why the daemon's metrics say nothing of stages.
var errNoMetrics = errors.New("the daemon has no metrics of stages")

// stageSums reads the histograms of stages from the daemon's metrics, by stage.
func (t *target) stageSums(ctx context.Context) (map[string]stageSum, error) {
	if t.metrics == "" {
		return nil, fmt.Errorf("%w: its configuration does not take metrics.address", errNoMetrics)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New("the metrics did not come in time"))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.metrics+"/metrics", http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	sums := parseStageSums(string(body))
	if len(sums) == 0 {
		return nil, errNoMetrics
	}
	return sums, nil
}

// parseStageSums finds, in the text form of Prometheus, the sums and counts of
// histograms that are named for the stages of calls (of decisions there are others) and
// have a label "stage".
func parseStageSums(text string) map[string]stageSum {
	sums := map[string]stageSum{}
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), "{")
		if !ok || !strings.Contains(name, "call_stage") {
			continue
		}
		labels, value, ok := strings.Cut(rest, "} ")
		if !ok {
			continue
		}
		_, stage, ok := strings.Cut(","+labels, `,stage="`)
		if !ok {
			continue
		}
		stage, _, _ = strings.Cut(stage, `"`)
		v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			continue
		}
		s := sums[stage]
		switch {
		case strings.HasSuffix(name, "_sum"):
			s.seconds += v
		case strings.HasSuffix(name, "_count"):
			s.count += v
		default:
			continue
		}
		sums[stage] = s
	}
	return sums
}
