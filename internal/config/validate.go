package config

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxSocketPath is what fits into a sockaddr_un with its terminating NUL.
const maxSocketPath = 107

var profileName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// Validate reports every key that is wrong. It looks at the values alone; what
// the machine says of them, Preflight tells. c must have its defaults.
func (c *Config) Validate() error {
	var bad []string
	for _, p := range []struct {
		key, path string
		required  bool
	}{
		{"data_dir", c.DataDir, true},
		{"listen.unix.path", c.Listen.Unix.Path, true},
		{"listen.tcp.tokens_file", c.Listen.TCP.TokensFile, false},
		{"containerd.address", c.Containerd.Address, false},
		{"containerd.bin_dir", c.Containerd.BinDir, false},
		{"policy.dir", c.Policy.Dir, false},
		{"journal.path", c.Journal.Path, true},
		{"journal.key_file", c.Journal.KeyFile, true},
		{"tools.dir", c.Tools.Dir, false},
	} {
		if p.path == "" && !p.required {
			continue
		}
		bad = append(bad, pathProblems(p.key, p.path)...)
	}
	bad = append(bad, c.Listen.problems()...)
	bad = append(bad, c.rangeProblems()...)
	bad = append(bad, c.Policy.problems()...)
	bad = append(bad, c.Admission.problems()...)
	bad = append(bad, c.Sessions.problems()...)
	bad = append(bad, c.Tools.problems()...)
	bad = append(bad, c.Journal.problems()...)
	bad = append(bad, c.Background.problems()...)
	bad = append(bad, c.Results.problems()...)
	bad = append(bad, c.Approvals.problems()...)
	bad = append(bad, c.Metrics.problems()...)
	bad = append(bad, c.Tracing.problems()...)
	bad = append(bad, c.Ceiling.problems("ceiling")...)
	bad = append(bad, c.Defaults.problems("defaults")...)
	bad = append(bad, c.Defaults.problemsAbove("defaults", c.Ceiling)...)
	if c.Environment != "" && !profileName.MatchString(c.Environment) {
		bad = append(bad, fmt.Sprintf("environment: %q: want 1 to 64 characters of [a-z0-9_-]", c.Environment))
	}
	if len(c.Callers) == 0 {
		bad = append(bad, "callers: is empty: nobody could call; leave it out for the default or name somebody")
	}
	for i := range c.Callers {
		bad = append(bad, c.Callers[i].problems(fmt.Sprintf("callers[%d]", i))...)
	}
	if len(bad) > 0 {
		return errors.New(strings.Join(bad, "; "))
	}
	return nil
}

// outside says that a value is not in its range, shown in its unit.
func outside(key string, v, low, high int64, show func(int64) string) []string {
	if v >= low && v <= high {
		return nil
	}
	return []string{fmt.Sprintf("%s: %s: want %s to %s", key, show(v), show(low), show(high))}
}

func count(v int64) string { return strconv.FormatInt(v, 10) }
func span(v int64) string  { return Duration(v).String() }
func size(v int64) string  { return Bytes(v).String() }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func pathProblems(key, path string) []string {
	switch {
	case !filepath.IsAbs(path):
		return []string{fmt.Sprintf("%s: %q: want an absolute path", key, path)}
	case strings.ContainsAny(path, "\x00\n"):
		return []string{fmt.Sprintf("%s: want a path without NUL or line break", key)}
	}
	return nil
}

func (l *Listen) problems() []string {
	var bad []string
	if n := len(l.Unix.Path); n > maxSocketPath {
		bad = append(bad, fmt.Sprintf("listen.unix.path: %q has %d bytes: the kernel takes at most %d; choose a shorter data_dir or listen.unix.path",
			l.Unix.Path, n, maxSocketPath))
	}
	if mode, err := strconv.ParseUint(l.Unix.Mode, 8, 32); err != nil || mode > 0o777 {
		bad = append(bad, fmt.Sprintf("listen.unix.mode: %q: want octal permission bits as text, such as \"0660\"", l.Unix.Mode))
	}
	if l.TCP.Address == "" {
		if l.TCP.TokensFile != "" || l.TCP.AllowAnonymous {
			bad = append(bad, "listen.tcp.address: is missing: without it the other keys of listen.tcp do nothing")
		}
		return bad
	}
	addr, err := netip.ParseAddrPort(l.TCP.Address)
	if err != nil {
		return append(bad, fmt.Sprintf("listen.tcp.address: %q: want a numeric host and a port, such as \"127.0.0.1:7443\"", l.TCP.Address))
	}
	if !addr.Addr().IsLoopback() && !l.TCP.AllowNonLoopback {
		bad = append(bad, fmt.Sprintf("listen.tcp.address: %q is not loopback: the connection is not encrypted; set listen.tcp.allow_non_loopback if something else protects it", l.TCP.Address))
	}
	if l.TCP.TokensFile == "" && !l.TCP.AllowAnonymous {
		bad = append(bad, "listen.tcp.tokens_file: is missing: TCP peers need tokens, or set listen.tcp.allow_anonymous")
	}
	return bad
}

func (c *Config) rangeProblems() []string {
	var bad []string
	inRange := func(key string, v, low, high int64, show func(int64) string) {
		bad = append(bad, outside(key, v, low, high, show)...)
	}
	inRange("listen.max_requests", int64(c.Listen.MaxRequests), 8, 65536, count)
	inRange("listen.max_requests_per_caller", int64(c.Listen.MaxRequestsPerCaller), 4, int64(c.Listen.MaxRequests), count)
	inRange("pool.idle", int64(*c.Pool.Idle), 0, 64, count)
	inRange("pool.max_cells", int64(c.Pool.MaxCells), 1, 1024, count)
	if *c.Pool.Idle > c.Pool.MaxCells {
		bad = append(bad, fmt.Sprintf("pool.idle: %d is above pool.max_cells (%d)", *c.Pool.Idle, c.Pool.MaxCells))
	}
	inRange("pool.idle_max", int64(c.Pool.IdleMax), int64(*c.Pool.Idle), int64(c.Pool.MaxCells), count)
	if c.Pool.IdleMemory != 0 {
		inRange("pool.idle_memory", c.Pool.IdleMemory.Int64(), int64(16*mib), int64(1024*gib), size)
	}
	inRange("pool.max_age", int64(c.Pool.MaxAge), int64(time.Minute), int64(168*time.Hour), span)
	inRange("pool.max_calls", c.Pool.MaxCalls, 1, 1_000_000, count)
	inRange("pool.cells_per_shim", int64(c.Pool.CellsPerShim), 1, 128, count)
	inRange("pool.idle_timeout", int64(c.Pool.IdleTimeout), int64(time.Second), int64(24*time.Hour), span)
	bad = append(bad, c.Protection.problems()...)
	inRange("results.max_count", int64(c.Results.MaxCount), 1, 10_000_000, count)
	inRange("results.max_size", c.Results.MaxSize.Int64(), int64(mib), int64(64*gib), size)
	inRange("results.keep", int64(c.Results.Keep), int64(time.Second), int64(720*time.Hour), span)
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		bad = append(bad, fmt.Sprintf("log.level: %q: want debug, info, warn or error", c.Log.Level))
	}
	if c.Log.Format != "json" && c.Log.Format != "console" {
		bad = append(bad, fmt.Sprintf("log.format: %q: want json or console", c.Log.Format))
	}
	inRange("containerd.id_base", int64(c.Containerd.IDBase), 65536, 4_000_000_000, count)
	for class, r := range c.Containerd.Runtimes {
		if class != "runc" && class != "gvisor" {
			bad = append(bad, fmt.Sprintf("containerd.runtimes: %q: want runc or gvisor", class))
		} else if class != "runc" && r.Binary == "" {
			bad = append(bad, fmt.Sprintf("containerd.runtimes.%s.binary: is missing: want the name or path of the OCI runtime", class))
		}
	}
	if p := c.Containerd.CgroupParent; !filepath.IsAbs(p) || filepath.Clean(p) != p {
		bad = append(bad, fmt.Sprintf("containerd.cgroup_parent: %q: want a clean absolute path from the root of the hierarchy", p))
	}
	if !profileName.MatchString(c.Containerd.Namespace) {
		bad = append(bad, fmt.Sprintf("containerd.namespace: %q: want 1 to 64 characters of [a-z0-9_-]", c.Containerd.Namespace))
	}
	return bad
}

func (r *Caller) problems(key string) []string {
	var bad []string
	if r.Match.UID == nil && r.Match.GID == nil && r.Match.ID == "" {
		bad = append(bad, key+".match: is empty: give uid, gid or id")
	}
	if len(r.Profiles) == 0 {
		bad = append(bad, key+".profiles: is empty: name at least one profile")
	}
	for i, p := range r.Profiles {
		if !profileName.MatchString(p) {
			bad = append(bad, fmt.Sprintf("%s.profiles[%d]: %q: want 1 to 64 characters of [a-z0-9_-]", key, i, p))
		}
	}
	if r.Tenant != "" && !profileName.MatchString(r.Tenant) {
		bad = append(bad, fmt.Sprintf("%s.tenant: %q: want 1 to 64 characters of [a-z0-9_-]", key, r.Tenant))
	}
	if r.DefaultProfile != "" && !slices.Contains(r.Profiles, r.DefaultProfile) {
		bad = append(bad, fmt.Sprintf("%s.default_profile: %q is none of its profiles (%s)", key, r.DefaultProfile, strings.Join(r.Profiles, ", ")))
	}
	for i, dir := range r.Repositories {
		bad = append(bad, pathProblems(fmt.Sprintf("%s.repositories[%d]", key, i), dir)...)
	}
	for i, dir := range r.WorkspaceDirs {
		bad = append(bad, pathProblems(fmt.Sprintf("%s.workspace_dirs[%d]", key, i), dir)...)
		if dir == "/" {
			bad = append(bad, fmt.Sprintf("%s.workspace_dirs[%d]: \"/\" would give away the whole machine", key, i))
		}
	}
	return bad
}
