package powercut

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/sandgate/sandgate/internal/journal"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// What the guest's script tells the guest's program.
const (
	envGuest = "SANDGATE_POWERCUT_GUEST" // the number of the boot
	envKnown = "SANDGATE_POWERCUT_KNOWN" // file of what was acknowledged so far
	envLast  = "SANDGATE_POWERCUT_LAST"  // set: this boot ends in order
	envRules = "SANDGATE_POWERCUT_RULES" // directory of the policy
)

const (
	guestDir     = "/data/d" // on the disk that loses power
	guestWorkers = 3
	// tag begins every line that the host reads.
	tag = "@powercut "
)

// guestConfig makes cells that cost little: every process is slow here.
const guestConfig = `
pool: {idle: 1, max_cells: 4}
defaults: {memory: 64MiB, pids: 64, wall_time: 60s, output: 64KiB, disk: 8MiB, file: 8MiB}
journal: {segment_bytes: 1MiB, checkpoint_interval: 500ms}
callers: [{match: {uid: 0}, profiles: [open, locked, careful, asking], admin: true}]
log: {level: warn}
`

// carefulProfile makes transactions of its calls.
const carefulProfile = `package sandgate.profiles.careful

allow contains {"rule": "all", "message": "it is a test"}

obligations := {"sandbox": {"workspace": "transaction"}}
`

// request is a call: it appends a line. By the last letter of its id it also brings it
// to the disk (s), or it is a transaction, of which sandgate does so (t).
func request(id string) *sandgatev1.ExecuteRequest {
	text, session, profile := "echo "+id+" >>lines", "s", "open"
	switch {
	case strings.HasPrefix(id, "p"): // see round
		text, session, profile = "sleep 0", id[:strings.LastIndexByte(id, '.')], "asking"
	case strings.HasSuffix(id, "s"):
		text += "; sync lines"
	case strings.HasSuffix(id, "t"):
		worker := strings.Split(id, "-")[1] // alone, so that there are no conflicts
		session, profile = "t"+worker, "careful"
	}
	return daemontest.Bash(text, daemontest.CallID(id), daemontest.Session(session), daemontest.Profile(profile), daemontest.Timeout(time.Minute))
}

// synced tells whether the line of an acknowledged call is on the disk.
func synced(id string) bool { return strings.HasSuffix(id, "s") || strings.HasSuffix(id, "t") }

// fatRecords are so many large records that the journal begins another segment.
const fatRecords = 20

// guest is the guest's side of one boot.
type guest struct {
	t     *testing.T
	tools sandgatev1.ToolServiceClient
	asks  sandgatev1.ApprovalServiceClient
	terms sandgatev1.SessionServiceClient

	mu sync.Mutex // of the console
}

// say writes a line for the host.
func (g *guest) say(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, _ = fmt.Fprintf(os.Stdout, tag+format+"\n", args...)
}

// TestGuest is what runs in the virtual machine, from one power cut to the next.
func TestGuest(t *testing.T) {
	boot := os.Getenv(envGuest)
	if boot == "" {
		t.Skip("runs in the virtual machine of TestPowerCut")
	}
	g := &guest{t: t}
	defer func() {
		if t.Failed() {
			g.say("FAILED boot %s", boot)
		}
	}()
	d := daemontest.In(guestDir, guestConfig+"policy: {dir: "+os.Getenv(envRules)+"}\n")
	g.verify(d)
	g.say("START")
	began := time.Now()
	if err := d.Run(context.Background()); err != nil {
		t.Fatalf("start: %v", err)
	}
	g.say("READY %d", time.Since(began).Milliseconds())
	conn, err := daemontest.Dial("unix://" + d.Socket)
	if err != nil {
		t.Fatal(err)
	}
	g.tools = sandgatev1.NewToolServiceClient(conn)
	g.asks, g.terms = sandgatev1.NewApprovalServiceClient(conn), sandgatev1.NewSessionServiceClient(conn)
	g.hold()
	g.again()
	g.lines()
	g.say("LOAD")
	for i := range fatRecords {
		_ = g.send(daemontest.Bash(": "+strings.Repeat("x", 60_000), daemontest.CallID(fmt.Sprintf("fat-%s-%d", boot, i)), daemontest.Profile("locked")))
	}
	last := os.Getenv(envLast) != ""
	var wg sync.WaitGroup
	for w := range guestWorkers {
		wg.Go(func() {
			for n := 0; !last || n < 5; n++ { // but for the last boot: until the power goes
				id := fmt.Sprintf("b%s-w%d-%d", boot, w, n)
				id += []string{"s", "t", "x"}[n%3]
				if r := g.execute(id); r != nil {
					g.say("ACK %s %s %d", id, r.GetOutcome(), r.GetExitCode())
				}
			}
		})
	}
	rounds := math.MaxInt
	if last {
		rounds = 1
	}
	wg.Go(func() { g.permits(boot, rounds) })
	wg.Wait()
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	g.verify(d)
	g.say("END")
}

func (g *guest) execute(id string) *sandgatev1.Result { return g.send(request(id)) }

func (g *guest) send(req *sandgatev1.ExecuteRequest) *sandgatev1.Result {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	resp, err := g.tools.Execute(ctx, req, grpc.WaitForReady(true))
	if err != nil {
		g.say("ERROR %s %v", req.GetCall().GetCallId(), err)
		return nil
	}
	return resp.GetResult()
}

// verify tells what the journal's own check says.
func (g *guest) verify(d *daemontest.Daemon) {
	path := filepath.Join(d.DataDir, "journal", "journal.jsonl")
	if _, err := os.Stat(path); err != nil {
		g.say("JOURNAL none")
		return
	}
	rep, err := journal.Verify(path)
	if err != nil {
		g.t.Errorf("journal: %v", err)
		g.say("JOURNAL bad %v", err)
		return
	}
	g.say("JOURNAL %d records, %d bytes torn", rep.Records, rep.TornBytes)
}

// again sends what was acknowledged before once more.
func (g *guest) again() {
	f, err := os.Open(os.Getenv(envKnown))
	if err != nil {
		g.t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if strings.HasPrefix(sc.Text(), factTag) {
			continue
		}
		if r := g.execute(sc.Text()); r != nil {
			g.say("AGAIN %s %s %d %v", sc.Text(), r.GetOutcome(), r.GetExitCode(), r.GetReplayed())
		}
	}
}

// lines tells which calls have left how many lines.
func (g *guest) lines() {
	count := map[string]int{}
	err := filepath.WalkDir(filepath.Join(guestDir, "sessions"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Name() != "lines" {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // calls made it, and can do no more
		for line := range strings.Lines(string(text)) {
			count[strings.TrimSpace(strings.Trim(line, "\x00"))]++
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		g.t.Error(err)
	}
	for id, n := range count {
		g.say("LINES %s %d", id, n)
	}
}
