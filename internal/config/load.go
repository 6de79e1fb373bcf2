package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// SocketName is the name of the socket in the data directory.
const SocketName = "sandgate.sock"

// maxFileBytes bounds the configuration file.
const maxFileBytes = 1 << 20

// Overrides are the values of flags and environment; empty ones override nothing.
type Overrides struct {
	DataDir, PolicyDir, BinDir, LogLevel, LogFormat string
	// Listen are addresses "unix:///path" or "tcp://host:port".
	Listen []string
}

// Load reads the file at path (empty: no file), puts the overrides over it and
// the defaults under it, and validates the whole. It creates nothing. An error
// names every key that is wrong and says what would be right.
func Load(path string, o Overrides) (Config, error) {
	var c Config
	if path != "" {
		raw, err := readFile(path)
		if err != nil {
			return Config{}, err
		}
		if c, err = Parse(raw); err != nil {
			return Config{}, fmt.Errorf("configuration file %s: %w", path, err)
		}
	}
	if err := c.override(o); err != nil {
		return Config{}, err
	}
	c = c.WithDefaults(os.Getuid())
	if err := c.Validate(); err != nil {
		if path != "" {
			return Config{}, fmt.Errorf("configuration file %s: %w", path, err)
		}
		return Config{}, err
	}
	return c, nil
}

// Parse reads YAML strictly: an unknown or repeated key is an error that names it.
func Parse(raw []byte) (Config, error) {
	var c Config
	if err := yaml.UnmarshalStrict(raw, &c); err != nil {
		return Config{}, errors.New(plainError(err))
	}
	return c, nil
}

// DefaultDataDir is where a daemon of the calling user keeps its data.
func DefaultDataDir() string {
	if os.Getuid() == 0 {
		return SystemDataDir
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "sandgate")
	}
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) {
		return filepath.Join(os.TempDir(), fmt.Sprintf("sandgate-%d", os.Getuid()))
	}
	return filepath.Join(home, ".local", "state", "sandgate")
}

// SystemDataDir is the data directory of a daemon that runs as root.
const SystemDataDir = "/var/lib/sandgate"

func readFile(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	if !st.Mode().IsRegular() || st.Size() > maxFileBytes {
		return nil, fmt.Errorf("configuration file %s: want a regular file of at most %v", path, Bytes(maxFileBytes))
	}
	raw, err := os.ReadFile(path) //nolint:gosec // the operator names his own file
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	return raw, nil
}

func (c *Config) override(o Overrides) error {
	for _, f := range []struct {
		to   *string
		from string
		path bool
	}{
		{&c.DataDir, o.DataDir, true},
		{&c.Policy.Dir, o.PolicyDir, true},
		{&c.Containerd.BinDir, o.BinDir, true},
		{&c.Log.Level, o.LogLevel, false},
		{&c.Log.Format, o.LogFormat, false},
	} {
		switch {
		case f.from == "":
		case f.path:
			abs, err := filepath.Abs(f.from)
			if err != nil {
				return fmt.Errorf("resolve %q: %w", f.from, err)
			}
			*f.to = abs
		default:
			*f.to = f.from
		}
	}
	for _, addr := range o.Listen {
		if err := c.overrideListen(addr); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) overrideListen(addr string) error {
	if rest, ok := strings.CutPrefix(addr, "tcp://"); ok {
		c.Listen.TCP.Address = rest
		return nil
	}
	rest, ok := strings.CutPrefix(addr, "unix:")
	if !ok {
		return fmt.Errorf("listen address %q: want unix:///path or tcp://host:port", addr)
	}
	abs, err := filepath.Abs(strings.TrimPrefix(rest, "//"))
	if err != nil {
		return fmt.Errorf("listen address %q: %w", addr, err)
	}
	c.Listen.Unix.Path = abs
	return nil
}

// plainError rewrites the decoder's words into an operator's.
func plainError(err error) string {
	text := err.Error()
	for _, noise := range []string{
		"error converting YAML to JSON: ", "error unmarshaling JSON: ", "while decoding JSON: ", "json: ", "yaml: ",
	} {
		text = strings.ReplaceAll(text, noise, "")
	}
	text = strings.ReplaceAll(text, "unknown field", "unknown key")
	text = strings.ReplaceAll(text, "Go struct field Config.", "key ")
	text = strings.ReplaceAll(text, "unmarshal errors:\n  ", "")
	return text
}
