package powercut

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sandgate/sandgate/policies"
	"github.com/sandgate/sandgate/test/daemontest"
)

// bootWithin bounds one boot, with all that the guest does until its power goes.
const bootWithin = 8 * time.Minute

// host is the host's side of all boots.
type host struct {
	t    *testing.T
	rng  *rand.Rand
	repo string // path without blanks, seen by the guest
	work string // on the machine, below repo
	disk *disk

	told  map[string]string // what was acknowledged: outcome and exit code, by call
	lines map[string]int    // of the last boot that told them
	again map[string]bool   // told again by the last boot
	known int               // how many it was to tell again
	whole bool              // the last boot has told all of these
	facts []string          // what else was acknowledged, in its order
	held  int               // how many of them the last boot has looked at; -1: none yet
	seen  map[string]int    // cuts, by when they came
	ready []int             // milliseconds from start to ready

	cached, lost, torn int
}

// TestPowerCut cuts the power of a guest with the real daemon at random moments.
func TestPowerCut(t *testing.T) {
	text := os.Getenv("SANDGATE_POWERCUTS")
	if text == "" {
		t.Skip("takes a minute for each cut under emulation; make powercut runs it")
	}
	daemontest.RequireRoot(t)
	cuts, err := strconv.Atoi(text)
	if err != nil || cuts < 1 {
		t.Fatalf("SANDGATE_POWERCUTS is %q: want how often the power is cut, 20 say", text)
	}
	seed := rand.Uint64N(1_000_000) //nolint:gosec // no secret
	if text := os.Getenv("SANDGATE_POWERCUT_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SANDGATE_POWERCUT_SEED is %q: want a number", text)
		}
	}
	t.Logf("seed %d: repeat it with SANDGATE_POWERCUT_SEED=%d", seed, seed)
	h := prepare(t, seed)
	for n := 1; n <= cuts && !t.Failed(); n++ {
		h.boot(n, false)
		h.check(n)
	}
	if !t.Failed() {
		h.boot(cuts+1, true)
		h.check(cuts + 1)
	}
	slices.Sort(h.ready)
	t.Logf("%d cuts: %v", cuts, h.seen)
	t.Logf("%d sectors were in the disk's cache at the cuts, %d of them lost; %d starts met a torn journal", h.cached, h.lost, h.torn)
	t.Logf("%d facts of sessions, approvals and grants were acknowledged", len(h.facts))
	t.Logf("%d calls were acknowledged; from start to ready in the guest: %v ms", len(h.told), h.ready)
}

// prepare makes the disks and the guest's kernel.
func prepare(t *testing.T, seed uint64) *host {
	t.Helper()
	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(repo, ".cache", "cgroup2")
	if out, err := exec.Command(filepath.Join(repo, "test", "cgroup2", "kernel"), cache).CombinedOutput(); err != nil {
		t.Fatalf("make the guest's kernel: %v\n%s", err, out)
	}
	work, err := os.MkdirTemp(filepath.Join(repo, ".cache"), "powercut-") //nolint:usetesting // the guest sees the repository, not /tmp
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(work) })
	h := &host{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), repo: repo, work: work, //nolint:gosec // repeatable
		told: map[string]string{}, seen: map[string]int{},
	}
	for name, size := range map[string]string{"scratch": "2G", "data": "1G"} {
		path := filepath.Join(work, name)
		for _, args := range [][]string{{"truncate", "-s", size, path}, {"mkfs.ext4", "-q", "-F", "-m", "0", path}} {
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", args, err, out)
			}
		}
	}
	if h.disk, err = openDisk(filepath.Join(work, "data")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.disk.close() })
	rules := filepath.Join(work, "policy")
	if err := os.CopyFS(rules, policies.FS); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"careful": carefulProfile, "asking": askingProfile} {
		if err := os.WriteFile(filepath.Join(rules, "sandgate", name+".rego"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The guest runs this very program, which it must see by its path.
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(work, "guest.test"), self, 0o755); err != nil {
		t.Fatal(err)
	}
	return h
}

// script writes what the guest is to do.
func (h *host) script(n int, last bool) string {
	bin, err := daemontest.BinDir()
	if err != nil {
		h.t.Fatal(err)
	}
	known := filepath.Join(h.work, fmt.Sprintf("known-%d", n)) // another name each time: the share is cached
	ids := make([]string, 0, len(h.told))
	for id := range h.told {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, fact := range h.facts {
		ids = append(ids, factTag+fact)
	}
	if err := os.WriteFile(known, []byte(strings.Join(ids, "\n")), 0o644); err != nil {
		h.t.Fatal(err)
	}
	env := []string{
		"PATH=" + bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TMPDIR=/tmp", "SANDGATE_ROOT_TESTS=1",
		"SANDGATE_BIN_DIR=" + bin, envGuest + "=" + strconv.Itoa(n), envKnown + "=" + known, envRules + "=" + filepath.Join(h.work, "policy"),
	}
	if last {
		env = append(env, envLast+"=1")
	}
	text := "#!/bin/bash\nset -euo pipefail\nexport " + strings.Join(env, " ") + "\n" +
		"for knob in writeback expire; do echo 20 >/proc/sys/vm/dirty_${knob}_centisecs; done\n" + // what is not synced reaches the disk soon, too
		"mkdir -p /data\nmount -t ext4 /dev/vdb /data\nchmod 0755 /data\nmkdir -p " + guestDir + "\n" +
		"cd /data\n" + filepath.Join(h.work, "guest.test") + " -test.run '^TestGuest$' -test.timeout 10m\n"
	path := filepath.Join(h.work, fmt.Sprintf("script-%d", n))
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// machine starts the guest, with the data disk over a socket that this process serves.
func (h *host) machine(n int, script string) (*exec.Cmd, *bufio.Scanner, chan error) {
	h.t.Helper()
	socket := filepath.Join(h.t.TempDir(), "nbd")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		h.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		_ = listener.Close()
		if err == nil {
			err = errors.Join(h.disk.serve(conn), conn.Close())
		}
		served <- err
	}()
	cache := filepath.Join(h.repo, ".cache", "cgroup2")
	cmd := exec.Command("qemu-system-x86_64", //nolint:gosec // with what this test has made
		"-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3072",
		"-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-kernel", filepath.Join(cache, "vmlinuz"), "-initrd", filepath.Join(cache, "initramfs.gz"),
		"-append", "console=ttyS0 quiet loglevel=3 panic=-1 cgroup_no_v1=all guest="+script+" repo="+h.repo,
		"-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap", "-device", "virtio-9p-pci,fsdev=host,mount_tag=host",
		"-drive", "if=none,id=scratch,format=raw,cache=unsafe,snapshot=on,file="+filepath.Join(h.work, "scratch"), "-device", "virtio-blk-pci,drive=scratch",
		"-blockdev", "driver=nbd,node-name=data,server.type=unix,server.path="+socket+",cache.direct=on",
		"-device", "virtio-blk-pci,drive=data,write-cache=on",
		"-device", "virtio-rng-pci",
	)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatalf("boot %d: %v", n, err)
	}
	return cmd, bufio.NewScanner(out), served
}

// moment is when the power goes.
type moment struct {
	atStart bool // of the daemon
	atTurn  bool // while a segment of the journal fills; else under load
	acks    int  // after so many acknowledged calls
	pause   time.Duration
	flush   int // at the so-many-th flush of the disk; 0: after the pause
}

// moment chooses one. Most cuts come at a flush that the disk has not done yet: then
// something is in its cache.
func (h *host) moment() moment {
	when := h.rng.IntN(8)
	m := moment{atStart: when < 2, atTurn: when == 2, acks: 1 + h.rng.IntN(20), pause: time.Duration(h.rng.IntN(400)) * time.Millisecond}
	if m.atStart {
		m.pause = time.Duration(h.rng.IntN(8_000)) * time.Millisecond
	}
	if m.atTurn || h.rng.IntN(4) > 0 {
		m.flush = 1 + h.rng.IntN(30)
	}
	return m
}

// boot lets the guest run until its power goes, or to its end.
func (h *host) boot(n int, last bool) {
	h.lines, h.again, h.known, h.whole = map[string]int{}, map[string]bool{}, len(h.told), false
	h.held = -1
	facts := len(h.facts)
	cmd, console, served := h.machine(n, h.script(n, last))
	watchdog := time.AfterFunc(bootWithin, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	m := h.moment()
	when, ended := "", false
	cut := func(why string) {
		if when != "" || last {
			return
		}
		when = why
		if m.flush > 0 {
			when += ", at a flush"
			h.disk.arm(m.flush, func() { _ = cmd.Process.Kill() })
			return
		}
		time.AfterFunc(m.pause, func() { _ = cmd.Process.Kill() })
	}
	var log []string
	for console.Scan() {
		line, ours := strings.CutPrefix(strings.TrimSpace(console.Text()), tag)
		if log = append(log, line); !ours {
			continue
		}
		ended = ended || line == "END"
		h.heard(line)
		switch word, _, _ := strings.Cut(line, " "); word {
		case "START":
			if m.atStart {
				cut("while the daemon starts")
			}
		case "LOAD":
			if m.atTurn {
				cut("while a segment of the journal fills")
			}
		case "ACK":
			if m.acks--; m.acks == 0 {
				cut("under load")
			}
		}
	}
	_ = cmd.Wait()
	if err := <-served; err != nil {
		h.t.Errorf("boot %d: %v", n, err)
	}
	if h.held >= 0 && h.held != facts {
		h.t.Errorf("boot %d: %d facts were acknowledged, %d were looked at", n, facts, h.held)
	}
	if last && !ended || !last && when == "" {
		h.t.Errorf("boot %d ended by itself", n)
	}
	if h.t.Failed() {
		h.t.Logf("end of the console of boot %d:\n%s", n, strings.Join(log[max(0, len(log)-60):], "\n"))
		return
	}
	if !last {
		kept := []float64{0, 0, 0.5, 0.9}[h.rng.IntN(4)]
		cached, lost, err := h.disk.cut(h.rng, kept)
		if err != nil {
			h.t.Fatal(err)
		}
		h.cached, h.lost = h.cached+cached, h.lost+lost
		h.seen[when]++
		h.t.Logf("cut %d %s: %d calls acknowledged so far, %d sectors in the disk's cache, %d lost", n, when, len(h.told), cached, lost)
	}
}

// heard takes one line of the guest.
func (h *host) heard(line string) {
	word, rest, _ := strings.Cut(line, " ")
	f := strings.Fields(rest)
	switch {
	case word == "ACK" && len(f) == 3:
		h.told[f[0]] = f[1] + " " + f[2]
		if f[1] != "OUTCOME_EXITED" || f[2] != "0" {
			h.t.Errorf("%s", line)
		}
	case word == "AGAIN" && len(f) == 4:
		if got := f[1] + " " + f[2]; got != h.told[f[0]] || f[3] != "true" {
			h.t.Errorf("%s was acknowledged as %s, and is now %s (replayed: %s)", f[0], h.told[f[0]], got, f[3])
		}
		h.again[f[0]] = true
	case word == "LINES" && len(f) == 2:
		h.lines[f[0]], _ = strconv.Atoi(f[1])
	case word == "LOAD":
		h.whole = true
	case word == "READY" && len(f) == 1:
		ms, _ := strconv.Atoi(f[0])
		h.ready = append(h.ready, ms)
	case word == "JOURNAL" && strings.Contains(rest, " records, ") && !strings.HasSuffix(rest, " 0 bytes torn"):
		h.torn++
	case word == "FACT":
		h.facts = append(h.facts, rest)
	case word == "HELD":
		h.held, _ = strconv.Atoi(rest)
	case word == "LOST":
		h.t.Errorf("it was acknowledged and is gone: %s", rest)
	case word == "FAILED", word == "JOURNAL" && strings.HasPrefix(rest, "bad"):
		h.t.Errorf("the guest: %s", line)
	}
}

// check compares the lines that the guest found at its start with what had been
// acknowledged. A boot whose power went before has told of none.
func (h *host) check(n int) {
	if !h.whole {
		return
	}
	if len(h.again) != h.known {
		h.t.Errorf("boot %d: %d calls had been acknowledged, %d were told again", n, h.known, len(h.again))
	}
	for id, count := range h.lines {
		if count != 1 {
			h.t.Errorf("boot %d: %q has %d lines", n, id, count)
		}
	}
	for id := range h.again { // all that was acknowledged before this boot
		if synced(id) && h.lines[id] != 1 {
			h.t.Errorf("boot %d: %s was acknowledged and had brought its line to the disk, where %d are", n, id, h.lines[id])
		}
	}
}
