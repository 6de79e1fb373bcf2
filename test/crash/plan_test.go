package crash

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// victim is what is killed while the daemon lives on.
type victim string

const (
	containerd victim = "containerd"
	shim       victim = "shim"
)

// life is one life of the daemon and its end.
type life struct {
	// point is where it kills itself, at the given hit; empty: it is killed from
	// outside after a time.
	point failpoint.Point
	hit   int
	// stalled is where it is slow meanwhile, so that what is beside it overtakes it.
	stalled failpoint.Point
	// after is how long it serves before it is killed from outside.
	after time.Duration
	// victims are killed before, one after another.
	victims []victim
	// fat is how many large records are written first, so that a segment of the
	// journal is full.
	fat int
}

// plan is a whole run.
type plan struct {
	kills    int // of the daemon, at least
	each     int // kills at each point, at least
	points   []failpoint.Point
	victims  map[victim]int
	tries    int // lives in which a point may be missed
	sessions int
	workers  int
}

// arms are the daemon's failpoints for this life.
func (l *life) arms() string {
	var items []string
	if l.point != "" {
		items = append(items, fmt.Sprintf("%s=kill@%d", l.point, l.hit))
	}
	if l.stalled != "" {
		items = append(items, fmt.Sprintf("%s=stall:3ms@*", l.stalled))
	}
	return strings.Join(items, ",")
}

func (l *life) String() string {
	switch {
	case len(l.victims) > 0:
		return fmt.Sprintf("kill %v, then the daemon after %v", l.victims, l.after)
	case l.point != "":
		return fmt.Sprintf("kill at %s, hit %d", l.point, l.hit)
	case l.stalled != "":
		return fmt.Sprintf("kill after %v, slow at %s", l.after, l.stalled)
	}
	return fmt.Sprintf("kill after %v", l.after)
}

// victimsPerLife is how many programs are killed before the daemon is: with each death
// in a short time containerd rests twice as long.
const victimsPerLife = 3

// lives makes the plan's lives, in an order of its own for each seed. Those of one
// group follow each other.
func (p *plan) lives(rng *rand.Rand) [][]life {
	var out [][]life
	for _, point := range p.points {
		for range p.each {
			out = append(out, dyingAt(rng, point))
		}
	}
	var victims []victim
	for _, v := range []victim{containerd, shim} {
		for range p.victims[v] {
			victims = append(victims, v)
		}
	}
	rng.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
	for some := range slices.Chunk(victims, victimsPerLife) {
		out = append(out, []life{{victims: some, after: randomTime(rng)}})
	}
	for len(out) < p.kills {
		l := life{after: randomTime(rng)}
		if all := failpoint.All(); rng.IntN(2) == 0 {
			l.stalled = all[rng.IntN(len(all))]
		}
		out = append(out, []life{l})
	}
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// Large records that fill a segment, and as many segments as are kept.
const (
	fatSegment = 24
	fatKept    = 120
)

// dyingAt is a life that ends at a point, behind one whose end it needs.
func dyingAt(rng *rand.Rand, p failpoint.Point) []life {
	l := life{point: p, hit: hitOf(rng, p)}
	switch p {
	case failpoint.JournalTurnBefore, failpoint.JournalTurnBetween, failpoint.JournalTurnAfter,
		failpoint.JournalSnapshotBefore, failpoint.JournalSnapshotAfter:
		l.fat = fatSegment
	case failpoint.JournalRemove:
		l.fat = fatKept
	case failpoint.GateRecoverBefore, failpoint.GateRecoverAfter: // calls were running
		return []life{{point: failpoint.SandboxStarted, hit: 5}, l}
	case failpoint.SpoolLeft, failpoint.SpoolKept: // a detached call was writing
		l.hit = 1
		return []life{{after: 300*time.Millisecond + randomTime(rng)}, l}
	case failpoint.CommitRecover, failpoint.CommitRecovered: // a commit was on its way
		return []life{{point: failpoint.CommitStep, hit: 1 + rng.IntN(8)}, l}
	}
	return []life{l}
}

func randomTime(rng *rand.Rand) time.Duration {
	return time.Duration(rng.IntN(700)) * time.Millisecond
}

// hitOf chooses at which hit a life ends at a point: every life passes some points
// only once or twice.
func hitOf(rng *rand.Rand, p failpoint.Point) int {
	area, _, _ := strings.Cut(string(p), "/")
	switch {
	case p == failpoint.StopPart:
		return 1 + rng.IntN(6)
	case p == failpoint.CommitStep:
		return 1 + rng.IntN(8)
	case area == "start", area == "stop", p == failpoint.JournalOpened, p == failpoint.GateRecoverBefore, p == failpoint.GateRecoverAfter,
		p == failpoint.CommitRecover, p == failpoint.CommitRecovered, p == failpoint.SessionWorkspace,
		area == "snapshot", area == "restore", area == "fork", area == "tree", area == "grant",
		area == "journal" && strings.ContainsAny(string(p), "-") || p == failpoint.JournalRemove || p == failpoint.JournalAhead:
		return 1
	case area == "disk": // the first one is the daemon's own probe
		return 1 + rng.IntN(4)
	case area == "cell", area == "commit", area == "session", area == "approval", area == "detach", area == "stream", area == "spool", p == failpoint.JournalCheckpoint:
		return 1 + rng.IntN(3)
	}
	return 1 + rng.IntN(30)
}
