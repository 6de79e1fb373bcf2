package containerd

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cgroup"
	"github.com/sandgate/sandgate/sandbox/oci"
)

// Config is what a Runtime is made from. Only DataDir is required.
type Config struct {
	// DataDir holds what must survive: images and containerd's metadata. One
	// Runtime at a time: it is locked. Required, absolute.
	DataDir string
	// RunDir holds sockets, fifos and the host image's mount points. It must be
	// reachable (o+x) by the cell's unprivileged ids, and short, since sockets
	// are in it. Default /run/sandgate-<hash of DataDir>.
	RunDir string
	// BinDir is where containerd, containerd-shim-runc-v2, runc and sandgate-init
	// are looked for first; then beside the executable, then in PATH. Optional.
	BinDir string

	// Address is the socket of a running containerd to be used instead of a
	// private one; Namespace is the containerd namespace, default "sandgate".
	Address, Namespace string
	// Runtimes says what is behind an isolation class. sandbox.IsolationRunc is always
	// there, sandbox.IsolationGVisor if it is named here. A cell in gVisor is on one
	// processor, unless its calls may use more than 1000 thousandths of one.
	Runtimes map[sandbox.Isolation]RuntimeClass

	// IDBase and IDCount are the ids of the machine that cells are mapped to.
	// Default 100000 and 65536. They must belong to nobody else.
	IDBase, IDCount uint32

	// HostEtc are files that the host image has in /etc beside its own, by name: what
	// programs are to find there. Cells read them; nothing secret may be in them.
	HostEtc map[string]string

	// PoolSize is how many cells of the host image wait for their first call at
	// least. Default 3; negative means that none is ever made ahead.
	PoolSize int
	// PoolCeiling is how many cells of one image and isolation wait for their first
	// call at most: the pool grows to it with demand. Default half of MaxCells.
	PoolCeiling int
	// Makers is how many cells are made at a time, and how many removed. Default the
	// number of processors, at most 4.
	Makers int
	// IdleMemoryBytes is what idle cells may take together, by measurement. Above it
	// those are destroyed that are missed least. Default 0: no bound but MaxCells.
	IdleMemoryBytes int64
	// MaxCells bounds all cells, busy ones included. Default 32. Calls above it wait.
	MaxCells int
	// CellsPerShim is how many cells share one shim process, whose memory is divided
	// by it; they end with it. Default 12; 1 gives each cell its own.
	CellsPerShim int
	// IdleTimeout destroys a cell that waits for its reuse key's next call. Default 60 s.
	IdleTimeout time.Duration
	// MaxAge and MaxCalls destroy a cell that has served; default 1 h and 10000.
	MaxAge   time.Duration
	MaxCalls int64

	// CgroupRoot is where control groups are mounted. Default /sys/fs/cgroup.
	CgroupRoot string
	// CgroupParent is the group, from the root of each hierarchy, in which the
	// cells' groups are made: one that is delegated to the daemon, where the root
	// itself is not. Default "/".
	CgroupParent string
	// Protection keeps the machine and the daemon from the cells as a whole.
	Protection Protection
	// Logger gets the life of containerd and of cells. Default: discarded.
	Logger *slog.Logger
}

// RuntimeClass is the outer wall behind an isolation class.
type RuntimeClass struct {
	Shim   string // containerd's runtime name; default "io.containerd.runc.v2"
	Binary string // name or path of the OCI runtime; default "runc", or "runsc" for gVisor
}

// Defaults of Config.
const (
	defaultNamespace   = "sandgate"
	defaultPoolSize    = 3
	defaultMaxCells    = 32
	defaultShimCells   = 12
	mostMakers         = 4
	defaultIdleTimeout = time.Minute
	defaultMaxAge      = time.Hour
	defaultMaxCalls    = 10000
	runcShim           = "io.containerd.runc.v2"
)

func (c Config) withDefaults() (Config, error) {
	if !filepath.IsAbs(c.DataDir) {
		return c, fmt.Errorf("data directory %q: want an absolute path: %w", c.DataDir, errdefs.ErrInvalidArgument)
	}
	c.DataDir = filepath.Clean(c.DataDir)
	setDefault(&c.RunDir, "/run/sandgate-"+InstanceOf(c.DataDir))
	if !filepath.IsAbs(c.RunDir) || len(c.RunDir) > 80 {
		return c, fmt.Errorf("run directory %q: want an absolute path of at most 80 bytes, since sockets are in it: %w",
			c.RunDir, errdefs.ErrInvalidArgument)
	}
	setDefault(&c.Namespace, defaultNamespace)
	setDefault(&c.IDBase, oci.DefaultIDBase)
	setDefault(&c.IDCount, oci.DefaultIDCount)
	for name := range c.HostEtc {
		if _, taken := hostGenerated()[name]; taken || name != filepath.Base(name) || !filepath.IsLocal(name) {
			return c, fmt.Errorf("file %q of the host image: want the name of a file that it does not have: %w", name, errdefs.ErrInvalidArgument)
		}
	}
	setDefault(&c.PoolSize, defaultPoolSize)
	setDefault(&c.MaxCells, defaultMaxCells)
	if c.MaxCells < 1 {
		return c, fmt.Errorf("max cells is %d: want at least 1: %w", c.MaxCells, errdefs.ErrInvalidArgument)
	}
	if c.PoolCeiling < 0 || c.Makers < 0 || c.IdleMemoryBytes < 0 {
		return c, fmt.Errorf("pool ceiling %d, makers %d, idle memory %d: want none below 0: %w",
			c.PoolCeiling, c.Makers, c.IdleMemoryBytes, errdefs.ErrInvalidArgument)
	}
	if c.PoolSize < 0 {
		c.PoolSize, c.PoolCeiling = 0, 0
	} else {
		c.PoolSize = min(c.PoolSize, c.MaxCells)
		setDefault(&c.PoolCeiling, c.MaxCells/2)
		c.PoolCeiling = min(max(c.PoolCeiling, c.PoolSize), c.MaxCells)
	}
	setDefault(&c.Makers, min(runtime.GOMAXPROCS(0), mostMakers))
	setDefault(&c.CellsPerShim, defaultShimCells)
	if c.CellsPerShim < 1 {
		return c, fmt.Errorf("cells per shim is %d: want at least 1: %w", c.CellsPerShim, errdefs.ErrInvalidArgument)
	}
	setDefault(&c.IdleTimeout, defaultIdleTimeout)
	setDefault(&c.MaxAge, defaultMaxAge)
	setDefault(&c.MaxCalls, defaultMaxCalls)
	setDefault(&c.CgroupRoot, cgroup.DefaultRoot)
	setDefault(&c.CgroupParent, "/")
	if !filepath.IsAbs(c.CgroupParent) || filepath.Clean(c.CgroupParent) != c.CgroupParent {
		return c, fmt.Errorf("control group %q: want a clean absolute path: %w", c.CgroupParent, errdefs.ErrInvalidArgument)
	}
	var err error
	if c.Protection, err = c.Protection.withDefaults(); err != nil {
		return c, err
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	classes := map[sandbox.Isolation]RuntimeClass{sandbox.IsolationRunc: {}}
	maps.Copy(classes, c.Runtimes)
	for isolation, class := range classes {
		switch isolation {
		case sandbox.IsolationRunc:
			setDefault(&class.Binary, "runc")
		case sandbox.IsolationGVisor:
			setDefault(&class.Binary, "runsc")
		default:
			return c, fmt.Errorf("isolation %q is not known: want %q or %q: %w",
				isolation, sandbox.IsolationRunc, sandbox.IsolationGVisor, errdefs.ErrInvalidArgument)
		}
		setDefault(&class.Shim, runcShim)
		classes[isolation] = class
	}
	c.Runtimes = classes
	return c, nil
}

// InstanceOf names everything on the machine that belongs to a data directory:
// the run directory is by default "/run/sandgate-" with it, the control group
// "/sandgate-" with it.
func InstanceOf(dataDir string) string {
	sum := sha256.Sum256([]byte(dataDir))
	return hex.EncodeToString(sum[:5])
}

// findBinary looks in BinDir, beside the executable and in PATH.
func (c Config) findBinary(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, executable(name)
	}
	var dirs []string
	if c.BinDir != "" {
		dirs = append(dirs, c.BinDir)
	}
	if self, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Dir(self))
	}
	for _, dir := range dirs {
		if path, err := filepath.Abs(filepath.Join(dir, name)); err == nil && executable(path) == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("program %q is not in %v nor in PATH: build it with make, or set the directory of the binaries: %w",
			name, dirs, errdefs.ErrFailedPrecondition)
	}
	return filepath.Abs(path)
}

func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("program %q: %w: %w", path, err, errdefs.ErrFailedPrecondition)
	}
	if info.IsDir() || info.Mode().Perm()&0o111 == 0 {
		return fmt.Errorf("program %q is not executable: %w", path, errdefs.ErrFailedPrecondition)
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
