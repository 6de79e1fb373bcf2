package powercut

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
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
log: {level: warn}
`

// command is what a call does: it appends a line, and every second one also brings
// it to the disk.
func command(id string) string {
	text := "echo " + id + " >>lines"
	if synced(id) {
		text += "; sync lines"
	}
	return text
}

// synced tells whether a call brings its line to the disk.
func synced(id string) bool { return strings.HasSuffix(id, "s") }

// guest is the guest's side of one boot.
type guest struct {
	t     *testing.T
	tools sandgatev1.ToolServiceClient

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
	d := daemontest.In(guestDir, guestConfig)
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
	g.again()
	g.lines()
	g.say("LOAD")
	last := os.Getenv(envLast) != ""
	var wg sync.WaitGroup
	for w := range guestWorkers {
		wg.Go(func() {
			for n := 0; !last || n < 5; n++ { // but for the last boot: until the power goes
				id := fmt.Sprintf("b%s-w%d-%d", boot, w, n)
				if n%2 == 0 {
					id += "s"
				}
				if r := g.execute(id); r != nil {
					g.say("ACK %s %s %d", id, r.GetOutcome(), r.GetExitCode())
				}
			}
		})
	}
	wg.Wait()
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	g.verify(d)
	g.say("END")
}

func (g *guest) execute(id string) *sandgatev1.Result {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	req := daemontest.Bash(command(id), daemontest.CallID(id), daemontest.Session("s"), daemontest.Profile("open"), daemontest.Timeout(time.Minute))
	resp, err := g.tools.Execute(ctx, req, grpc.WaitForReady(true))
	if err != nil {
		g.say("ERROR %s %v", id, err)
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
