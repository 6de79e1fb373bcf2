package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/policies"
)

// pair is a private key and its public one, as PEM.
func pair(t *testing.T, key any) (private, public string) {
	t.Helper()
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	private = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
	var open any
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		open = k.Public()
	case *rsa.PrivateKey:
		open = k.Public()
	case ed25519.PrivateKey:
		open = k.Public()
	}
	if raw, err = x509.MarshalPKIXPublicKey(open); err != nil {
		t.Fatal(err)
	}
	return private, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: raw}))
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func library(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "policy")
	if err := os.CopyFS(dir, policies.FS); err != nil {
		t.Fatal(err)
	}
	return dir
}

func keysOf(t *testing.T, public string) *Verification {
	t.Helper()
	v := &Verification{Keys: map[string]Key{"k1": {PEM: public}}}
	if err := v.Check(); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestBuildIsRepeatableAndLoads(t *testing.T) {
	dir := library(t)
	first, err := Build(t.Context(), dir, BuildOptions{Revision: "git:abc"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := Build(t.Context(), dir, BuildOptions{Revision: "git:abc"})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("two builds of the same files differ")
	}
	p, err := Read("bundle.tar.gz", first, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name := range p.Files {
		if strings.HasSuffix(name, "_test.rego") {
			t.Errorf("the bundle has the test %s", name)
		}
	}
	e, err := policy.New(t.Context(), policy.Config{NoPolicy: true, Isolations: []string{"runc", "gvisor"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Activate(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if rev := e.Status().Revision; !strings.HasPrefix(rev, "git:abc@sha256:") {
		t.Errorf("revision: got %q, want git:abc and a hash", rev)
	}
}

func TestBuildRefusesWhatTheDaemonWould(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.rego"), []byte("package sandgate\n\ndecision := {} if http.send({})\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), dir, BuildOptions{}); err == nil || !strings.Contains(err.Error(), "http.send") {
		t.Errorf("got %v, want an error about http.send", err)
	}
}

func TestSignatures(t *testing.T) {
	raw, err := Build(t.Context(), library(t), BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	private, public := pair(t, ecKey(t))
	rsaPrivate, rsaPublic := pair(t, rsaKey)
	_, other := pair(t, ecKey(t))
	signed, err := Sign(raw, SignOptions{Key: private, KeyID: "k1"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Sign(signed, SignOptions{Key: rsaPrivate, KeyID: "k1", Scope: "sandgate"})
	if err != nil {
		t.Fatal(err)
	}
	scoped := keysOf(t, rsaPublic)
	scoped.Scope = "sandgate"
	for _, c := range []struct {
		name string
		raw  []byte
		keys *Verification
		want string // of the error; empty: none
	}{
		{"good", signed, keysOf(t, public), ""},
		{"signed anew, with a scope", again, scoped, ""},
		{"not looked at", signed, nil, ""},
		{"unsigned", raw, keysOf(t, public), "has no signature"},
		{"another key", signed, keysOf(t, other), "verif"},
		{"another scope", signed, &Verification{Keys: keysOf(t, public).Keys, Scope: "other"}, "scope"},
		{"a file changed", tampered(t, signed, "sandgate/main.rego", nil), keysOf(t, public), "main.rego"},
		{"a file added", tampered(t, signed, "sandgate/added.rego", []byte("package sandgate.added\n")), keysOf(t, public), "added.rego"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Read("b", c.raw, c.keys)
			if (c.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// tampered changes a file of a bundle, or adds it.
func tampered(t *testing.T, raw []byte, name string, body []byte) []byte {
	t.Helper()
	files, err := unpack(raw)
	if err != nil {
		t.Fatal(err)
	}
	if body == nil {
		body = append(bytes.Clone(files[name]), "\n# changed\n"...)
	}
	files[name] = body
	return archive(t, files)
}

func archive(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	tw := tar.NewWriter(zipped)
	for name, body := range files {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(body)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(body); err != nil {
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

func TestSignedDirectories(t *testing.T) {
	dir := library(t)
	private, public := pair(t, ecKey(t))
	keys := keysOf(t, public)
	verify := func() error {
		p, err := policy.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return VerifyDir(p, keys)
	}
	if err := verify(); err == nil || !strings.Contains(err.Error(), "no signature") {
		t.Errorf("unsigned: got %v", err)
	}
	if err := SignDir(dir, SignOptions{Key: private, KeyID: "k1"}); err != nil {
		t.Fatal(err)
	}
	if err := verify(); err != nil {
		t.Errorf("signed: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sandgate", "more.rego"), []byte("package sandgate.more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := verify(); err == nil || !strings.Contains(err.Error(), "more.rego") {
		t.Errorf("a file added: got %v", err)
	}
}

func TestWhatIsNoBundle(t *testing.T) {
	bomb := archive(t, map[string][]byte{"data.json": bytes.Repeat([]byte(" "), MaxUnpacked+1)})
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"text":   {[]byte("no bundle"), "is not a bundle"},
		"half":   {archive(t, map[string][]byte{"a.rego": bytes.Repeat([]byte("package a\n"), 9)})[:60], "is not a bundle"},
		"escape": {archive(t, map[string][]byte{"../a.rego": []byte("package a\n")}), "not a regular file in it"},
		"bomb":   {bomb, "MiB of files"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Read("b", c.raw, nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestKeysThatDoNotFit(t *testing.T) {
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, public := pair(t, ecKey(t))
	edPrivate, edPublic := pair(t, edKey)
	for _, c := range []struct{ key, alg, want string }{
		{private, "", "is a private key"},
		{edPublic, "", "Ed25519"},
		{public, "EdDSA", "EdDSA"},
		{public, "RS256", "does not fit"},
		{"secret", "", "no PEM"},
		{"secret", "XX256", "unknown algorithm"},
	} {
		v := Verification{Keys: map[string]Key{"k": {PEM: c.key, Algorithm: c.alg}}}
		if err := v.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %.30s: got %v, want an error with %q", c.alg, c.key, err, c.want)
		}
	}
	raw, err := Build(t.Context(), library(t), BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{edPrivate, public} {
		if _, err := Sign(raw, SignOptions{Key: key, KeyID: "k"}); err == nil {
			t.Errorf("signed with %.30s", key)
		}
	}
}
