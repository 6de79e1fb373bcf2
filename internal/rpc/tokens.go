package rpc

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"os"
	"strings"
)

const (
	minTokenBytes  = 16
	maxTokensBytes = 1 << 20
)

// Tokens are the bearer tokens of TCP callers; only their hashes are kept.
type Tokens struct{ entries []tokenEntry }

type tokenEntry struct {
	subject string
	hash    [sha256.Size]byte
}

// LoadTokens reads a file of lines "SUBJECT TOKEN"; empty lines and lines that
// begin with # are skipped. The file must be readable by its owner only. An
// error names the line and never shows a token.
func LoadTokens(path string) (*Tokens, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names his own file
	if err != nil {
		return nil, fmt.Errorf("tokens file: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("tokens file: %w", err)
	case !st.Mode().IsRegular() || st.Size() > maxTokensBytes:
		return nil, fmt.Errorf("tokens file %s: want a regular file of at most %d bytes", path, maxTokensBytes)
	case st.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("tokens file %s has mode %04o: others could read it; chmod 600 it", path, st.Mode().Perm())
	}
	t := &Tokens{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if err := t.add(string(line)); err != nil {
			return nil, fmt.Errorf("tokens file %s, line %d: %w", path, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("tokens file %s: %w", path, err)
	}
	if len(t.entries) == 0 {
		return nil, fmt.Errorf("tokens file %s has no token: want lines of SUBJECT TOKEN", path)
	}
	return t, nil
}

func (t *Tokens) add(line string) error {
	parts := strings.Fields(line)
	if len(parts) != 2 {
		return fmt.Errorf("has %d words: want SUBJECT TOKEN", len(parts))
	}
	var c checker
	c.id("subject", parts[0], true)
	if err := c.err(); err != nil {
		return err
	}
	if len(parts[1]) < minTokenBytes {
		return fmt.Errorf("token has %d bytes: want at least %d random ones", len(parts[1]), minTokenBytes)
	}
	hash := sha256.Sum256([]byte(parts[1]))
	for _, e := range t.entries {
		if e.hash == hash {
			return fmt.Errorf("token of %s is also that of %s: want one of its own", parts[0], e.subject)
		}
	}
	t.entries = append(t.entries, tokenEntry{parts[0], hash})
	return nil
}

// subject returns whose token it is. Every entry is compared, in constant time.
func (t *Tokens) subject(token string) (string, bool) {
	if t == nil {
		return "", false
	}
	hash := sha256.Sum256([]byte(token))
	found, ok := "", false
	for _, e := range t.entries {
		if subtle.ConstantTimeCompare(e.hash[:], hash[:]) == 1 {
			found, ok = e.subject, true
		}
	}
	return found, ok
}
