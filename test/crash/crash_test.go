package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/journal/merkle"
	"github.com/sandgate/sandgate/policies"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox/failpoint"
	"github.com/sandgate/sandgate/test/daemontest"
)

// profiles are those that the library does not have: one whose calls are transactions,
// and one whose calls have to be approved, by their own caller.
const profiles = `package sandgate.profiles.NAME

allow contains {"rule": "all", "message": "it is a test"} if "NAME" == "careful"

ask contains {"rule": "all", "message": "it is a test"} if "NAME" == "asking"

ask_terms := {"self": true, "quorum": 1} if "NAME" == "asking"

obligations := {"sandbox": {"workspace": "transaction"}} if "NAME" == "careful"

obligations := {} if "NAME" == "asking"
`

// config gives the cells of sessions and the segments of the journal a short life, so
// that they come and go.
const config = `
pool: {idle: 2, max_cells: 8, idle_timeout: 1s}
journal: {segment_bytes: 1MiB, keep_bytes: 16MiB, checkpoint_interval: 200ms}
callers: [{match: {uid: 0}, profiles: [open, locked, careful, asking], admin: true, repositories: [%s]}]
defaults: {memory: 64MiB, pids: 64, wall_time: 30s, output: 64KiB, disk: 8MiB, file: 8MiB}
log: {level: warn}
`

// shortPoints are where the short run kills: one of each kind.
func shortPoints() []failpoint.Point {
	return []failpoint.Point{
		failpoint.GateIntentAfter, failpoint.GateReleased, failpoint.SandboxExited, failpoint.GateOutcomeAfter,
		failpoint.JournalTorn, failpoint.CellTask, failpoint.StartContainerd, failpoint.CommitStep,
	}
}

// planOf is the short run, or the whole one with SANDGATE_CRASH_KILLS.
func planOf(t *testing.T) plan {
	t.Helper()
	text := os.Getenv("SANDGATE_CRASH_KILLS")
	if text == "" {
		return plan{
			kills: 10, each: 1, points: shortPoints(), victims: map[victim]int{containerd: 1, shim: 1}, tries: 4, sessions: 3, workers: 4,
		}
	}
	kills, err := strconv.Atoi(text)
	if err != nil || kills < 1 {
		t.Fatalf("SANDGATE_CRASH_KILLS is %q: want how many times the daemon is killed, 200 say", text)
	}
	p := plan{
		kills: kills, each: 2, points: failpoint.All(), victims: map[victim]int{containerd: 30, shim: 30}, tries: 60, sessions: 4, workers: 6,
	}
	if only := os.Getenv("SANDGATE_CRASH_POINTS"); only != "" {
		p.points, p.victims = nil, nil
		for name := range strings.SplitSeq(only, ",") {
			p.points = append(p.points, failpoint.Point(name))
		}
	}
	return p
}

// seedOf is SANDGATE_CRASH_SEED, or another one each time.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("SANDGATE_CRASH_SEED")
	if text == "" {
		return rand.Uint64N(1_000_000) //nolint:gosec // no secret
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("SANDGATE_CRASH_SEED is %q: want a number", text)
	}
	return seed
}

// TestCrash kills the daemon, containerd and shims under load, and compares what
// was told with what was done.
func TestCrash(t *testing.T) {
	daemontest.RequireRoot(t)
	p, seed := planOf(t), seedOf(t)
	t.Logf("seed %d: repeat it with SANDGATE_CRASH_SEED=%d", seed, seed)
	r := begin(t, p, seed)
	rng := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // repeatable
	queue := p.lives(rng)
	for n := 0; len(queue) > 0 && !t.Failed(); {
		group := queue[0]
		queue = queue[1:]
		reached := false
		for i := range group {
			reached = r.live(n, &group[i])
			n++
		}
		last := &group[len(group)-1]
		if reached || last.point == "" || t.Failed() {
			continue
		}
		if r.missed = append(r.missed, last.String()); len(r.missed) > p.tries {
			t.Errorf("%s was not reached, after these lives in which some point was not: %v", last.point, r.missed)
			break
		}
		last.hit = 1 + last.hit/4
		queue = append(queue, group)
	}
	r.end()
}

// run is one run of the plan.
type run struct {
	t       *testing.T
	plan    plan
	seed    uint64
	d       *daemontest.Daemon
	machine *machine
	book    *book
	load    *load
	table   table

	last   traces   // of the life before
	missed []string // lives that did not reach their point
	cancel context.CancelFunc
	ctx    context.Context //nolint:containedctx // of the whole run
}

// begin starts a daemon and the load.
func begin(t *testing.T, p plan, seed uint64) *run {
	t.Helper()
	bin := armable(t)
	policy := filepath.Join(t.TempDir(), "policy")
	if err := os.CopyFS(policy, policies.FS); err != nil {
		t.Fatal(err)
	}
	repository := newRepository(t)
	for _, name := range []string{"careful", "asking"} {
		text := strings.ReplaceAll(profiles, "NAME", name)
		if err := os.WriteFile(filepath.Join(policy, "sandgate", name+".rego"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := daemontest.New(fmt.Sprintf(config, repository) + "policy: {dir: " + policy + "}\n")
	if err != nil {
		t.Fatal(err)
	}
	d.Bin = bin
	r := &run{t: t, plan: p, seed: seed, d: d, machine: newMachine(d), book: newBook(filepath.Join(d.DataDir, "sessions"))}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	t.Cleanup(r.cleanUp)
	if r.load, err = startLoad(r.ctx, &p, r.book, d.Socket, repository, seed); err != nil {
		t.Fatal(err)
	}
	return r
}

// cleanUp takes everything down, also after a failure; what it knows then is kept
// for who looks into it.
func (r *run) cleanUp() {
	r.cancel()
	r.load.wg.Wait()
	_ = r.load.conn.Close()
	if r.t.Failed() {
		r.t.Logf("end of the daemon's log, without refusals while it was not ready:\n%s", r.log(60))
	}
	if err := r.d.Stop(); err != nil {
		r.t.Error(err)
	}
	if r.t.Failed() && os.Getenv("SANDGATE_CRASH_KEEP") != "" {
		r.t.Logf("kept: %s", r.d.DataDir)
		return
	}
	for _, disk := range r.machine.disks() { // of a run that failed, in whose midst the daemon was killed
		_ = syscall.Unmount(disk, syscall.MNT_DETACH)
	}
	if err := os.RemoveAll(r.d.DataDir); err != nil {
		r.t.Error(err)
	}
}

// log is the end of the daemon's log without what clients were refused too early.
func (r *run) log(n int) string {
	lines := slices.DeleteFunc(strings.Split(r.d.Log(), "\n"), func(l string) bool { return strings.Contains(l, `"error":"not ready`) })
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (r *run) journalPath() string { return filepath.Join(r.d.DataDir, "journal", "journal.jsonl") }

// reachWithin is how long a life goes on that has not reached its point.
const reachWithin = 4 * time.Second

// live is one life of the daemon: start, recovery, load, death. It reports whether
// it died where it was to.
func (r *run) live(n int, l *life) (reached bool) {
	began := time.Now()
	ready := r.start(l)
	if ready {
		r.table.recovered(time.Since(began))
		r.look(n)
		r.fatten(n, l.fat)
		if len(l.victims) > 0 {
			r.killVictims(l)
		}
		reached = r.death(l)
	} else {
		reached = r.diedAt(l.point)
	}
	if r.t.Failed() {
		r.t.Logf("life %d: %v", n, l)
		return reached
	}
	if n%50 == 49 {
		r.t.Logf("%d lives so far", n+1)
	}
	r.table.died(l, reached)
	r.last = r.machine.traces()
	r.autopsy(n, l)
	return reached
}

// start starts the daemon and waits until it is ready or, at a point, dead.
func (r *run) start(l *life) bool {
	r.d.Env = []string{"SANDGATE_FAILPOINTS=" + l.arms()}
	err := r.d.Run(r.ctx)
	if err == nil {
		return true
	}
	select {
	case <-r.d.Exited():
		if l.point == "" || !r.diedAt(l.point) {
			r.t.Errorf("start: %v", err)
		}
	default:
		r.t.Errorf("start: %v", err)
	}
	return false
}

// diedAt tells whether the last thing that the daemon has said is that it died there.
func (r *run) diedAt(p failpoint.Point) bool {
	return p != "" && strings.Contains(r.d.LogTail(3), strings.TrimSpace(failpoint.KilledAt(p)))
}

// look looks at a daemon that has just recovered: nothing is left of the life
// before, and what was told then is told again.
func (r *run) look(n int) {
	left := r.machine.left(r.ctx, r.last, n%10 == 0)
	if len(left) > 0 && r.wait(time.Second) {
		return // it died at its point meanwhile, and its containerd with it
	}
	if len(left) > 0 {
		r.t.Errorf("left of the life before: %s", strings.Join(left, "; "))
	}
	ctx, cancel := r.thisLife()
	defer cancel()
	var some []call
	for i, calls := 0, r.book.answeredCalls(); i < len(calls); i += 1 + len(calls)/20 { // of all ages
		some = append(some, calls[(i+n)%len(calls)])
	}
	r.load.again(ctx, some)
	r.told()
}

// thisLife ends with the daemon, which may die at its point at any time.
func (r *run) thisLife() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.ctx)
	exited := r.d.Exited()
	go func() {
		select {
		case <-exited:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// fatten writes so many large records, by calls that are denied.
func (r *run) fatten(life, records int) {
	ctx, cancel := r.thisLife()
	defer cancel()
	for i := range records {
		c := call{
			id: fmt.Sprintf("fat-%d-%d", life, i), profile: "locked", command: ": " + strings.Repeat("x", 60_000),
			want: sandgatev1.Outcome_OUTCOME_DENIED, exit: -1,
		}
		r.book.send(c)
		r.load.settle(ctx, c)
	}
}

// told fails the test for what the clients found wrong.
func (r *run) told() {
	for i, wrong := range r.book.blamed() {
		if i == 20 {
			r.t.Error("and more")
			break
		}
		r.t.Error(wrong)
	}
}

// death ends a life that has become ready.
func (r *run) death(l *life) bool {
	switch {
	case l.point == "":
		time.Sleep(l.after)
	case strings.HasPrefix(string(l.point), "stop/"):
		if err := r.d.Terminate(); err != nil {
			r.t.Error(err)
		}
		r.wait(20 * time.Second)
		return r.diedAt(l.point)
	default:
		if r.wait(reachWithin) {
			return r.diedAt(l.point)
		}
	}
	if err := r.d.Kill(); err != nil {
		r.t.Error(err)
	}
	return l.point == ""
}

// wait waits until the daemon has ended.
func (r *run) wait(within time.Duration) bool {
	select {
	case <-r.d.Exited():
		return true
	case <-time.After(within):
		return false
	}
}

// killVictims kills containerd or shims, and waits each time until calls get on.
func (r *run) killVictims(l *life) {
	rng := rand.New(rand.NewPCG(r.seed, uint64(len(r.table.ends)))) //nolint:gosec // repeatable
	for _, v := range l.victims {
		time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
		var found []process
		if !daemontest.Eventually(15*time.Second, func() bool { found = r.machine.find(v); return len(found) > 0 }) {
			r.t.Errorf("no %s to be killed", v)
			return
		}
		if err := found[rng.IntN(len(found))].kill(); err != nil {
			r.t.Errorf("kill %s: %v", v, err)
			return
		}
		killed := time.Now()
		_, told, _, _, _ := r.book.counts()
		// Every worker has a call that began after this one was killed.
		if !daemontest.Eventually(time.Minute, func() bool {
			_, now, _, _, _ := r.book.counts()
			return now >= told+2*r.plan.workers
		}) {
			r.t.Errorf("calls do not get on after %s was killed", v)
			return
		}
		r.table.victim(v, time.Since(killed))
		r.told()
	}
}

// autopsy looks at what is on disk while the daemon is dead.
func (r *run) autopsy(n int, l *life) {
	if err := r.book.readJournal(r.journalPath()); err != nil {
		r.t.Errorf("life %d (%v): journal: %v", n, l, err)
	}
	if n%5 > 0 && !strings.HasPrefix(string(l.point), "journal/") {
		return // it takes longer with each record
	}
	if _, err := journal.Verify(r.journalPath()); err != nil {
		r.t.Errorf("life %d (%v): %v", n, l, err)
	}
}

// restWithin is how long the daemon may take to come to rest after the load.
const restWithin = time.Minute

// end lets the load come to its end, asks for everything again, compares, and looks
// that nothing is left.
func (r *run) end() {
	t := r.t
	if t.Failed() {
		return
	}
	began := time.Now()
	if !r.start(&life{}) {
		return
	}
	r.table.recovered(time.Since(began))
	r.load.finish()
	r.load.again(r.ctx, r.book.answeredCalls())
	r.book.check()
	r.book.checkJournal(r.journalPath())
	r.told()
	t.Logf("seed %d\n%s", r.seed, r.table.String(r.book))
	r.empty()
	key, err := merkle.LoadKey(filepath.Join(r.d.DataDir, "journal.key"))
	if err != nil {
		t.Fatal(err)
	}
	rep, err := journal.VerifyAll(r.journalPath(), journal.VerifyOptions{PublicKey: key.Public()})
	if err != nil || rep.TornBytes > 0 || !rep.Closed || rep.CheckpointSize == 0 {
		t.Errorf("the journal after an orderly stop: %+v, %v", rep, err)
	}
	t.Logf("the journal: %d records, %d signed heads, the last one of %d, %d snapshots, %d MiB", rep.Records, rep.Checkpoints, rep.CheckpointSize, rep.Snapshots, rep.Bytes>>20)
}

// empty counts what the daemon has at rest, and that it has nothing after its end.
func (r *run) empty() {
	t := r.t
	c, err := daemontest.NewCounter(r.d, "")
	if err != nil {
		t.Fatal(err)
	}
	rest := c.Rest(t, restWithin)
	for _, what := range []string{"containers", "tasks"} {
		if rest[what] != rest["cells"] {
			t.Errorf("containerd knows %d %s, there are %d cells", rest[what], what, rest["cells"])
		}
	}
	for _, what := range []string{"guests", "zombies", "snapshots"} {
		if rest[what] != 0 {
			t.Errorf("%d %s are left", rest[what], what)
		}
	}
	if rest["shims"] > rest["cells"] || rest["inits"] != 5*rest["cells"] || rest["call cgroups"] != 2*rest["cells"] {
		t.Errorf("at rest there are more shims, inits or cgroups than cells have: %v", rest)
	}
	if err := r.d.Stop(); err != nil {
		t.Fatal(err)
	}
	if f := r.d.Footprint(); f != (daemontest.Footprint{}) {
		t.Errorf("left behind by the daemon that stopped: %+v", f)
	}
	if left := r.machine.disks(); len(left) != 0 {
		t.Errorf("disks are left: %v", left)
	}
	if left, err := filepath.Glob(filepath.Join(r.d.DataDir, "outputs", "[^o]*")); err != nil || len(left) != 0 {
		t.Errorf("left beside stored outputs: %v (%v)", left, err)
	}
	if n := c.Cgroups(); n != 0 {
		t.Errorf("%d control groups are left", n)
	}
	if left := c.RunFiles(); len(left) != 0 {
		t.Errorf("left in the run directory: %v", left)
	}
}
