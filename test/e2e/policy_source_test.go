package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// numbered is a policy that denies every call by a rule that names its number,
// unless expr holds.
func numbered(n int, expr string) string {
	return fmt.Sprintf(`package sandgate

default decision := {"outcome": "deny", "reasons": [{"rule": "rev-%[1]d", "message": "denied"}]}

decision := {"outcome": "deny", "reasons": [{"rule": "hostile", "message": "denied"}]} if {
	input.session.profile == "open"
	%[2]s
}

visible := {tool.name | some tool in input.tools}
`, n, expr)
}

func publishPolicy(t *testing.T, dir, text string) {
	t.Helper()
	next := filepath.Join(dir, ".next")
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(dir, "main.rego")); err != nil {
		t.Fatal(err)
	}
}

// policyIs waits until the daemon's policy is as wanted.
func policyIs(t *testing.T, d *daemontest.Daemon, want func(*sandgatev1.PolicyStatus) bool) *sandgatev1.PolicyStatus {
	t.Helper()
	var s *sandgatev1.PolicyStatus
	if !daemontest.Eventually(30*time.Second, func() bool {
		resp, err := d.Policy.GetStatus(t.Context(), &sandgatev1.GetStatusRequest{})
		s = resp.GetStatus()
		return err == nil && want(s)
	}) {
		t.Fatalf("the policy stays %v", s)
	}
	return s
}

// TestHostilePolicies gives a running daemon policies that do not end, want all
// memory or are not to be taken: each decision is there in time, and afterwards
// the daemon decides, and holds as much as before.
func TestHostilePolicies(t *testing.T) {
	daemontest.RequireRoot(t)
	base := shortDir(t)
	dir, metrics := filepath.Join(base, "policy"), filepath.Join(base, "metrics.sock")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	publishPolicy(t, dir, numbered(0, "false"))
	d := daemontest.Start(t, "pool: {idle: 1}\npolicy: {dir: "+dir+"}\nmetrics: {address: \"unix://"+metrics+"\"}\n")
	call := func() (rule string, err error) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		resp, err := d.Tools.Execute(ctx, daemontest.Bash("true", daemontest.Profile("open")))
		if reasons := resp.GetResult().GetDecision().GetReasons(); len(reasons) > 0 {
			rule = reasons[0].GetRule()
		}
		return rule, err
	}
	if rule, err := call(); err != nil || rule != "rev-0" {
		t.Fatalf("decided by %q, %v", rule, err)
	}
	goroutines, resident := metric(t, metrics, "go_goroutines"), d.ResidentBytes(t)
	for name, expr := range map[string]string{
		"a loop":       "count([1 | some a in numbers.range(1, 20000); some b in numbers.range(1, 20000); a * b > 0]) > 0",
		"much memory":  "count({[a, b] | some a in numbers.range(1, 5000); some b in numbers.range(1, 5000)}) > 0",
		"doubled text": "f := concat(\"\", [\"%999999d\" | some i in numbers.range(1, 900)])\n\tcount(sprintf(f, numbers.range(1, 900))) > 0",
	} {
		before := policyIs(t, d, func(*sandgatev1.PolicyStatus) bool { return true }).GetActivations()
		publishPolicy(t, dir, numbered(100, expr))
		policyIs(t, d, func(s *sandgatev1.PolicyStatus) bool { return s.GetActivations() > before })
		if rule, err := call(); err != nil || !strings.HasPrefix(rule, "daemon:") {
			t.Errorf("%s: decided by %q, %v; want a deny of the daemon's own", name, rule, err)
		}
	}
	publishPolicy(t, dir, numbered(200, `http.send({"method": "get", "url": "http://127.0.0.1"})`))
	s := policyIs(t, d, func(s *sandgatev1.PolicyStatus) bool { return len(s.GetErrors()) > 0 })
	if !strings.Contains(s.GetErrors()[0], "http.send is not available") || s.GetRefusals() == 0 {
		t.Errorf("a forbidden built-in: got %v", s)
	}
	publishPolicy(t, dir, numbered(201, "false"))
	policyIs(t, d, func(s *sandgatev1.PolicyStatus) bool { return len(s.GetErrors()) == 0 })
	if rule, err := call(); err != nil || rule != "rev-201" {
		t.Errorf("after hostile policies: decided by %q, %v", rule, err)
	}
	late := time.After(time.Minute)
	for {
		now, held := metric(t, metrics, "go_goroutines"), d.ResidentBytes(t)
		t.Logf("%.0f goroutines, before %.0f; %d MiB resident, before %d", now, goroutines, held>>20, resident>>20)
		if now <= goroutines+4 && held < resident+maxKeptBytes {
			return
		}
		select {
		case <-late:
			t.Fatalf("after hostile policies: %.0f goroutines, before %.0f; %d MiB resident, before %d", now, goroutines, held>>20, resident>>20)
		case <-time.After(time.Second):
		}
	}
}

// maxKeptBytes is what a daemon may hold more after hostile policies than before:
// what Go's heap keeps of it for a while.
const maxKeptBytes = 64 << 20

// metric is one figure of a daemon that serves its metrics on a socket.
func metric(t *testing.T, socket, name string) float64 {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	resp, err := client.Get("http://daemon/metrics")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("the metrics have no %s", name)
	return 0
}
