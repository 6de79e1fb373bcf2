package containerd_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/sandgate/sandgate/sandbox"
)

// TestCellsAreBehindTheDaemon: what protects the daemon from its guests holds here,
// and a program in a cell is the first to be killed when memory runs out.
func TestCellsAreBehindTheDaemon(t *testing.T) {
	requireRoot(t)
	cfg := testConfig(t)
	cfg.Protection.MemoryBytes = 3 << 30
	r := start(t, cfg)
	caps, err := r.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]sandbox.Control{}
	for _, c := range caps.Controls {
		seen[c.Name] = c
	}
	for name, want := range map[string]string{
		"cells_cpu_weight": "weight 50 ", "cells_memory_bytes": "3072 MiB", "cells_pids": "processes", "cells_oom_first": "before the daemon",
		"service_cpu_weight": "containerd",
	} {
		if c := seen[name]; !c.Binds || c.Required || !strings.Contains(c.Detail, want) {
			t.Errorf("%s: got %+v, want it to bind with %q", name, c, want)
		}
	}
	if c := seen["cells_io_weight"]; c.Name == "" || !c.Binds && c.Remedy == "" {
		t.Errorf("disk time: got %+v, want it told either way", c)
	}
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	res, err := r.Run(t.Context(), bashCall("cat /proc/self/oom_score_adj"))
	if err != nil || res.Outcome != sandbox.OutcomeExited {
		t.Fatalf("%s, %v", res.Outcome, err)
	}
	mine, merr := strconv.Atoi(strings.TrimSpace(string(own)))
	cells, cerr := strconv.Atoi(strings.TrimSpace(string(res.Stdout.Head)))
	if merr != nil || cerr != nil || cells <= mine {
		t.Errorf("score of a program is %q, of the daemon %q, want it above", res.Stdout.Head, own)
	}
	for _, pid := range shimsOf(t, cfg) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
		if err != nil {
			t.Fatal(err)
		}
		if score, err := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || score >= cells {
			t.Errorf("score of a shim is %q, want it below the cells' %d", text, cells)
		}
	}
}
