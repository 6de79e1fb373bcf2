// Package redact finds well-known secrets in text and takes them out: in what
// the journal writes down and, where a policy demands it, in the output of
// calls. It must never let a part of a secret through because the text came in
// pieces, and it knows nothing of calls or records.
package redact

import (
	"regexp"
	"slices"
)

// Masked stands for a secret that was taken out.
const Masked = "[masked]"

// shape is the form of a well-known secret. The first group of its expression,
// if there is one, is kept: it says what the secret was for.
type shape struct {
	name string
	re   *regexp.Regexp
	with string
	// hints are texts of which one is in everything that the expression can match,
	// in lower case. They make the common case cheap.
	hints []string
}

// privateKey is the one shape of several lines.
const privateKey = "private-key"

var shapes = []shape{
	{privateKey, regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|$)`), Masked, []string{"private key"}},
	{"aws-key", regexp.MustCompile(`\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b`), Masked, []string{"akia", "asia", "abia", "acca"}},
	{"aws-secret", regexp.MustCompile(`(?i)(aws_?secret_?access_?key["'\s:=]{1,5})[A-Za-z0-9/+=]{40}`), "${1}" + Masked, []string{"aws"}},
	{"github-token", regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_[A-Za-z0-9_]{20,255})`), Masked, []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"}},
	{"gitlab-token", regexp.MustCompile(`\bglpat-[A-Za-z0-9_-]{16,}`), Masked, []string{"glpat-"}},
	{"slack-token", regexp.MustCompile(`\bxox[a-z]-[A-Za-z0-9-]{8,}`), Masked, []string{"xox"}},
	{"sk-key", regexp.MustCompile(`\bsk-[A-Za-z0-9_-]{16,}`), Masked, []string{"sk-"}},
	{"stripe-key", regexp.MustCompile(`\b[sr]k_(?:live|test)_[A-Za-z0-9]{10,}`), Masked, []string{"k_live_", "k_test_"}},
	{"google-key", regexp.MustCompile(`\bAIza[A-Za-z0-9_-]{35}`), Masked, []string{"aiza"}},
	{"package-token", regexp.MustCompile(`\b(?:npm|hf|pypi)[_-][A-Za-z0-9_-]{30,}`), Masked, []string{"npm_", "npm-", "hf_", "hf-", "pypi_", "pypi-"}},
	{"jwt", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*`), Masked, []string{"eyj"}},
	{"bearer", regexp.MustCompile(`(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/-]{16,}=*`), "${1}" + Masked, []string{"bearer", "basic"}},
	{"url-password", regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@]+:)[^\s/@]+(?:@)`), "${1}" + Masked + "@", []string{"://"}},
}

// Names are the names of the secrets that are known, sorted.
func Names() []string {
	names := make([]string, 0, len(shapes))
	for _, s := range shapes {
		names = append(names, s.name)
	}
	slices.Sort(names)
	return names
}

// finder looks for the hints of all shapes in one pass.
type finder struct {
	// bucket is, by the low five bits of two bytes, which do not tell upper from
	// lower case, where in hints those are that can begin with them. 0: nowhere.
	bucket [1 << 10]uint8
	hints  [][]hint
}

type hint struct {
	text  string
	shape uint32 // as a bit
}

var hinted = newFinder()

func newFinder() *finder {
	f := &finder{hints: make([][]hint, 1)}
	for i, s := range shapes {
		for _, text := range s.hints {
			at := &f.bucket[pair(text[0], text[1])]
			if *at == 0 {
				*at = uint8(len(f.hints)) // #nosec G115 -- there are fewer hints than that
				f.hints = append(f.hints, nil)
			}
			f.hints[*at] = append(f.hints[*at], hint{text, 1 << i})
		}
	}
	return f
}

func pair(a, b byte) int { return int(a&31)<<5 | int(b&31) }

// find returns a bit for each shape of which a hint is in the text.
func find[T string | []byte](f *finder, s T) (found uint32) {
	for i := 0; i+2 < len(s); i++ { // no hint has fewer than three bytes
		at := f.bucket[pair(s[i], s[i+1])]
		if at == 0 {
			continue
		}
		for _, h := range f.hints[at] {
			if len(s)-i >= len(h.text) && foldedEqual(s[i:i+len(h.text)], h.text) {
				found |= h.shape
			}
		}
	}
	return found
}

// foldedEqual compares texts of equal length; b is in lower case.
func foldedEqual[T string | []byte](a T, b string) bool {
	for i := range len(b) {
		c := a[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != b[i] {
			return false
		}
	}
	return true
}

// Suspicious reports whether the text could hold one of the known secrets.
// false is sure.
func Suspicious[T string | []byte](s T) bool { return find(hinted, s) != 0 }

// Mask takes well-known secrets out of a text: cloud and forge keys, private
// keys in PEM, bearer tokens, JWTs, passwords in URLs.
func Mask(s string) string {
	found := find(hinted, s)
	for i := 0; found != 0; i, found = i+1, found>>1 {
		if found&1 != 0 {
			s = shapes[i].re.ReplaceAllString(s, shapes[i].with)
		}
	}
	return s
}
