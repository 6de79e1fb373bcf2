package config

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	kib Bytes = 1 << 10
	mib Bytes = 1 << 20
	gib Bytes = 1 << 30

	minWallTime = 10 * time.Millisecond
)

// Duration is a time.Duration that is written as "90s" or "5m".
type Duration time.Duration

// Std returns the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String is the text that UnmarshalJSON reads.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON implements json.Unmarshaler. A bare number is refused: it has no unit.
func (d *Duration) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return fmt.Errorf("duration %s: want text with a unit, such as \"90s\" or \"5m\"", raw)
	}
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 {
		return fmt.Errorf("duration %q: want a number with a unit, such as \"90s\" or \"5m\"", text)
	}
	*d = Duration(v)
	return nil
}

// Bytes is a size that is written as a number of bytes or as "512MiB".
type Bytes int64

// Int64 returns the number of bytes.
func (b Bytes) Int64() int64 { return int64(b) }

// String is the text that UnmarshalJSON reads.
func (b Bytes) String() string {
	for _, u := range []struct {
		size Bytes
		name string
	}{{gib, "GiB"}, {mib, "MiB"}, {kib, "KiB"}} {
		if b >= u.size && b%u.size == 0 {
			return fmt.Sprintf("%d%s", b/u.size, u.name)
		}
	}
	return fmt.Sprintf("%dB", int64(b))
}

// MarshalJSON implements json.Marshaler.
func (b Bytes) MarshalJSON() ([]byte, error) { return json.Marshal(b.String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (b *Bytes) UnmarshalJSON(raw []byte) error {
	v, err := ParseBytes(strings.Trim(string(raw), `"`))
	if err != nil {
		return err
	}
	*b = v
	return nil
}

// ParseBytes reads a size, such as "512MiB", or a number of bytes, up to 2^50.
func ParseBytes(text string) (Bytes, error) {
	digits, unit := text, Bytes(1)
	for _, u := range []struct {
		name string
		size Bytes
	}{{"KiB", kib}, {"MiB", mib}, {"GiB", gib}, {"B", 1}} {
		if rest, ok := strings.CutSuffix(text, u.name); ok {
			digits, unit = strings.TrimSpace(rest), u.size
			break
		}
	}
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || v < 0 || v > int64(1<<50)/int64(unit) {
		return 0, fmt.Errorf("size %q: want a number of bytes or one with KiB, MiB or GiB, such as \"512MiB\"", text)
	}
	return Bytes(v) * unit, nil
}
