package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadFillsDefaults(t *testing.T) {
	dir := t.TempDir()
	c, err := Load("", Overrides{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.SocketPath(), filepath.Join(dir, "sandgate.sock"); got != want {
		t.Errorf("socket: got %q, want %q", got, want)
	}
	if got, want := c.Journal.Path, filepath.Join(dir, "journal", "journal.jsonl"); got != want {
		t.Errorf("journal: got %q, want %q", got, want)
	}
	uid := os.Getuid()
	r, ok := c.Rights(Peer{ID: "unix:uid:x", UID: &uid})
	if !ok || r.DefaultProfile != "workspace" || !r.Admin {
		t.Errorf("own user: got %+v %v, want an administrator with profile workspace", r, ok)
	}
	other := 4711
	if r, ok := c.Rights(Peer{ID: "unix:uid:4711", UID: &other}); ok {
		t.Errorf("another user: got %+v, want no rights", r)
	}
}

func TestLoadReadsFileUnderOverrides(t *testing.T) {
	path := write(t, `
data_dir: /from/file
policy: {dir: /policy/from/file}
log: {level: warn}
pool: {idle: 0, max_cells: 4, idle_timeout: 90s}
admission: {max_waiting: 100, reserve_percent: {readonly: 25}}
ceiling: {memory: 1GiB, wall_time: 30s}
callers:
  - match: {uid: 1000}
    profiles: [readonly, workspace]
    workspace_dirs: [/home/me/src]
  - match: {id: "token:ci-*"}
    profiles: [locked]
`)
	c, err := Load(path, Overrides{DataDir: "/from/flag", Listen: []string{"unix:///run/s.sock"}})
	if err != nil {
		t.Fatal(err)
	}
	if a := c.Admission; a.MaxRunning != 4 || a.MaxWaiting != 100 || a.MaxWaitingPerCaller != 25 || a.ReservePercent["readonly"] != 25 {
		t.Errorf("admission: got %+v, want what follows from the file", a)
	}
	got := []any{
		c.DataDir, c.Policy.Dir, c.Log.Level, *c.Pool.Idle, c.Pool.MaxCells, c.Pool.IdleTimeout.Std(),
		c.Ceiling.Memory.Int64(), c.Defaults.WallTime.Std(), c.Listen.Unix.Path, c.Callers[0].DefaultProfile,
	}
	want := []any{
		"/from/flag", "/policy/from/file", "warn", 0, 4, 90 * time.Second,
		int64(1 << 30), 30 * time.Second, "/run/s.sock", "readonly",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLoadNamesTheWrongKey(t *testing.T) {
	long := "/" + strings.Repeat("x", 120)
	tests := []struct {
		name, yaml string
		want       []string
	}{
		{"unknown key", "data_dri: /x", []string{`unknown key "data_dri"`}},
		{"unknown nested key", "pool: {size: 3}", []string{`unknown key "size"`}},
		{"repeated key", "data_dir: /a\ndata_dir: /b", []string{"data_dir", "already"}},
		{"wrong type", "pool: {max_cells: many}", []string{"pool.max_cells"}},
		{"no YAML", "a: [", []string{"line 1"}},
		{"duration without unit", "pool: {idle_timeout: 30}", []string{"30", "unit"}},
		{"negative size", "ceiling: {memory: -5}", []string{"-5", "MiB"}},
		{"absurd size", "ceiling: {memory: 99999999999GiB}", []string{"99999999999GiB"}},
		{"relative data dir", "data_dir: here", []string{"data_dir", "absolute"}},
		{"relative policy dir", "policy: {dir: here}", []string{"policy.dir", "absolute"}},
		{"long socket path", "listen: {unix: {path: " + long + "}}", []string{"listen.unix.path", "121", "107"}},
		{"socket mode", "listen: {unix: {mode: rw}}", []string{"listen.unix.mode", "0660"}},
		{"tcp host name", "listen: {tcp: {address: 'localhost:1', allow_anonymous: true}}", []string{"listen.tcp.address", "numeric"}},
		{"tcp beyond loopback", "listen: {tcp: {address: '0.0.0.0:1', allow_anonymous: true}}", []string{"allow_non_loopback"}},
		{"tcp without tokens", "listen: {tcp: {address: '127.0.0.1:1'}}", []string{"listen.tcp.tokens_file"}},
		{"tokens without tcp", "listen: {tcp: {tokens_file: /t}}", []string{"listen.tcp.address"}},
		{"default above ceiling", "ceiling: {memory: 64MiB}\ndefaults: {memory: 128MiB}", []string{"defaults.memory", "128MiB", "64MiB"}},
		{"tiny memory", "ceiling: {memory: 1MiB}", []string{"ceiling.memory", "4MiB"}},
		{"nobody", "callers: []", []string{"callers", "nobody"}},
		{"match nothing", "callers: [{profiles: [a]}]", []string{"callers[0].match"}},
		{"no profile", "callers: [{match: {uid: 1}}]", []string{"callers[0].profiles"}},
		{"strange profile", "callers: [{match: {uid: 1}, profiles: ['A b']}]", []string{"callers[0].profiles[0]"}},
		{"foreign default", "callers: [{match: {uid: 1}, profiles: [a], default_profile: b}]", []string{"callers[0].default_profile", `"b"`}},
		{"whole machine", "callers: [{match: {uid: 1}, profiles: [a], workspace_dirs: [/]}]", []string{"workspace_dirs[0]"}},
		{"idle above max", "pool: {idle: 5, max_cells: 2}", []string{"pool.idle"}},
		{"idle ceiling below its floor", "pool: {idle: 5, idle_max: 4}", []string{"pool.idle_max", "5 to 64"}},
		{"weight of cells", "protection: {cells_weight: 20000}", []string{"protection.cells_weight", "10000"}},
		{"memory of all cells", "protection: {memory: 1MiB}", []string{"protection.memory", "64MiB"}},
		{"idle memory", "pool: {idle_memory: 1MiB}", []string{"pool.idle_memory", "16MiB"}},
		{"young cells", "pool: {max_age: 1s, max_calls: -1, cells_per_shim: 1000}", []string{"pool.max_age", "pool.max_calls", "pool.cells_per_shim"}},
		{"relative cgroup", "containerd: {cgroup_parent: a/../b}", []string{"containerd.cgroup_parent", "absolute"}},
		{"zero level", "log: {level: loud}", []string{"log.level", "loud"}},
		{"two at once", "log: {level: loud, format: xml}", []string{"log.level", "log.format"}},
		{"unknown isolation", "containerd: {runtimes: {kata: {}}}", []string{"containerd.runtimes", "kata"}},
		{"isolation without binary", "containerd: {runtimes: {gvisor: {}}}", []string{"containerd.runtimes.gvisor.binary"}},
		{"ids of the system", "containerd: {id_base: 5}", []string{"containerd.id_base", "65536"}},
		{"namespace", "containerd: {namespace: 'a/b'}", []string{"containerd.namespace"}},
		{"no room for anybody", "listen: {max_requests: 2}", []string{"listen.max_requests", "8 to 65536"}},
		{"caller above all", "listen: {max_requests: 16, max_requests_per_caller: 17}", []string{"listen.max_requests_per_caller", "4 to 16"}},
		{"tiny budget", "admission: {cpu_millis: 1, memory: 1MiB}", []string{"admission.cpu_millis", "admission.memory", "4MiB"}},
		{"too many at once", "admission: {max_running: 5000}", []string{"admission.max_running", "1 to 1024"}},
		{"share above all", "admission: {caller_percent: 101}", []string{"admission.caller_percent", "1 to 100"}},
		{"line of one caller", "admission: {max_waiting: 4, max_waiting_per_caller: 5}", []string{"admission.max_waiting_per_caller", "1 to 4"}},
		{"endless wait", "admission: {max_wait: 2h}", []string{"admission.max_wait", "1h0m0s"}},
		{"all reserved", "admission: {reserve_percent: {a: 50, b: 41}}", []string{"admission.reserve_percent", "91", "90"}},
		{"nothing reserved", "admission: {reserve_percent: {a: 0}}", []string{"admission.reserve_percent.a"}},
		{"strange profile reserved", "admission: {reserve_percent: {'A b': 5}}", []string{"admission.reserve_percent", "A b"}},
		{"few sessions", "sessions: {max: 1}", []string{"sessions.max", "8 to"}},
		{"no snapshots", "sessions: {files: {snapshots: -1, upload: 1B}}", []string{"sessions.files.snapshots", "sessions.files.upload"}},
		{"sessions of one caller", "sessions: {max: 8, max_per_caller: 9}", []string{"sessions.max_per_caller"}},
		{"metrics for all", "metrics: {address: '0.0.0.0:1'}", []string{"metrics.address", "loopback"}},
		{"metrics by name", "metrics: {address: 'localhost:1'}", []string{"metrics.address", "numeric"}},
		{"metrics on a relative socket", "metrics: {address: 'unix://run/s'}", []string{"metrics.address", "absolute"}},
		{"collector without port", "tracing: {address: collector}", []string{"tracing.address", "host:port"}},
		{"collector on a relative socket", "tracing: {address: 'unix://s'}", []string{"tracing.address", "absolute"}},
		{"insecure nowhere", "tracing: {insecure: true}", []string{"tracing.address"}},
		{"sampled twice", "tracing: {sample_percent: 200}", []string{"tracing.sample_percent"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(write(t, tt.yaml), Overrides{})
			if err == nil {
				t.Fatal("got no error")
			}
			for _, w := range append(tt.want, "configuration file") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("got %q, want %q in it", err, w)
				}
			}
		})
	}
}

func TestLoadRefusesBadFilesAndFlags(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml"), Overrides{}); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("missing file: got %v, want an error that names it", err)
	}
	if _, err := Load(t.TempDir(), Overrides{}); err == nil || !strings.Contains(err.Error(), "regular file") {
		t.Errorf("directory: got %v, want an error", err)
	}
	if _, err := Load("", Overrides{Listen: []string{"http://x"}}); err == nil || !strings.Contains(err.Error(), "unix:///path") {
		t.Errorf("listen: got %v, want an error that says what is right", err)
	}
}

func TestMatchesOnlyWhatIsGiven(t *testing.T) {
	n := func(i int) *int { return &i }
	tests := []struct {
		name string
		m    Match
		p    Peer
		want bool
	}{
		{"empty match", Match{}, Peer{ID: "x", UID: n(0)}, false},
		{"uid", Match{UID: n(5)}, Peer{UID: n(5)}, true},
		{"uid of nobody", Match{UID: n(0)}, Peer{ID: "tcp:anonymous"}, false},
		{"uid and gid", Match{UID: n(5), GID: n(6)}, Peer{UID: n(5), GID: n(7)}, false},
		{"id", Match{ID: "tcp:anonymous"}, Peer{ID: "tcp:anonymous"}, true},
		{"id prefix is no match", Match{ID: "token:a"}, Peer{ID: "token:ab"}, false},
		{"star", Match{ID: "token:ci-*"}, Peer{ID: "token:ci-7"}, true},
		{"star in the middle", Match{ID: "a*b*c"}, Peer{ID: "axxbyyc"}, true},
		{"overlapping star", Match{ID: "ab*ba"}, Peer{ID: "aba"}, false},
		{"brackets are plain", Match{ID: "token:[ab]"}, Peer{ID: "token:a"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.m.matches(tt.p); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestFirstMatchingCallerCounts(t *testing.T) {
	uid := 7
	c := Config{Callers: []Caller{
		{Match: Match{UID: &uid}, Profiles: []string{"locked"}}, {Match: Match{ID: "*"}, Profiles: []string{"open"}},
	}}
	if r, _ := c.Rights(Peer{ID: "unix:uid:7", UID: &uid}); r.Profiles[0] != "locked" {
		t.Errorf("got %v, want locked", r.Profiles)
	}
}

// The reference says of itself that it is the defaults.
func TestReferenceIsTheDefaults(t *testing.T) {
	raw, err := os.ReadFile("../../deploy/reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	example, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := example.Validate(); err != nil {
		t.Errorf("the example leaves nothing to be filled in but is not valid: %v", err)
	}
	if diff := cmp.Diff(Config{DataDir: SystemDataDir}.WithDefaults(0), example); diff != "" {
		t.Errorf("-defaults +example:\n%s", diff)
	}
}
