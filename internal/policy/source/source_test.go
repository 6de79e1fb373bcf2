package source

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/policy/bundle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// module is a policy that denies everything by one rule.
func module(rule string) []byte {
	return []byte(fmt.Sprintf(`package sandgate

default decision := {"outcome": "deny", "reasons": [{"rule": %q, "message": "denied"}]}

visible := set()
`, rule))
}

// fixture is a source under test.
type fixture struct {
	*Source
	engine  *policy.Engine
	changed chan struct{}
}

func start(t *testing.T, cfg Config) *fixture {
	t.Helper()
	engine, err := policy.New(t.Context(), policy.Config{NoPolicy: true})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{engine: engine, changed: make(chan struct{}, 1000)}
	cfg.Engine, cfg.Logger = engine, zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel))
	cfg.Changed = func(context.Context) { f.changed <- struct{}{} }
	if cfg.Settle == 0 {
		cfg.Settle = 10 * time.Millisecond
	}
	if cfg.Poll == 0 {
		cfg.Poll = time.Hour // inotify has to do
	}
	if f.Source, err = Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		f.Close(context.Background())
	})
	return f
}

// rule is by which rule the engine decides.
func (f *fixture) rule(t *testing.T) string {
	t.Helper()
	return f.engine.Decide(t.Context(), policy.Input{}).Reasons[0].Rule
}

// wait waits until the engine decides by a rule, and its status is as wanted.
func (f *fixture) wait(t *testing.T, rule string, refused bool) {
	t.Helper()
	late := time.After(30 * time.Second)
	for {
		s := f.engine.Status()
		if f.rule(t) == rule && (s.Error != "") == refused {
			return
		}
		select {
		case <-f.changed:
		case <-late:
			t.Fatalf("got the rule %s and the status %+v, want %s and refused %v", f.rule(t), s, rule, refused)
		}
	}
}

func write(t *testing.T, name string, body []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, body, 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace writes a file as careful people do.
func replace(t *testing.T, name string, body []byte) {
	t.Helper()
	write(t, name+".new", body)
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

func TestDirectoryIsFollowed(t *testing.T) {
	dir := t.TempDir()
	main := filepath.Join(dir, "sandgate", "main.rego")
	write(t, main, module("one"))
	f := start(t, Config{Dir: dir})
	f.wait(t, "one", false)

	replace(t, main, module("two"))
	f.wait(t, "two", false)

	write(t, main, module("half")[:60])
	f.wait(t, "two", true)
	write(t, main, module("three"))
	f.wait(t, "three", false)

	write(t, filepath.Join(dir, "sandgate", "more", "more.rego"), []byte("package sandgate.more\n\nx := http.send({})\n"))
	f.wait(t, "three", true)
	replace(t, filepath.Join(dir, "sandgate", "more", "more.rego"), []byte("package sandgate.more\n\nx := 1\n"))
	f.wait(t, "three", false)

	if s := f.State(); s.Kind != KindDirectory || s.Activations < 4 || s.Refusals < 2 || s.LastSuccess.IsZero() || s.Rules != 1 {
		t.Errorf("state: got %+v", s)
	}
}

// TestMountedConfigMapIsFollowed changes a directory as the kubelet does: files
// are symlinks into ..data, itself a symlink that is replaced.
func TestMountedConfigMapIsFollowed(t *testing.T) {
	dir := t.TempDir()
	publish := func(version, rule string) {
		write(t, filepath.Join(dir, "..v"+version, "main.rego"), module(rule))
		next := filepath.Join(dir, "..data_tmp")
		if err := os.Symlink("..v"+version, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	publish("1", "one")
	if err := os.Symlink("..data/main.rego", filepath.Join(dir, "main.rego")); err != nil {
		t.Fatal(err)
	}
	f := start(t, Config{Dir: dir})
	f.wait(t, "one", false)
	publish("2", "two")
	f.wait(t, "two", false)
}

func TestWithoutInotifyThePolicyIsLookedAt(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.rego"), module("one"))
	f := start(t, Config{Dir: dir, Settle: time.Hour, Poll: 20 * time.Millisecond})
	f.wait(t, "one", false)
	replace(t, filepath.Join(dir, "main.rego"), module("two"))
	f.wait(t, "two", false)
}

func keyPair(t *testing.T) (private string, keys *bundle.Verification) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, raw []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}))
	}
	keys = &bundle.Verification{Keys: map[string]bundle.Key{"k1": {PEM: text("PUBLIC KEY", public)}}}
	if err := keys.Check(); err != nil {
		t.Fatal(err)
	}
	return text("PRIVATE KEY", secret), keys
}

// built is a bundle of one module.
func built(t *testing.T, rule, revision string) []byte {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "sandgate", "main.rego"), module(rule))
	raw, err := bundle.Build(t.Context(), dir, bundle.BuildOptions{Revision: revision})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func signed(t *testing.T, raw []byte, private string) []byte {
	t.Helper()
	out, err := bundle.Sign(raw, bundle.SignOptions{Key: private, KeyID: "k1"})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSignedBundleFileIsFollowed(t *testing.T) {
	private, keys := keyPair(t)
	stranger, _ := keyPair(t)
	name := filepath.Join(t.TempDir(), "policy.tar.gz")
	write(t, name, signed(t, built(t, "one", "git:1"), private))
	f := start(t, Config{File: name, Keys: keys})
	f.wait(t, "one", false)
	if rev := f.engine.Status().Revision; !strings.HasPrefix(rev, "git:1@sha256:") {
		t.Errorf("revision: got %s", rev)
	}
	replace(t, name, built(t, "two", "git:2"))
	f.wait(t, "one", true)
	if e := f.State().LastError; !strings.Contains(e, "no signature") {
		t.Errorf("unsigned: got %q", e)
	}
	good := signed(t, built(t, "three", "git:3"), private)
	write(t, name, good[:len(good)/2])
	f.wait(t, "one", true)
	replace(t, name, signed(t, built(t, "two", "git:2"), stranger))
	f.wait(t, "one", true)
	replace(t, name, good)
	f.wait(t, "three", false)
}

func TestNothingIsLoadedIsSaid(t *testing.T) {
	f := start(t, Config{Dir: filepath.Join(t.TempDir(), "missing"), Poll: 20 * time.Millisecond})
	if err := f.engine.Ready(); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("Ready: got %v, want an error that names the directory", err)
	}
	write(t, filepath.Join(f.cfg.Dir, "main.rego"), module("one"))
	f.wait(t, "one", false)
}
