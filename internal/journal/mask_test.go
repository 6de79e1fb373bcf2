package journal

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The secrets are put together here so that no scanner takes this file for a leak.
func secrets() map[string]string {
	return map[string]string{
		"aws key":       "AKIA" + "ABCDEFGHIJKLMNOP",
		"aws secret":    "aws_secret_access_key=" + strings.Repeat("aB3/", 10),
		"github":        "ghp_" + strings.Repeat("a1B2", 9),
		"github pat":    "github_pat_" + strings.Repeat("a1B2", 9),
		"gitlab":        "glpat-" + strings.Repeat("a1B2", 5),
		"slack":         "xoxb-" + "123456789012-abcdefghijkl",
		"openai":        "sk-" + "proj-" + strings.Repeat("a1B2", 9),
		"stripe":        "sk_live_" + strings.Repeat("a1B2", 6),
		"google":        "AIza" + strings.Repeat("a1B2c", 7),
		"jwt":           "eyJhbGciOiJI" + ".eyJzdWIiOiIx" + ".c2lnbmF0dXJl",
		"bearer":        "Authorization: Bearer " + strings.Repeat("a1B2", 6),
		"pem":           "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIEabc\n-----END RSA PRIVATE " + "KEY-----",
		"pem cut short": "-----BEGIN OPENSSH PRIVATE " + "KEY-----\nb3BlbnNzaC1rZXk",
		"url password":  "https://bob:" + "hunter2@example.org/x",
	}
}

func TestKnownTokensAreMasked(t *testing.T) {
	for name, secret := range secrets() {
		t.Run(name, func(t *testing.T) {
			raw, err := json.Marshal(map[string]any{"command": "echo '" + secret + "' | cat", "list": []any{secret}})
			if err != nil {
				t.Fatal(err)
			}
			got := string(MaskJSON(raw))
			if !json.Valid([]byte(got)) || strings.Count(got, masked) != 2 {
				t.Fatalf("got %s", got)
			}
			for _, part := range []string{"a1B2a1B2", "ABCDEFGH", "aB3/aB3/", "MIIEabc", "b3BlbnNzaC1rZXk", "hunter2", "c2lnbmF0dXJl", "123456789012"} {
				if strings.Contains(got, part) {
					t.Errorf("%s still contains %q", got, part)
				}
			}
		})
	}
}

func TestOrdinaryTextIsNotMasked(t *testing.T) {
	for _, s := range []string{
		"git log --grep=secret", "https://example.org:8080/a@b", "risk-assessment", "basic auth is off", "ghp_short",
		"echo eyJ", "ssh git@github.com:org/repo.git", "-----BEGIN CERTIFICATE-----\nMIIB", "task-force-of-sixteen-people",
	} {
		if got := Mask(s); got != s {
			t.Errorf("got %q, want %q unchanged", got, s)
		}
	}
}

func TestMaskedBeforeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path, nil)
	token := "ghp_" + strings.Repeat("a1B2", 9)
	add(t, j, "a", map[string]any{"args": json.RawMessage(`{"command":"curl -H \u0067` + token[1:] + `"}`)})
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), token[4:]) || !strings.Contains(string(raw), masked) {
		t.Errorf("the journal holds the token: %s", raw)
	}
}

func TestMaskEnv(t *testing.T) {
	got := MaskEnv(map[string]string{"HOME": "/root", "DB_PASSWORD": "x", "GITHUB_TOKEN": "y", "EMPTY_TOKEN": "", "U": "postgres://a:b@h/d"})
	want := map[string]string{"HOME": "/root", "DB_PASSWORD": masked, "GITHUB_TOKEN": masked, "EMPTY_TOKEN": "", "U": "postgres://a:" + masked + "@h/d"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("env (-want +got):\n%s", diff)
	}
}

func TestShapeHoldsNoContent(t *testing.T) {
	raw, err := json.Marshal(Shape(json.RawMessage(`{"path":"/secret/place","limit":3,"deep":{"a":"secret"},"on":true,"no":null,"l":["secret"]}`)))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"deep":{"bytes":14,"type":"object"},"l":{"bytes":10,"type":"array"},"limit":{"bytes":1,"type":"number"},` +
		`"no":{"bytes":4,"type":"null"},"on":{"bytes":4,"type":"boolean"},"path":{"bytes":15,"type":"string"}}`
	if string(raw) != want {
		t.Errorf("got  %s\nwant %s", raw, want)
	}
}

func TestBoundKeepsTheSizeAndDigestOfWhatIsLarge(t *testing.T) {
	small := json.RawMessage(`{"a":1}`)
	if got := Bound(small, 10); string(got) != string(small) {
		t.Errorf("small: got %s", got)
	}
	token := "ghp_" + strings.Repeat("a1B2", 9)
	large := json.RawMessage(`{"content":"` + strings.Repeat("x", 4096-30) + token + strings.Repeat("y", 9000) + `"}`)
	got := Bound(large, 1000)
	var doc struct {
		Truncated bool
		Bytes     int
		SHA256    string
		Head      string
	}
	if err := json.Unmarshal(got, &doc); err != nil {
		t.Fatal(err)
	}
	if !doc.Truncated || doc.Bytes != len(large) || len(doc.SHA256) != 64 || len(doc.Head) != headBytes {
		t.Errorf("got %s", got)
	}
}

func TestMaskJSONLeavesTheRestAsItIs(t *testing.T) {
	token := "ghp_" + strings.Repeat("a1B2", 9)
	for _, tt := range []struct{ name, raw, want string }{
		{"nothing to mask", `{"b": 1.50, "a":"hf and gh, \"basic\" things\n"}`, ""},
		{"a value", `{"b": 1.50,"a":"x ` + token + `","c":[null]}`, `{"b": 1.50,"a":"x [masked]","c":[null]}`},
		{"a key", `{"` + token + `":1}`, `{"[masked]":1}`},
		{"escaped", `{"a":"\n\u0067` + token[1:] + `<"}`, `{"a":"\n[masked]<"}`},
		{"after an escaped quote", `["\\\"", "` + token + `"]`, `["\\\"", "[masked]"]`},
		{"no JSON", `{"a":"` + token, `"[not JSON]"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.want
			if want == "" {
				want = tt.raw
			}
			if got := string(MaskJSON([]byte(tt.raw))); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// FuzzMaskJSON holds the quick way against the slow one: decode, mask, encode.
func FuzzMaskJSON(f *testing.F) {
	for _, s := range secrets() {
		f.Add(s, "x")
		f.Add("a \""+s, s)
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		raw, err := json.Marshal(map[string]any{key: value, "n": 1.5})
		if err != nil {
			t.Fatal(err)
		}
		var was, is map[string]any
		if err := json.Unmarshal(raw, &was); err != nil {
			t.Fatal(err)
		}
		got := MaskJSON(raw)
		if err := json.Unmarshal(got, &is); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		want := map[string]any{}
		for k, v := range was {
			if s, ok := v.(string); ok {
				v = Mask(s)
			}
			want[Mask(k)] = v
		}
		if diff := cmp.Diff(want, is); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func BenchmarkMaskJSON(b *testing.B) {
	raw := []byte(`{"digest":"sha256:0123456789abcdef","args":{"command":"git status; ls -la src | head"},"decision":{"reasons":[{"rule":"allow-inspect","message":"` +
		strings.Repeat("commands that only look at the workspace are allowed ", 20) + `"}]}}`)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		MaskJSON(raw)
	}
}
