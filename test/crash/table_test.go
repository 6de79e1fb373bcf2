package crash

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// table is what is told at the end.
type table struct {
	ends     []string                   // where each life ended
	killed   map[failpoint.Point]int    // by itself
	outside  int                        // kills from outside
	recovery []time.Duration            // from start to ready
	victims  map[victim][]time.Duration // until calls got on
}

func (t *table) recovered(took time.Duration) { t.recovery = append(t.recovery, took) }

func (t *table) died(l *life, reached bool) {
	t.ends = append(t.ends, l.String())
	if l.point == "" || !reached {
		t.outside++
		return
	}
	if t.killed == nil {
		t.killed = map[failpoint.Point]int{}
	}
	t.killed[l.point]++
}

func (t *table) victim(v victim, took time.Duration) {
	if t.victims == nil {
		t.victims = map[victim][]time.Duration{}
	}
	t.victims[v] = append(t.victims[v], took)
}

func (t *table) String(b *book) string {
	var s strings.Builder
	for _, p := range failpoint.All() {
		if n := t.killed[p]; n > 0 {
			fmt.Fprintf(&s, "%-28s %5d kills\n", p, n)
		}
	}
	fmt.Fprintf(&s, "%-28s %5d kills\n", "at any time", t.outside)
	fmt.Fprintf(&s, "%-28s %5d kills\n", "the daemon, together", len(t.ends))
	for _, v := range []victim{containerd, shim} {
		if all := t.victims[v]; len(all) > 0 {
			fmt.Fprintf(&s, "%-28s %5d kills, calls got on after %s\n", v, len(all), spread(all))
		}
	}
	sent, told, unknown, cancelled, replayed := b.counts()
	fmt.Fprintf(&s, "calls: %d sent, %d answered, of these %d UNKNOWN and %d CANCELLED; %d answers were replayed\n", sent, told, unknown, cancelled, replayed)
	for code, n := range b.errors {
		fmt.Fprintf(&s, "attempts that ended with %s: %d, the last one: %.200s\n", code, n, b.sample[code])
	}
	fmt.Fprintf(&s, "%v\n", &b.permits)
	fmt.Fprintf(&s, "from start to ready: %s\n", spread(t.recovery))
	return s.String()
}

// spread is a median and a maximum.
func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "never"
	}
	sorted := slices.Sorted(slices.Values(all))
	return fmt.Sprintf("%v (median), %v (longest)", sorted[len(sorted)/2].Round(time.Millisecond), sorted[len(sorted)-1].Round(time.Millisecond))
}
