package journal

import (
	"bytes"
	"encoding/json"
	"regexp"
)

// masked stands for a token that was taken out.
const masked = "[masked]"

// shape is the form of a well-known secret. The first group of its expression,
// if there is one, is kept: it says what the secret was for.
type shape struct {
	re   *regexp.Regexp
	with string
	// hints are texts of which one is in everything that the expression can match,
	// in lower case. They make the common case cheap.
	hints []string
}

var shapes = []shape{
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|$)`), masked, []string{"private key"}},
	{regexp.MustCompile(`\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b`), masked, []string{"akia", "asia", "abia", "acca"}},
	{regexp.MustCompile(`(?i)(aws_?secret_?access_?key["'\s:=]{1,5})[A-Za-z0-9/+=]{40}`), "${1}" + masked, []string{"aws"}},
	{regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_[A-Za-z0-9_]{20,255})`), masked, []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"}},
	{regexp.MustCompile(`\bglpat-[A-Za-z0-9_-]{16,}`), masked, []string{"glpat-"}},
	{regexp.MustCompile(`\bxox[a-z]-[A-Za-z0-9-]{8,}`), masked, []string{"xox"}},
	{regexp.MustCompile(`\bsk-[A-Za-z0-9_-]{16,}`), masked, []string{"sk-"}},
	{regexp.MustCompile(`\b[sr]k_(?:live|test)_[A-Za-z0-9]{10,}`), masked, []string{"k_live_", "k_test_"}},
	{regexp.MustCompile(`\bAIza[A-Za-z0-9_-]{35}`), masked, []string{"aiza"}},
	{regexp.MustCompile(`\b(?:npm|hf|pypi)[_-][A-Za-z0-9_-]{30,}`), masked, []string{"npm_", "npm-", "hf_", "hf-", "pypi_", "pypi-"}},
	{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*`), masked, []string{"eyj"}},
	{regexp.MustCompile(`(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/-]{16,}=*`), "${1}" + masked, []string{"bearer", "basic"}},
	{regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@]+:)[^\s/@]+(?:@)`), "${1}" + masked + "@", []string{"://"}},
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

// Mask takes well-known tokens out of a text: cloud and forge keys, private
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

// MaskJSON does what Mask does to every string and key of a JSON document. It
// returns raw itself if there is nothing to do. What is not JSON and has
// something to mask comes back as a JSON string that says so.
func MaskJSON(raw []byte) json.RawMessage {
	var out []byte // nil while nothing was masked
	done := 0      // bytes of raw that are in out
	for i := 0; i < len(raw); {
		start := bytes.IndexByte(raw[i:], '"')
		if start < 0 {
			break
		}
		start += i
		end, escaped := endOfString(raw, start)
		i = end
		text, changed := maskLiteral(raw[start:end], escaped)
		if changed {
			out = append(append(out, raw[done:start]...), text...)
			done = end
		}
	}
	if out == nil {
		return raw
	}
	out = append(out, raw[done:]...)
	if !json.Valid(out) {
		return json.RawMessage(`"[not JSON]"`)
	}
	return out
}

// endOfString returns where the string ends that begins at the quote at start,
// and whether it has escapes. A string without an end goes to the end of raw.
func endOfString(raw []byte, start int) (end int, escaped bool) {
	for i := start + 1; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			return i + 1, escaped
		}
	}
	return len(raw), escaped
}

// maskLiteral masks one string of a document, which it gets and returns with
// quotes and escapes.
func maskLiteral(literal []byte, escaped bool) ([]byte, bool) {
	if !escaped && find(hinted, literal) == 0 {
		return nil, false
	}
	var text string
	if err := json.Unmarshal(literal, &text); err != nil {
		return []byte(`"[not JSON]`), true // without its end, so that the whole is found to be no JSON
	}
	clean := Mask(text)
	if clean == text {
		return nil, false
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(clean); err != nil {
		return []byte(`"[not JSON]"`), true
	}
	return bytes.TrimSpace(buf.Bytes()), true
}

var secretName = regexp.MustCompile(`(?i)(pass(word|wd|phrase)?|secret|token|api_?key|access_?key|private_?key|credential|auth|cookie|session)`)

// MaskEnv returns the environment as it may be written down: the values of
// variables whose name speaks of a secret are masked whole, the others as with Mask.
func MaskEnv(env map[string]string) map[string]string {
	if len(env) == 0 {
		return nil
	}
	out := make(map[string]string, len(env))
	for k, v := range env {
		if secretName.MatchString(k) && v != "" {
			out[k] = masked
			continue
		}
		out[k] = Mask(v)
	}
	return out
}
