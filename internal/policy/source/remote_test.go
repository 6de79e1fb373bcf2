package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/policy/bundle"
)

// shelf serves bundles by path with etags, as a bundle service does.
type shelf struct {
	*httptest.Server
	mu          sync.Mutex
	bundles     map[string][]byte
	notModified int
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{bundles: map[string][]byte{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// put replaces a bundle; nil takes it away.
func (s *shelf) put(path string, raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bundles[path] = raw
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	raw := s.bundles[r.URL.Path]
	etag := fmt.Sprintf("%q", fmt.Sprintf("%x", len(raw))+fmt.Sprint(checksum(raw)))
	switch {
	case raw == nil:
		http.Error(w, "away", http.StatusServiceUnavailable)
	case r.Header.Get("If-None-Match") == etag:
		s.notModified++
		w.Header().Set("ETag", etag)
		w.WriteHeader(http.StatusNotModified)
	default:
		w.Header().Set("ETag", etag)
		_, _ = w.Write(raw) // the client notices
	}
}

func checksum(raw []byte) (sum uint64) {
	for _, c := range raw {
		sum = sum*31 + uint64(c)
	}
	return sum
}

func quickly(service, resource string) map[string]any {
	return map[string]any{"service": service, "resource": resource, "polling": map[string]any{"min_delay_seconds": 1, "max_delay_seconds": 1}}
}

func httpConfig(t *testing.T, url, dataDir string) Config {
	t.Helper()
	return Config{
		Bundles: map[string]map[string]any{"main": quickly("central", "main.tar.gz")},
		Opa:     OPA{Services: map[string]map[string]any{"central": {"url": url}}, DataDir: dataDir, ID: "test"},
	}
}

func TestBundlesOverHTTP(t *testing.T) {
	private, keys := keyPair(t)
	stranger, _ := keyPair(t)
	server, data := newShelf(t), t.TempDir()
	server.put("/main.tar.gz", signed(t, built(t, "one", "git:1"), private))
	cfg := httpConfig(t, server.URL, data)
	cfg.Keys = keys
	f := start(t, cfg)
	f.wait(t, "one", false)
	if rev := f.engine.Status().Revision; !strings.HasPrefix(rev, "git:1@sha256:") {
		t.Errorf("revision: got %s", rev)
	}
	for name, raw := range map[string][]byte{
		"unsigned":  built(t, "bad", "git:2"),
		"a foreign": signed(t, built(t, "bad", "git:3"), stranger),
		"forbidden": signed(t, forbidden(t), private),
	} {
		before := f.State().Refusals
		server.put("/main.tar.gz", raw)
		f.await(t, func(s State) bool { return s.Refusals > before })
		if f.rule(t) != "one" || f.engine.Status().Error == "" {
			t.Errorf("%s bundle: got the rule %s and status %+v", name, f.rule(t), f.engine.Status())
		}
	}
	server.put("/main.tar.gz", signed(t, built(t, "two", "git:4"), private))
	f.wait(t, "two", false)
	f.await(t, func(s State) bool { return s.Bundles[0].Revision == "git:4" })
	b := f.State().Bundles[0]
	if b.Name != "main" || b.Revision != "git:4" || b.ETag == "" || b.Error != "" || b.Size == 0 || b.LastActivation.IsZero() {
		t.Errorf("state of the bundle: got %+v", b)
	}

	// The server goes away, the daemon starts again: what was kept decides.
	server.put("/main.tar.gz", nil)
	f.await(t, func(s State) bool { return s.Bundles[0].Error != "" })
	if e := f.engine.Status().Error; e != "" {
		t.Errorf("a server that is away was taken for a refusal: %s", e)
	}
	again := start(t, cfg)
	again.wait(t, "two", false)
}

// await waits until the state is as wanted.
func (f *fixture) await(t *testing.T, good func(State) bool) {
	t.Helper()
	late := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !good(f.State()) {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("the state stays %+v", f.State())
		}
	}
}

// forbidden is a bundle that OPA would take and the daemon must not.
func forbidden(t *testing.T) []byte {
	t.Helper()
	body := strings.Replace(string(module("bad")), "visible := set()", "visible := http.send({\"method\": \"get\", \"url\": \"http://127.0.0.1\"}).body", 1)
	return tarball(t, map[string]string{"sandgate/main.rego": body, ".manifest": `{"revision": "x"}`})
}

func tarball(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	tw := tar.NewWriter(zipped)
	for name, body := range files {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(body)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestSeveralBundlesAndADelta composes a policy of two bundles, of which one is
// changed by a delta of its data.
func TestSeveralBundlesAndADelta(t *testing.T) {
	server := newShelf(t)
	main := strings.Replace(string(module("x")), `"x"`, "data.tenant.rule", 1)
	main = strings.Replace(main, "default decision := ", "default decision := {\"outcome\": \"deny\", \"reasons\": [{\"rule\": \"none\", \"message\": \"m\"}]}\n\ndecision := ", 1)
	server.put("/main.tar.gz", tarball(t, map[string]string{"sandgate/main.rego": main, ".manifest": `{"revision": "m1", "roots": ["sandgate"]}`}))
	tenant := func(rule string) []byte {
		return tarball(t, map[string]string{"tenant/data.json": fmt.Sprintf(`{"rule": %q}`, rule), ".manifest": `{"revision": "t-` + rule + `", "roots": ["tenant"]}`})
	}
	server.put("/tenant.tar.gz", tenant("one"))
	cfg := httpConfig(t, server.URL, t.TempDir())
	cfg.Bundles["tenant"] = quickly("central", "tenant.tar.gz")
	cfg.Bundles["tenant"]["persist"] = false // OPA keeps no deltas
	f := start(t, cfg)
	f.wait(t, "one", false)
	if rev := f.engine.Status().Revision; !strings.HasPrefix(rev, "main=m1,tenant=t-one@sha256:") {
		t.Errorf("revision: got %s", rev)
	}
	server.put("/tenant.tar.gz", tarball(t, map[string]string{
		"patch.json": `{"data": [{"op": "upsert", "path": "/tenant/rule", "value": "two"}]}`,
		".manifest":  `{"revision": "t-two", "roots": ["tenant"]}`,
	}))
	f.wait(t, "two", false)
	f.await(t, func(s State) bool { return s.Bundles[1].Revision == "t-two" })
	if b := f.State().Bundles[1]; b.Type != "delta" || b.Revision != "t-two" {
		t.Errorf("state of the bundle: got %+v", b)
	}
	// Roots that overlap are OPA's to refuse.
	server.put("/tenant.tar.gz", tarball(t, map[string]string{"sandgate/x/data.json": `{"a": 1}`, ".manifest": `{"revision": "o", "roots": ["sandgate"]}`}))
	f.await(t, func(s State) bool { return s.Refusals > 0 })
	if f.rule(t) != "two" || !strings.Contains(f.engine.Status().Error, "overlap") {
		t.Errorf("overlapping roots: got the rule %s and %q", f.rule(t), f.engine.Status().Error)
	}
}

func TestBundlesFromARegistry(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(zap.NewStdLog(zap.NewNop()))))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	private, keys := keyPair(t)
	push := func(rule string) {
		ref, err := bundle.Push(t.Context(), host+"/team/policy:prod", signed(t, built(t, rule, "git:"+rule), private), bundle.PushOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(ref, "@sha256:") {
			t.Errorf("pushed as %s, want a digest", ref)
		}
	}
	push("one")
	f := start(t, Config{
		Bundles: map[string]map[string]any{"main": quickly("registry", host+"/team/policy:prod")},
		Opa:     OPA{Services: map[string]map[string]any{"registry": {"url": server.URL, "type": "oci"}}, DataDir: t.TempDir(), ID: "test"},
		Keys:    keys,
	})
	f.wait(t, "one", false)
	push("two")
	f.wait(t, "two", false)
}

// collector takes OPA's decision logs and statuses; the first upload fails.
type collector struct {
	*httptest.Server
	mu      sync.Mutex
	events  []map[string]any
	failed  int
	zipped  bool
	arrived chan struct{}
	hold    chan struct{} // closed: answer
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{arrived: make(chan struct{}, 10_000), hold: make(chan struct{})}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	<-c.hold
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { c.arrived <- struct{}{} }()
	if c.failed == 0 {
		c.failed++
		http.Error(w, "not yet", http.StatusServiceUnavailable)
		return
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		c.zipped = true
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unzipped
	}
	var list []map[string]any
	if err := json.NewDecoder(body).Decode(&list); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.events = append(c.events, list...)
}

func TestDecisionLogs(t *testing.T) {
	c, dir := newCollector(t), t.TempDir()
	write(t, dir+"/main.rego", module("one"))
	write(t, dir+"/mask.rego", []byte("package system.log\n\nmask contains \"/input/call/args/token\"\n\ndrop if input.input.call.tool == \"dropped\"\n"))
	f := start(t, Config{Dir: dir, Opa: OPA{
		Services:     map[string]map[string]any{"collector": {"url": c.URL}},
		DecisionLogs: map[string]any{"service": "collector", "reporting": map[string]any{"min_delay_seconds": 1, "max_delay_seconds": 1}},
		Labels:       map[string]string{"site": "here"}, ID: "daemon-1",
	}})
	decide := func(tool string) {
		in := policy.Input{}
		in.Call.Tool, in.Call.Args = tool, json.RawMessage(`{"token": "s3cr3t", "path": "a"}`)
		in = f.engine.Complete(in)
		d := f.engine.Decide(t.Context(), in)
		f.Decided(in, d, time.Millisecond)
	}
	// The collector does not answer: deciding goes on, what is too much is dropped.
	const many = 3 * maxWaiting
	began := time.Now()
	for range many {
		decide("dropped")
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("%d decisions took %s beside a log that does not answer", many, took)
	}
	if f.State().LogDropped == 0 {
		t.Log("the log kept up with the decisions")
	}
	close(c.hold)
	decide("bash")
	event := c.wait(t, func() { decide("bash") })
	text, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "s3cr3t") {
		t.Errorf("the masked field is in the log: %s", text)
	}
	for _, want := range []string{`"decision_id"`, `"path":"sandgate/decision"`, `"site":"here"`, `"rule":"one"`, `"path":"a"`, `"erased":["/input/call/args/token"]`, `sha256:`, `"metrics"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the event has no %s: %s", want, text)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.zipped || c.failed == 0 {
		t.Errorf("zipped %v, failed %d: want gzip and a retry", c.zipped, c.failed)
	}
	for _, e := range c.events {
		if call, ok := e["input"].(map[string]any)["call"].(map[string]any); ok && call["tool"] == "dropped" {
			t.Fatal("an event that the policy drops was sent")
		}
	}
}

// first is the first event that has arrived, nil if none has.
func (c *collector) first() map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.events) == 0 {
		return nil
	}
	return c.events[0]
}

// wait returns the first event that arrives; again makes another one, since the
// first may have been dropped.
func (c *collector) wait(t *testing.T, again func()) map[string]any {
	t.Helper()
	late := time.After(30 * time.Second)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if event := c.first(); event != nil {
			return event
		}
		again()
		select {
		case <-c.arrived:
		case <-tick.C:
		case <-late:
			t.Fatal("no event arrives")
		}
	}
}
