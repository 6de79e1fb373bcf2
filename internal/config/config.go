// Package config reads the daemon's configuration: a YAML file, over it the
// environment and flags, under it the defaults. cmd/sandgated reads it and
// internal/daemon builds from it; the CLI takes the default socket from it. It
// must never open a socket or create anything: it says whether the daemon could.
package config

import (
	"path/filepath"
	"time"
)

// Config is the whole configuration of a daemon. Every key is optional; the
// zero value of a field means its default unless the field says otherwise.
type Config struct {
	// DataDir is the absolute directory of all that the daemon keeps: the journal,
	// session workspaces, containerd's content, the socket. It is made with mode 0750 if
	// missing. One daemon at a time uses it. Default: /var/lib/sandgate for root,
	// $XDG_STATE_HOME/sandgate (~/.local/state/sandgate) for others. Losing it loses the
	// record of what ran.
	DataDir string `json:"data_dir"`
	// Listen says where hosts reach the daemon.
	Listen Listen `json:"listen"`
	// Containerd says which containerd runs the cells.
	Containerd Containerd `json:"containerd"`
	// Pool says how many cells are kept.
	Pool Pool `json:"pool"`
	// Admission says how much runs at once and who waits.
	Admission Admission `json:"admission"`
	// Protection says how the machine is kept from all cells together.
	Protection Protection `json:"protection"`
	// Sessions says how many sessions there are, how long they live and what they may use.
	Sessions Sessions `json:"sessions"`
	// Environment names what this daemon is for, "production" say: 1 to 64 characters of
	// [a-z0-9_-]. Policies see it as input.daemon.environment, and rules can have another
	// mode in each. Default: none.
	Environment string `json:"environment"`
	// Policy says what decides.
	Policy Policy `json:"policy"`
	// Tools says which tools there are.
	Tools Tools `json:"tools"`
	// Ceiling is the hard maximum of every call. A policy tightens it, never loosens it.
	Ceiling Limits `json:"ceiling"`
	// Defaults are the limits of a call for which policy demands nothing. None may be
	// above the ceiling.
	Defaults Limits `json:"defaults"`
	// Callers say who may call and with which profiles; the first entry that matches
	// counts, and who matches none is refused. Default: root and the daemon's own user
	// get the profiles workspace (their default), readonly, open and locked, and are
	// administrators. Giving any entry replaces the default.
	Callers []Caller `json:"callers"`
	// Approvals say who may answer when policy asks about a call.
	Approvals Approvals `json:"approvals"`
	// Journal says how the record is written.
	Journal Journal `json:"journal"`
	// Results says how long results are kept for repeated calls.
	Results Results `json:"results"`
	// Background bounds calls that run in the background.
	Background Background `json:"background"`
	// Log says how the daemon logs.
	Log Log `json:"log"`
	// Metrics says where Prometheus finds the daemon's figures.
	Metrics Metrics `json:"metrics"`
	// Tracing says where OpenTelemetry spans go.
	Tracing Tracing `json:"tracing"`
}

// Listen says where hosts reach the daemon.
type Listen struct {
	Unix Unix `json:"unix"`
	TCP  TCP  `json:"tcp"`
	// MaxRequests is how many calls are open at once, running, waiting or being
	// decided, 8 to 65536. Default 512. Each may hold a message of 4 MiB.
	MaxRequests int `json:"max_requests"`
	// MaxRequestsPerCaller is how many of them one caller has, 4 to MaxRequests.
	// Default 192, or all if there are fewer. Cancelling, asking and health checks have
	// room of their own.
	MaxRequestsPerCaller int `json:"max_requests_per_caller"`
}

// Unix is the unix socket. It is always there; peers are known by their uid.
type Unix struct {
	// Path of the socket, absolute, at most 107 bytes. Default: sandgate.sock in DataDir.
	Path string `json:"path"`
	// Mode of the socket as octal text. Default "0660". Anybody who may write to it
	// reaches the daemon; Callers still decides what he may do.
	Mode string `json:"mode"`
	// Group that owns the socket, by name or number; it also gets the data directory, so
	// that it can reach the socket. Default: the daemon's own group.
	Group string `json:"group"`
}

// TCP is the optional TCP listener. It is plain text: put it on loopback or
// behind something that encrypts.
type TCP struct {
	// Address is host:port with a numeric host. Default: empty, no TCP.
	Address string `json:"address"`
	// TokensFile is an absolute path of a file with one "SUBJECT TOKEN" a line, readable
	// by its owner only. A peer that sends "authorization: Bearer TOKEN" becomes the
	// caller "token:SUBJECT". Required unless AllowAnonymous is set.
	TokensFile string `json:"tokens_file"`
	// AllowAnonymous lets peers without a token be the caller "tcp:anonymous". Default
	// false. Whoever reaches the port is then that caller.
	AllowAnonymous bool `json:"allow_anonymous"`
	// AllowNonLoopback permits an Address that other machines reach. Default false:
	// tokens and tool output would cross the network unencrypted.
	AllowNonLoopback bool `json:"allow_non_loopback"`
}

// Containerd says which containerd runs the cells.
type Containerd struct {
	// Address is the absolute path of the socket of a running containerd. Default:
	// empty, the daemon starts and supervises a private one under DataDir.
	Address string `json:"address"`
	// Namespace in that containerd. Default "sandgate". Everything in it belongs to this
	// daemon: what it does not know there, it removes.
	Namespace string `json:"namespace"`
	// BinDir is an absolute directory in which containerd, its shim, runc and
	// sandgate-init are looked for first. Default: beside sandgated, then PATH.
	BinDir string `json:"bin_dir"`
	// Runtimes says what stands behind an isolation class, by the class's name: "runc" or
	// "gvisor". Default: runc alone; a policy that demands another class denies the call.
	Runtimes map[string]RuntimeClass `json:"runtimes"`
	// IDBase is the first of 65536 user and group ids of the machine that cells are mapped
	// to, 65536 to 4000000000. They must belong to nobody else. Default 100000.
	IDBase uint32 `json:"id_base"`
	// CgroupParent is the control group in which those of the cells are made, as an
	// absolute path from the root of the hierarchy: one that is delegated to the daemon,
	// where the root itself is not. Default "/".
	CgroupParent string `json:"cgroup_parent"`
}

// RuntimeClass is the outer wall behind an isolation class.
type RuntimeClass struct {
	// Shim is containerd's name of the runtime. Default "io.containerd.runc.v2".
	Shim string `json:"shim"`
	// Binary is the name or absolute path of the OCI runtime. Required but for runc.
	Binary string `json:"binary"`
}

// Pool says how many cells are kept.
type Pool struct {
	// Idle is how many cells wait ready for any caller at least. 0 to 64, default 3; 0
	// makes none ahead, so that every new session waits for its cell.
	Idle *int `json:"idle"`
	// IdleMax is how many wait ready at most: the pool grows to it when calls come
	// faster. Idle to MaxCells, default half of MaxCells.
	IdleMax int `json:"idle_max"`
	// IdleMemory is what idle cells may take together, 16MiB to 1TiB. Above it those are
	// destroyed that are missed least. Default: an eighth of the machine's memory.
	IdleMemory Bytes `json:"idle_memory"`
	// MaxCells is how many cells there are at most, those of idle sessions included.
	// 1 to 1024, default 64. With fewer cells than sessions in use at a time, sessions
	// take each other's.
	MaxCells int `json:"max_cells"`
	// IdleTimeout is after how long an unused cell of a session or caller is destroyed.
	// 1s to 24h, default 5m.
	IdleTimeout Duration `json:"idle_timeout"`
	// MaxAge and MaxCalls are after how long, and after how many calls, a cell is
	// destroyed and made anew. 1m to 168h, default 1h; 1 to 1000000, default 10000.
	MaxAge   Duration `json:"max_age"`
	MaxCalls int64    `json:"max_calls"`
	// CellsPerShim is how many cells share one process of containerd's shim and its
	// memory, 1 to 128. Default 12. They all end when that process does.
	CellsPerShim int `json:"cells_per_shim"`
}

// Policy says what decides.
type Policy struct {
	// Dir is an absolute directory of Rego and data files. Default: empty, the built-in
	// library.
	Dir string `json:"dir"`
	PolicySources
}

// Tools says which tools there are.
type Tools struct {
	// Dir is an absolute directory of the operator's own tool declarations. Default:
	// empty, the built-in tools alone.
	Dir string `json:"dir"`
	// Disable names built-in tools that are left out. Default: none.
	Disable []string `json:"disable"`
	// GitIdentity is who commits in a cell of the host image of whom its repository, its
	// variables or its home say nothing else: "NAME <EMAIL>". Default: "sandgate agent
	// <agent@sandgate.invalid>".
	GitIdentity string `json:"git_identity"`
}

// Limits bound one call.
type Limits struct {
	// WallTime is the deadline from the start of the program. Ceiling default 10m, 120s otherwise.
	WallTime Duration `json:"wall_time"`
	// CPUMillis in thousandths of a core. Ceiling default 2000, 1000 otherwise.
	CPUMillis int64 `json:"cpu_millis"`
	// Memory of the whole process tree with its tmpfs, at least 4MiB. Ceiling default 2GiB, 512MiB otherwise.
	Memory Bytes `json:"memory"`
	// Pids is the number of processes and threads. Ceiling default 1024, 256 otherwise.
	Pids int64 `json:"pids"`
	// Output that is kept per stream. Ceiling default 8MiB, 1MiB otherwise.
	Output Bytes `json:"output"`
	// OutputTotal on both streams together ends the call. Ceiling default 1GiB, 256MiB otherwise.
	OutputTotal Bytes `json:"output_total"`
	// Disk is the size of each tmpfs of the call. Ceiling default 1GiB, 256MiB otherwise.
	Disk Bytes `json:"disk"`
	// File is the largest file that may be written. Ceiling default 1GiB, 256MiB otherwise.
	File Bytes `json:"file"`
	// OpenFiles per process. Ceiling default 4096, 1024 otherwise.
	OpenFiles int64 `json:"open_files"`
}

// Caller gives rights to the callers that it matches.
type Caller struct {
	Match Match `json:"match"`
	// Profiles are the policy profiles that the caller may choose from. Required.
	Profiles []string `json:"profiles"`
	// DefaultProfile is used when a call names none. Default: the first of Profiles.
	DefaultProfile string `json:"default_profile"`
	// WorkspaceDirs are absolute directories of the machine that the caller may name,
	// or anything beneath, as a call's workspace. Default: none.
	WorkspaceDirs []string `json:"workspace_dirs"`
	// Repositories are absolute directories of the machine; of a git repository that is
	// one of them or beneath, the caller may have sessions with a working tree of their
	// own. Default: none.
	Repositories []string `json:"repositories"`
	// Tenant is whose caller it is: 1 to 64 characters of [a-z0-9_-]. Policies see it as
	// input.caller.tenant, and the rules of data.sandgate.tenants.TENANT hold for it beside
	// all others. Default: nobody's.
	Tenant string `json:"tenant"`
	// Admin permits reloading policy, importing images and evaluating raw inputs. Default false.
	Admin bool `json:"admin"`
}

// Match says whom an entry is for: all keys that are given must match, at
// least one must be given.
type Match struct {
	// UID of the peer of the unix socket.
	UID *int `json:"uid"`
	// GID is the primary group of the peer of the unix socket.
	GID *int `json:"gid"`
	// ID is a pattern of the caller's id in which * stands for any characters:
	// "token:ci-*", "tcp:anonymous", "unix:uid:*".
	ID string `json:"id"`
}

// Results says how long results are kept, so that a repeated call id gets the
// stored result. A call whose result is gone is still not run twice.
type Results struct {
	// MaxCount is how many finished calls are known, 1 to 10000000: the window in which a
	// call id gets its result. Default 50000. Each takes some 800 bytes.
	MaxCount int `json:"max_count"`
	// MaxForgotten is of how many calls before those the id alone is known, 0 to 100000000:
	// when it comes again it is refused and not run twice. Beyond, it is as new. Default
	// 1000000. Each takes some 30 bytes once there are so many.
	MaxForgotten *int `json:"max_forgotten"`
	// MaxSize is the memory of the results that are kept whole, with outputs and receipts,
	// 1MiB to 64GiB. Default 32MiB.
	MaxSize Bytes `json:"max_size"`
	// Keep is for how long a result is kept whole, in memory and on disk, 1s to 720h.
	// Default 1h.
	Keep Duration `json:"keep"`
	// MaxDisk is what the outputs of finished calls take in files below DataDir, so that
	// they outlive the memory and a restart, 0 or 1MiB to 1TiB. Default 256MiB; with 0
	// there are none. They hold what hosts were told, readable by the daemon's user alone.
	MaxDisk *Bytes `json:"max_disk"`
	// MaxLog is how much of the output of one running call is kept for those who attach
	// to it, its beginning and its end, 64KiB to 1GiB. Default 16MiB. Files of running
	// calls take as much as MaxDisk together; without room it is 128KiB.
	MaxLog Bytes `json:"max_log"`
}

// Log says how the daemon logs.
type Log struct {
	// Level is the lowest that is written: debug, info, warn, error. Default info.
	Level string `json:"level"`
	// Format is json or console. Default json.
	Format string `json:"format"`
}

// SocketPath is where the unix socket is.
func (c *Config) SocketPath() string { return c.Listen.Unix.Path }

// WithDefaults returns the configuration with everything filled in that was
// left out, for a daemon that runs as uid.
func (c Config) WithDefaults(uid int) Config {
	if c.DataDir == "" {
		c.DataDir = DefaultDataDir()
	}
	fill(&c.Listen.Unix.Path, filepath.Join(c.DataDir, SocketName))
	fill(&c.Listen.Unix.Mode, "0660")
	fill(&c.Listen.MaxRequests, 512)
	fill(&c.Listen.MaxRequestsPerCaller, min(192, c.Listen.MaxRequests))
	fill(&c.Containerd.Namespace, "sandgate")
	fill(&c.Containerd.IDBase, 100_000)
	fill(&c.Containerd.CgroupParent, "/")
	fill(&c.Pool.MaxCells, 64)
	if c.Pool.Idle == nil {
		idle := min(3, c.Pool.MaxCells)
		c.Pool.Idle = &idle
	}
	fill(&c.Pool.IdleMax, max(c.Pool.MaxCells/2, *c.Pool.Idle, 1))
	fill(&c.Pool.IdleTimeout, Duration(5*time.Minute))
	fill(&c.Pool.MaxAge, Duration(time.Hour))
	fill(&c.Pool.MaxCalls, 10_000)
	fill(&c.Pool.CellsPerShim, 12)
	c.Policy = c.Policy.withDefaults()
	c.Admission = c.Admission.withDefaults(c.Pool.MaxCells)
	c.Protection = c.Protection.withDefaults()
	c.Sessions = c.Sessions.withDefaults()
	fill(&c.Tools.GitIdentity, defaultGitIdentity)
	c.Approvals = c.Approvals.withDefaults()
	fill(&c.Tracing.SamplePercent, 100)
	c.Background = c.Background.withDefaults(c.Ceiling.WallTime)
	c.Ceiling = c.Ceiling.over(Limits{
		WallTime: Duration(10 * time.Minute), CPUMillis: 2000, Memory: 2 * gib, Pids: 1024, Output: 8 * mib,
		OutputTotal: gib, Disk: gib, File: gib, OpenFiles: 4096,
	})
	c.Defaults = c.Defaults.over(Limits{
		WallTime: Duration(2 * time.Minute), CPUMillis: 1000, Memory: 512 * mib, Pids: 256, Output: mib,
		OutputTotal: 256 * mib, Disk: 256 * mib, File: 256 * mib, OpenFiles: 1024,
	}.atMost(c.Ceiling))
	c.Journal = c.Journal.withDefaults(c.DataDir)
	fill(&c.Results.MaxCount, 50_000)
	if c.Results.MaxForgotten == nil {
		ids := 1_000_000
		c.Results.MaxForgotten = &ids
	}
	fill(&c.Results.MaxSize, 32*mib)
	fill(&c.Results.Keep, Duration(time.Hour))
	fill(&c.Results.MaxLog, 16*mib)
	if c.Results.MaxDisk == nil {
		disk := 256 * mib
		c.Results.MaxDisk = &disk
	}
	fill(&c.Log.Level, "info")
	fill(&c.Log.Format, "json")
	if c.Callers == nil {
		c.Callers = defaultCallers(uid)
	}
	for i := range c.Callers {
		if len(c.Callers[i].Profiles) > 0 {
			fill(&c.Callers[i].DefaultProfile, c.Callers[i].Profiles[0])
		}
	}
	return c
}

func defaultCallers(uid int) []Caller {
	uids := []int{0}
	if uid != 0 {
		uids = append(uids, uid)
	}
	out := make([]Caller, 0, len(uids))
	for _, u := range uids {
		out = append(out, Caller{
			Match: Match{UID: &u}, Profiles: []string{"workspace", "readonly", "open", "locked"}, Admin: true,
		})
	}
	return out
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
