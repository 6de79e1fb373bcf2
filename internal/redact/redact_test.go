package redact

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
)

const (
	awsKey = "AKIA" + "ABCDEFGHIJKLMNOP"
	ghKey  = "ghp_" + "abcdefghijklmnopqrstuvwxyz0123456789"
	pemKey = "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc\nDEF==\n-----END RSA PRIVATE KEY-----"
)

func rules(t *testing.T, patterns map[string]string, names ...string) *Rules {
	t.Helper()
	r, err := New(names, patterns)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAll(t *testing.T) {
	for _, tt := range []struct {
		name, text, want string
		names            []string
		patterns         map[string]string
		before, after    bool
		counts           map[string]int64
	}{
		{name: "named", names: []string{"aws-key"}, text: "a " + awsKey + " b " + ghKey, want: "a [masked] b " + ghKey, counts: map[string]int64{"aws-key": 1}},
		{name: "what the secret was for is kept", names: []string{"url-password"}, text: "postgres://u:pw@h", want: "postgres://u:[masked]@h", counts: map[string]int64{"url-password": 1}},
		{name: "own pattern", patterns: map[string]string{"ticket": `TCK-\d+`}, text: "TCK-1 TCK-22\nTCK-3", want: "[masked] [masked]\n[masked]", counts: map[string]int64{"ticket": 3}},
		{name: "private key", names: []string{"private-key"}, text: "x\n" + pemKey + "\ny\n", want: "x\n[masked]\ny\n", counts: map[string]int64{"private-key": 1}},
		{name: "private key without an end", names: []string{"private-key"}, text: "x\n-----BEGIN PRIVATE KEY-----\nabc\nd", want: "x\n[masked]", counts: map[string]int64{"private-key": 1}},
		{name: "private key on one line", names: []string{"private-key"}, text: strings.ReplaceAll(pemKey, "\n", `\n`) + " z", want: "[masked] z", counts: map[string]int64{"private-key": 1}},
		{name: "edges of cut output", names: []string{"aws-key"}, before: true, after: true, text: "HIJKLMNOP x AKIAABC", want: "[masked] x [masked]", counts: map[string]int64{}},
		{name: "the end of a key at a cut", names: []string{"private-key"}, before: true, text: "abc\ndef\n-----END PRIVATE KEY-----\nz", want: "[masked]\nz", counts: map[string]int64{}},
		{name: "colours before and within", names: []string{"aws-key"}, text: "\x1b[31m" + awsKey + "\x1b[0m \x1b[1mAKIA\x1b[m\x1b[K" + awsKey[4:] + "\x1b[0m", want: "\x1b[31m[masked]\x1b[0m \x1b[1m[masked]\x1b[0m", counts: map[string]int64{"aws-key": 2}},
		{name: "colours within what is kept", names: []string{"bearer"}, text: "Bea\x1b[1mrer \x1b[mabcdefghijklmnop\x1b[0m\n", want: "Bea\x1b[1mrer \x1b[m[masked]\x1b[0m\n", counts: map[string]int64{"bearer": 1}},
		{name: "the end and the beginning of a line", patterns: map[string]string{"pin": `^\d{4}$`}, text: "1234\n5678\r\n91011\n1213", want: "[masked]\n[masked]\r\n91011\n[masked]", counts: map[string]int64{"pin": 3}},
		{name: "no UTF-8", patterns: map[string]string{"t": `T-\d+`}, text: "\xff\xfeT-1\x80\x00T-2é", want: "\xff\xfe[masked]\x80\x00[masked]é", counts: map[string]int64{"t": 2}},
		{name: "nothing", names: []string{"aws-key"}, text: "plain", want: "plain", counts: map[string]int64{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			counts := map[string]int64{}
			got := rules(t, tt.patterns, tt.names...).All([]byte(tt.text), tt.before, tt.after, counts)
			if string(got) != tt.want || !maps.Equal(counts, tt.counts) {
				t.Errorf("%q %v, want %q %v", got, counts, tt.want, tt.counts)
			}
		})
	}
}

// However the output is cut into pieces, what comes out is the same.
func TestPiecesGiveTheSame(t *testing.T) {
	r := rules(t, map[string]string{"ticket": `TCK-\d+`}, Names()...)
	text := "first " + awsKey + "\n" + pemKey + "\nTCK-123 Bearer abcdefghijklmnopqrst " + strings.Repeat("long line ", 200) + ghKey + "\nlast sk-abcdefghijklmnopqrstuvw"
	want := string(r.All([]byte(text), false, false, map[string]int64{}))
	for _, secret := range []string{awsKey, ghKey, "MIIEabc", "TCK-123", "abcdefghijklmnopqrst"} {
		if strings.Contains(want, secret) {
			t.Fatalf("%q is in %q", secret, want)
		}
	}
	random := rand.New(rand.NewPCG(1, 2)) // #nosec G404 -- a test
	for range 300 {
		var out bytes.Buffer
		s := r.Stream(map[string]int64{})
		for rest := []byte(text); len(rest) > 0; {
			n := 1 + random.IntN(min(len(rest), 1+random.IntN(200)))
			out.Write(s.Write(rest[:n]))
			rest = rest[n:]
		}
		out.Write(s.Flush())
		if out.String() != want {
			t.Fatalf("pieces give %q, want %q", out.String(), want)
		}
	}
}

// A line without an end is let out but for its last 4 KiB, and a secret across
// the border is still found.
func TestVeryLongLine(t *testing.T) {
	r := rules(t, nil, "aws-key")
	s := r.Stream(map[string]int64{})
	var out []byte
	filler := strings.Repeat("x ", 20<<10)
	for range 10 {
		out = append(out, s.Write([]byte(filler+awsKey+" "))...)
		if len(s.held) > maxLine {
			t.Fatalf("%d bytes are held back", len(s.held))
		}
	}
	out = append(out, s.Flush()...)
	if bytes.Contains(out, []byte("AKIA")) || bytes.Count(out, []byte(Masked)) != 10 || len(out) != 10*(len(filler)+len(Masked)+1) {
		t.Errorf("%d bytes with %d masks", len(out), bytes.Count(out, []byte(Masked)))
	}
}

// What comes out of a stream with a gap is what All makes of its two ends: no part
// of a secret of which the gap has the rest, nor of a key that began or ended there.
func TestGap(t *testing.T) {
	keyHead, keyTail := "one\n-----BEGIN PRIVATE KEY-----\nMIIEabc\nxyz", "MIIEdef\nuvw\n-----END PRIVATE KEY-----\nthree\n"
	for _, tt := range []struct{ head, tail, want string }{
		{"one\ntwo AKIAABCD", "MNOPQR three\n", "one\ntwo [masked][masked] three\n"},
		{keyHead, keyTail, "one\n[masked][masked]\nthree\n"},
		{"one\n", keyTail, "one\n[masked]\nthree\n"},
		{keyHead, "", "one\n[masked]"},
		{"one " + awsKey + "\n", "x " + awsKey + "\n", "one [masked]\n[masked] [masked]\n"},
	} {
		for size := 1; size < 40; size += 6 {
			s := rules(t, nil, "aws-key", "private-key").Stream(map[string]int64{})
			out := inPieces(s, tt.head, size) + string(s.Gap()) + inPieces(s, tt.tail, size) + string(s.Flush())
			if out != tt.want {
				t.Errorf("%q, gap, %q in pieces of %d: %q, want %q", tt.head, tt.tail, size, out, tt.want)
			}
		}
	}
}

func inPieces(s *Stream, text string, size int) string {
	var out []byte
	for len(text) > 0 {
		n := min(size, len(text))
		out = append(out, s.Write([]byte(text[:n]))...)
		text = text[n:]
	}
	return string(out)
}

// Secrets that overlap are cut nowhere, wherever a long line is let out.
func TestOverlapsInALongLine(t *testing.T) {
	r := rules(t, map[string]string{"a": `A[x]{1000}B[y]{1000}`, "b": `B[y]{1000}C[z]{1000}`})
	secret := "A" + strings.Repeat("x", 1000) + "B" + strings.Repeat("y", 1000) + "C" + strings.Repeat("z", 1000)
	for before := maxLine - 9000; before < maxLine+1000; before += 500 {
		s := r.Stream(map[string]int64{})
		out := inPieces(s, strings.Repeat(".", before)+secret+strings.Repeat(".", maxLine), 1<<10) + string(s.Flush())
		if strings.Contains(out, "xx") || strings.Contains(out, "yy") || strings.Contains(out, "zz") {
			t.Errorf("after %d bytes a part of a secret comes out", before)
		}
	}
}

func TestCheck(t *testing.T) {
	many := map[string]string{}
	for i := range 17 {
		many[strings.Repeat("n", i+1)] = "x"
	}
	for _, tt := range []struct {
		names    []string
		patterns map[string]string
		want     string
	}{
		{names: []string{"aws"}, want: "want one of aws-key"},
		{patterns: map[string]string{"a": "("}, want: "missing closing )"},
		{patterns: map[string]string{"a": "x*"}, want: "matches the empty text"},
		{patterns: map[string]string{"a": ""}, want: "1 to 256"},
		{patterns: map[string]string{"a": strings.Repeat("x", 257)}, want: "1 to 256"},
		{patterns: map[string]string{"": "x"}, want: "1 to 64"},
		{patterns: map[string]string{"aws-key": "x"}, want: "choose another"},
		{patterns: many, want: "the most is 16"},
	} {
		if err := Check(tt.names, tt.patterns); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v %v: %v, want %q", tt.names, tt.patterns, err, tt.want)
		}
	}
	if r, err := New(nil, nil); r != nil || err != nil {
		t.Errorf("no rules: %v %v", r, err)
	}
}

// FuzzMask holds the quick way against the slow one, which looks for no hints.
func FuzzMask(f *testing.F) {
	for _, s := range []string{awsKey, "x " + ghKey, pemKey, "Basic abcdefghijklmnopqrst", "a://b:c@d", "aws_secret_access_key = " + strings.Repeat("a", 40), "sk-" + strings.Repeat("a", 16)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want := text
		for _, shape := range shapes {
			want = shape.re.ReplaceAllString(want, shape.with)
		}
		if got := Mask(text); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}
