package config

import "strings"

// Peer is what is known of a caller.
type Peer struct {
	ID       string
	UID, GID *int // of a unix socket's peer
}

// Rights returns the first entry of callers that matches p; false when none does.
func (c *Config) Rights(p Peer) (Caller, bool) {
	for _, r := range c.Callers {
		if r.Match.matches(p) {
			return r, true
		}
	}
	return Caller{}, false
}

func (m Match) matches(p Peer) bool {
	if m.UID == nil && m.GID == nil && m.ID == "" {
		return false
	}
	return sameNumber(m.UID, p.UID) && sameNumber(m.GID, p.GID) && (m.ID == "" || glob(m.ID, p.ID))
}

func sameNumber(want, got *int) bool {
	return want == nil || got != nil && *want == *got
}

// glob matches with * for any characters, the empty text too.
func glob(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	rest, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return false
	}
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, last)
}
