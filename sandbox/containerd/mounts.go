package containerd

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/oci"
)

// pinned is the mode of a directory above a part of the workspace of which
// something is demanded: it is mounted on itself, so that the call can neither
// rename nor remove it and put another in its place.
const pinned = "pinned"

// absent is the state of a mount that need not exist, and does not.
const absent = "absent"

// part is a part of the workspace that gets a mount of its own.
type part struct {
	path     string // below the workspace, relative
	mode     string // of sandbox.MountMode, or pinned
	dev, ino uint64 // of what was found there
	dir      bool
}

// at is where the call sees it.
func (p *part) at() string { return sandbox.WorkspacePath + "/" + p.path }

// findParts looks up in the directory what the mounts name, so that a call is
// refused before anything was mounted for it. Parents come before what is in them.
func findParts(dir int, readOnly bool, mounts []sandbox.Mount) (parts []part, missing []string, err error) {
	mounts = slices.SortedFunc(slices.Values(mounts), func(a, b sandbox.Mount) int { return cmp.Compare(a.Path, b.Path) })
	found := make(map[string]part, len(mounts))
	for _, m := range mounts {
		below := strings.TrimPrefix(m.Path, sandbox.WorkspacePath+"/")
		p, err := findPart(dir, below, string(m.Mode))
		switch {
		case err == nil:
			found[below] = p
		case m.IfExists && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)):
			missing = append(missing, m.Path)
		default:
			return nil, nil, err
		}
	}
	for _, p := range slices.Sorted(maps.Keys(found)) {
		mode := modeAbove(found, p, readOnly)
		for up := path.Dir(p); up != "." && mode == string(sandbox.MountWritable); up = path.Dir(up) {
			if _, known := found[up]; known {
				break
			}
			pin, err := findPart(dir, up, pinned)
			if err != nil {
				return nil, nil, err
			}
			found[up] = pin
		}
	}
	for _, p := range found {
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.path, b.path) })
	return parts, missing, nil
}

// modeAbove is what may be done with the directory that a part is in.
func modeAbove(found map[string]part, p string, readOnly bool) string {
	for up := path.Dir(p); up != "."; up = path.Dir(up) {
		if have, ok := found[up]; ok && have.mode != pinned {
			return have.mode
		}
	}
	if readOnly {
		return string(sandbox.MountReadOnly)
	}
	return string(sandbox.MountWritable)
}

func findPart(dir int, below, mode string) (part, error) {
	p := part{path: below, mode: mode}
	fd, err := p.open(dir)
	if err != nil {
		return p, err
	}
	defer unix.Close(fd) //nolint:errcheck // an O_PATH descriptor
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return p, fmt.Errorf("mount %s: %w", p.at(), err)
	}
	p.dev, p.ino, p.dir = stat.Dev, stat.Ino, stat.Mode&unix.S_IFMT == unix.S_IFDIR
	return p, nil
}

// open opens the part below the workspace, over mounts but over no link.
func (p *part) open(workspace int) (int, error) {
	fd, err := unix.Openat2(workspace, p.path, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err == nil {
		var stat unix.Stat_t
		if err = unix.Fstat(fd, &stat); err == nil && stat.Mode&unix.S_IFMT == unix.S_IFLNK {
			err = unix.ELOOP // O_PATH opens a link itself
		}
		if err != nil {
			_ = unix.Close(fd) // an O_PATH descriptor
		}
	}
	if err != nil {
		return -1, fmt.Errorf("mount %s: %w: want a file or directory that is there before the call, with no symbolic link on the way: %w",
			p.at(), err, errdefs.ErrFailedPrecondition)
	}
	return fd, nil
}

// mountEphemeral gives a call its workspace that has no directory. Nothing is in it,
// and so nothing can be said of its parts.
func (u *running) mountEphemeral() error {
	missing := make([]string, 0, len(u.call.Mounts))
	for _, m := range u.call.Mounts {
		if !m.IfExists {
			return fmt.Errorf("mount %s: the call has no session and no workspace directory, so nothing is there: want a workspace with it, or a mount that need not exist: %w",
				m.Path, errdefs.ErrFailedPrecondition)
		}
		missing = append(missing, m.Path)
	}
	slices.Sort(missing)
	u.believeReadOnly()
	if u.call.Workspace.ReadOnly {
		u.kind = cell.WorkspaceEmpty
	}
	u.tellMissing(missing)
	return nil
}

// believeReadOnly is for a workspace that init makes, which looks at what the kernel
// made of it, or that the cell was made with.
func (u *running) believeReadOnly() {
	if u.call.Workspace.ReadOnly {
		u.mounts = append(u.mounts, sandbox.MountState{Path: sandbox.WorkspacePath, Mode: string(sandbox.MountReadOnly)})
	}
}

func (u *running) tellMissing(missing []string) {
	for _, at := range missing {
		u.mounts = append(u.mounts, sandbox.MountState{Path: at, Mode: absent})
	}
}

// arrange mounts the parts in the call's mount namespace and looks at what the
// kernel made of it.
func (u *running) arrange(parts []part, missing []string) error {
	readOnly := u.call.Workspace.ReadOnly
	if len(u.call.Mounts) == 0 && !readOnly {
		return nil
	}
	if len(parts) > 0 {
		u.arranged = true
		veils, err := u.r.veils(parts)
		if err != nil {
			return err
		}
		defer veils.close()
		if err := inCell(u.stage.stage, func() error { return mountParts(parts, veils) }); err != nil {
			if !errdefs.IsFailedPrecondition(err) {
				err = fmt.Errorf("%w: %w", err, errUnfit)
			}
			return fmt.Errorf("workspace %s: %w", u.call.Workspace.HostDir, err)
		}
	}
	seen, err := readMounts(procOf(u.stage.stage))
	if err != nil {
		return fmt.Errorf("%w: %w", err, errUnfit)
	}
	if readOnly {
		if m, ok := seen[sandbox.WorkspacePath]; !ok || !m.readOnly {
			return fmt.Errorf("the workspace is not read-only, says the kernel: %w", errdefs.ErrFailedPrecondition)
		}
		u.believeReadOnly()
	}
	for i := range parts {
		p := &parts[i]
		if fault := p.compare(seen, readOnly, parts); fault != "" {
			return fmt.Errorf("mount %s is not %s, says the kernel: %s: %w", p.at(), p.mode, fault, errdefs.ErrFailedPrecondition)
		}
		if p.mode != pinned {
			u.mounts = append(u.mounts, sandbox.MountState{Path: p.at(), Mode: p.mode})
		}
	}
	u.tellMissing(missing)
	return nil
}

// compare says what of a part is not as demanded.
func (p *part) compare(seen map[string]mountSeen, readOnly bool, parts []part) string {
	m, ok := seen[p.at()]
	want := p.mode
	if want == pinned {
		found := make(map[string]part, len(parts))
		for _, o := range parts {
			found[o.path] = o
		}
		want = modeAbove(found, p.path, readOnly)
	}
	switch {
	case !ok:
		return "nothing is mounted there"
	case m.readOnly == (want == string(sandbox.MountWritable)):
		return "its options are " + m.options
	case !m.restricted:
		return "it could have devices or set-user-id programs: its options are " + m.options
	case want == string(sandbox.MountHidden) && !strings.HasSuffix(m.root, "/"+veilName(p.dir)):
		return "it shows " + m.root
	}
	return ""
}

// mountParts mounts all parts, in the call's mount namespace, from its root as
// working directory.
func mountParts(parts []part, veils veilTrees) error {
	workspace, err := unix.Openat2(unix.AT_FDCWD, "."+oci.WorkspacePath, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return fmt.Errorf("open the workspace in the cell: %w", err)
	}
	defer unix.Close(workspace) //nolint:errcheck // an O_PATH descriptor
	for i := range parts {
		if err := parts[i].mount(workspace, veils); err != nil {
			return err
		}
	}
	return nil
}

func (p *part) mount(workspace int, veils veilTrees) (err error) {
	at, err := p.open(workspace)
	if err != nil {
		return err
	}
	defer unix.Close(at) //nolint:errcheck // an O_PATH descriptor
	var stat unix.Stat_t
	if err := unix.Fstat(at, &stat); err != nil {
		return fmt.Errorf("mount %s: %w", p.at(), err)
	}
	if stat.Dev != p.dev || stat.Ino != p.ino {
		return fmt.Errorf("mount %s: it is another file than a moment ago: want one that stays: %w", p.at(), errdefs.ErrFailedPrecondition)
	}
	tree, hidden := veils[p.path]
	if !hidden {
		tree, err = unix.OpenTree(at, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
		if err != nil {
			return fmt.Errorf("mount %s: clone: %w: %w", p.at(), err, errdefs.ErrFailedPrecondition)
		}
		defer unix.Close(tree) //nolint:errcheck // attached, or dropped with the descriptor
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV, Propagation: unix.MS_PRIVATE}
	switch p.mode {
	case string(sandbox.MountHidden), string(sandbox.MountReadOnly):
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	case string(sandbox.MountWritable):
		attr.Attr_clr = unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("mount %s: restrict: %w: %w", p.at(), err, errdefs.ErrFailedPrecondition)
	}
	if err := unix.MoveMount(tree, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %s: attach: %w: %w", p.at(), err, errdefs.ErrFailedPrecondition)
	}
	return nil
}

// veilTrees are detached mounts of nothing, by the path of the part that they hide.
type veilTrees map[string]int

func (v veilTrees) close() {
	for _, tree := range v {
		_ = unix.Close(tree) // attached, or dropped with the descriptor
	}
}

// veilName is that of what is shown instead of a hidden directory or file.
func veilName(dir bool) string {
	if dir {
		return "hidden/dir"
	}
	return "hidden/file"
}

// veils makes the mounts for what is hidden. They are clones of an empty directory
// and an empty file of the daemon's, which belong to the machine's root.
func (r *Runtime) veils(parts []part) (_ veilTrees, err error) {
	trees := veilTrees{}
	defer func() {
		if err != nil {
			trees.close()
		}
	}()
	for i := range parts {
		p := &parts[i]
		if p.mode != string(sandbox.MountHidden) {
			continue
		}
		if len(trees) == 0 {
			if err := r.makeVeils(); err != nil {
				return nil, err
			}
		}
		tree, err := unix.OpenTree(unix.AT_FDCWD, filepath.Join(r.cfg.RunDir, veilName(p.dir)),
			unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
		if err != nil {
			return nil, fmt.Errorf("hide %s: %w", p.at(), err)
		}
		trees[p.path] = tree
	}
	return trees, nil
}

func (r *Runtime) makeVeils() error {
	if err := makeDir(filepath.Join(r.cfg.RunDir, veilName(true)), 0o555); err != nil {
		return err
	}
	name := filepath.Join(r.cfg.RunDir, veilName(false))
	err := os.WriteFile(name, nil, 0o400)
	if err != nil {
		return fmt.Errorf("make an empty file: %w", err)
	}
	// Any call may read that there is nothing.
	if err := os.Chmod(name, 0o444); err != nil { // #nosec G302 -- it is empty, and is mounted read-only
		return fmt.Errorf("make an empty file: %w", err)
	}
	return nil
}
