package source

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/policy/bundle"
)

// troubled serves a shelf, or what is wrong instead.
type troubled struct {
	*shelf
	wrong atomic.Pointer[http.HandlerFunc]
	asked atomic.Int64
}

func newTroubled(t *testing.T) (*troubled, string) {
	t.Helper()
	s := &troubled{shelf: newShelf(t)}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL
}

func (s *troubled) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer s.asked.Add(1)
	if wrong := s.wrong.Load(); wrong != nil {
		(*wrong)(w, r)
		return
	}
	s.shelf.ServeHTTP(w, r)
}

// TestServersInTrouble shows what a bundle service can do wrong: the policy
// before decides, the status says what is wrong, and only what is a bad bundle
// counts as refused. Then the service is well again.
func TestServersInTrouble(t *testing.T) {
	t.Parallel()
	server, url := newTroubled(t)
	server.put("/main.tar.gz", built(t, "one", "git:1"))
	f := start(t, httpConfig(t, url, t.TempDir()))
	f.wait(t, "one", false)
	next := built(t, "two", "git:2")
	code := func(c int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", c) }
	}
	send := func(body []byte, length int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(length))
			_, _ = w.Write(body) // the client notices
		}
	}
	many := map[string]string{}
	for n := range 5 {
		many[fmt.Sprintf("d%d/data.json", n)] = `{"x": "` + strings.Repeat("a", 14<<20) + `"}`
	}
	bomb := tarball(t, many)
	for _, c := range []struct {
		name, want string
		answer     http.HandlerFunc
		refused    bool
	}{
		{"404", "Not Found", code(http.StatusNotFound), false},
		{"500", "Internal Server Error", code(http.StatusInternalServerError), false},
		{"401", "Unauthorized", code(http.StatusUnauthorized), false},
		{"half a body", "broke off", send(next[:len(next)/2], len(next)), false},
		{"half a bundle", "unexpected EOF", send(next[:len(next)/2], len(next)/2), true},
		{"a page", "gzip: invalid header", send([]byte("<html>log in</html>"), 19), true},
		{"much in little", "more than 64 MiB, unpacked", send(bomb, len(bomb)), true},
		{"too much", "more than 32 MiB, packed", send(bytes.Repeat([]byte{1}, bundle.MaxBytes+2), bundle.MaxBytes+2), true},
	} {
		before := f.State().Refusals
		server.wrong.Store(&c.answer)
		f.await(t, func(s State) bool { return strings.Contains(s.Bundles[0].Error, c.want) })
		f.await(t, func(s State) bool { return (s.Refusals > before) == c.refused })
		if got := f.engine.Status().Error; f.rule(t) != "one" || (got != "") != c.refused {
			t.Errorf("%s: got the rule %s and the error %q, want refused %v", c.name, f.rule(t), got, c.refused)
		}
		server.wrong.Store(nil)
		f.await(t, func(s State) bool { return s.Bundles[0].Error == "" && s.LastError == "" })
		if e := f.engine.Status().Error; e != "" || f.rule(t) != "one" {
			t.Errorf("after %s: got the rule %s and the error %q", c.name, f.rule(t), e)
		}
	}

	// A server that says "not modified" of what it never gave changes nothing, and
	// one whose tag has expired gives the same again, which is no new revision.
	same := f.State().Activations
	unmodified := code(http.StatusNotModified)
	for _, answer := range []http.HandlerFunc{unmodified, send(built(t, "one", "git:1"), len(built(t, "one", "git:1")))} {
		asked := server.asked.Load()
		server.wrong.Store(&answer)
		f.await(t, func(State) bool { return server.asked.Load() > asked+1 })
	}
	server.wrong.Store(nil)
	if s := f.State(); s.Activations != same || s.LastError != "" || f.rule(t) != "one" {
		t.Errorf("the same again: got %+v", s)
	}
	server.put("/main.tar.gz", next)
	f.wait(t, "two", false)
}

// TestMistakeInTheFirstOfTwoBundles: the one that comes last makes it seen, and
// the one that it is in is named. Either order mends it.
func TestMistakeInTheFirstOfTwoBundles(t *testing.T) {
	t.Parallel()
	server := newShelf(t)
	bad := strings.Replace(string(module("x")), "visible := set()", "visible := http.send({\"method\": \"get\", \"url\": \"http://127.0.0.1\"}).body", 1)
	main := func(text string) []byte {
		return tarball(t, map[string]string{"sandgate/main.rego": text, ".manifest": `{"revision": "m", "roots": ["sandgate"]}`})
	}
	server.put("/main.tar.gz", main(bad))
	cfg := httpConfig(t, server.URL, t.TempDir())
	cfg.Bundles["tenant"] = quickly("central", "tenant.tar.gz")
	f := start(t, cfg)
	f.await(t, func(s State) bool { return !s.Bundles[0].LastActivation.IsZero() && s.Bundles[1].Error != "" })
	if err := f.engine.Ready(); err == nil || !strings.Contains(err.Error(), "bundle tenant") {
		t.Errorf("without the second bundle: got %v, want an error that names it", err)
	}
	server.put("/tenant.tar.gz", tarball(t, map[string]string{"tenant/data.json": `{"rule": "x"}`, ".manifest": `{"revision": "t", "roots": ["tenant"]}`}))
	f.await(t, func(s State) bool { return strings.Contains(s.LastError, "http.send") })
	if e := f.State().LastError; !strings.Contains(e, "the mistake is in the bundle main: ") {
		t.Errorf("got %q, want the bundle main to be blamed", e)
	}
	server.put("/main.tar.gz", main(string(module("mended"))))
	f.wait(t, "mended", false)
}

// TestKeysAreRotated: while both keys are known, bundles of both are taken, of a
// foreign scope none.
func TestKeysAreRotated(t *testing.T) {
	t.Parallel()
	oldKey, keys := keyPair(t)
	newKey, others := keyPair(t)
	keys = &bundle.Verification{Keys: maps.Clone(keys.Keys), Scope: "prod"}
	keys.Keys["k2"] = others.Keys["k1"]
	sign := func(rule, key, id, scope string) []byte {
		raw, err := bundle.Sign(built(t, rule, "git:"+rule), bundle.SignOptions{Key: key, KeyID: id, Scope: scope})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	server := newShelf(t)
	server.put("/main.tar.gz", sign("old", oldKey, "k1", "prod"))
	cfg := httpConfig(t, server.URL, t.TempDir())
	cfg.Keys = keys
	f := start(t, cfg)
	f.wait(t, "old", false)
	server.put("/main.tar.gz", sign("new", newKey, "k2", "prod"))
	f.wait(t, "new", false)
	for name, raw := range map[string][]byte{
		"of another scope":       sign("bad", newKey, "k2", "test"),
		"of no scope":            sign("bad", newKey, "k2", ""),
		"of an unknown id":       sign("bad", newKey, "k3", "prod"),
		"under the other's name": sign("bad", oldKey, "k2", "prod"),
	} {
		before := f.State().Refusals
		server.put("/main.tar.gz", raw)
		f.await(t, func(s State) bool { return s.Refusals > before })
		if f.rule(t) != "new" {
			t.Errorf("a bundle %s was taken", name)
		}
		server.put("/main.tar.gz", sign("new", newKey, "k2", "prod"))
		f.wait(t, "new", false)
	}
}

// TestRegistryIsAwayAtTheStart: nothing decides, which is said, and then comes.
func TestRegistryIsAwayAtTheStart(t *testing.T) {
	t.Parallel()
	var up atomic.Bool
	handler := registry.New(registry.Logger(zap.NewStdLog(zap.NewNop())))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !up.Load() {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	data := t.TempDir()
	cfg := Config{
		Bundles: map[string]map[string]any{"main": quickly("registry", host+"/team/policy:prod")},
		Opa:     OPA{Services: map[string]map[string]any{"registry": {"url": server.URL, "type": "oci"}}, DataDir: data, ID: "test"},
	}
	f := start(t, cfg)
	f.await(t, func(s State) bool { return s.LastError != "" })
	if err := f.engine.Ready(); err == nil || !strings.Contains(err.Error(), "bundle main: ") {
		t.Errorf("Ready: got %v, want an error that names the bundle", err)
	}
	up.Store(true)
	if _, err := bundle.Push(t.Context(), host+"/team/policy:prod", built(t, "one", "git:1"), bundle.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	f.wait(t, "one", false)
	// What was pulled decides after a start without the registry.
	up.Store(false)
	again := start(t, cfg)
	again.wait(t, "one", false)
}

// TestStatusIsReported sends OPA's status to a collector.
func TestStatusIsReported(t *testing.T) {
	t.Parallel()
	server := newShelf(t)
	server.put("/main.tar.gz", built(t, "one", "git:1"))
	statuses := make(chan map[string]any, 1000)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Errorf("%s: %v", r.URL, err)
		}
		statuses <- body
	}))
	t.Cleanup(collector.Close)
	cfg := httpConfig(t, server.URL, t.TempDir())
	cfg.Opa.Services["collector"] = map[string]any{"url": collector.URL}
	cfg.Opa.Status = map[string]any{"service": "collector"}
	cfg.Opa.Labels = map[string]string{"site": "here"}
	f := start(t, cfg)
	f.wait(t, "one", false)
	await := func(want ...string) {
		t.Helper()
		late := time.After(30 * time.Second)
		for {
			select {
			case body := <-statuses:
				text, err := json.Marshal(body)
				if err != nil {
					t.Fatal(err)
				}
				missing := false
				for _, w := range want {
					missing = missing || !strings.Contains(string(text), w)
				}
				if !missing {
					return
				}
			case <-late:
				t.Fatalf("no status with %q", want)
			}
		}
	}
	await(`"active_revision":"git:1"`, `"site":"here"`)
	server.put("/main.tar.gz", forbidden(t))
	await(`"active_revision":"git:1"`, "http.send")
}

// TestMasksSeeDataOfADirectory: what is kept out of the log can be listed in data,
// and a new list holds for what is decided under it.
func TestMasksSeeDataOfADirectory(t *testing.T) {
	t.Parallel()
	c, dir := newCollector(t), t.TempDir()
	close(c.hold)
	c.failed = 1
	write(t, dir+"/main.rego", module("one"))
	write(t, dir+"/mask/data.json", []byte(`{"secret": ["/input/call/args/token"]}`))
	write(t, dir+"/mask.rego", []byte("package system.log\n\nmask contains path if some path in data.mask.secret\n"))
	f := start(t, Config{Dir: dir, Opa: OPA{
		Services:     map[string]map[string]any{"collector": {"url": c.URL}},
		DecisionLogs: map[string]any{"service": "collector", "reporting": map[string]any{"min_delay_seconds": 1, "max_delay_seconds": 1}}, ID: "d",
	}})
	f.wait(t, "one", false)
	decide := func() {
		in := policy.Input{}
		in.Call.Tool, in.Call.Args = "bash", json.RawMessage(`{"token": "s3cr3t", "path": "private"}`)
		in = f.engine.Complete(in)
		f.Decided(in, f.engine.Decide(t.Context(), in), time.Millisecond)
	}
	decide()
	text, err := json.Marshal(c.wait(t, func() {}))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "s3cr3t") || !strings.Contains(string(text), "private") {
		t.Errorf("got %s, want the token masked and the path not", text)
	}
	replace(t, dir+"/mask/data.json", []byte(`{"secret": ["/input/call/args/token", "/input/call/args/path"]}`))
	f.await(t, func(s State) bool { return s.Activations == 2 })
	c.mu.Lock()
	c.events = nil
	c.mu.Unlock()
	decide()
	if text, err = json.Marshal(c.wait(t, func() {})); err != nil || strings.Contains(string(text), "private") {
		t.Errorf("got %s and %v, want both masked", text, err)
	}
}
