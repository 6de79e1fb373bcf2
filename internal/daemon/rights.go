package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/config"
	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/rpc"
	"github.com/sandgate/sandgate/internal/session"
	"github.com/sandgate/sandgate/sandbox"
)

// rights returns what the configuration gives a caller.
func (d *Daemon) rights(c gate.Caller) (config.Caller, bool) {
	return d.cfg.Rights(config.Peer{ID: c.ID, UID: c.UID, GID: c.GID})
}

// access is what the front asks.
func (d *Daemon) access(c gate.Caller) rpc.Access {
	r, ok := d.rights(c)
	return rpc.Access{Known: ok, Admin: ok && r.Admin}
}

// profiles is what the gate asks; none for an unknown caller.
func (d *Daemon) profiles(c gate.Caller) gate.Profiles {
	r, ok := d.rights(c)
	if !ok {
		return gate.Profiles{}
	}
	return gate.Profiles{Default: r.DefaultProfile, Allowed: r.Profiles, Tenant: r.Tenant}
}

// workspaceDirs reports whether the caller may work on a clean, absolute
// directory: one that it was given, or anything beneath.
func (d *Daemon) workspaceDirs(c gate.Caller, dir string) error {
	r, _ := d.rights(c)
	return d.among("workspace_dirs", r.WorkspaceDirs, c, dir)
}

// repositories reports likewise whether it may have working trees of a repository.
func (d *Daemon) repositories(c gate.Caller, dir string) error {
	r, _ := d.rights(c)
	return d.among("repositories", r.Repositories, c, dir)
}

// among reports whether a directory is beneath one that the caller was given
// under a key of the configuration, and apart from the daemon's own.
func (d *Daemon) among(key string, list []string, c gate.Caller, dir string) error {
	if len(list) == 0 {
		return fmt.Errorf("caller %s was given no %s in the daemon's configuration: %w", c.ID, key, errdefs.ErrPermissionDenied)
	}
	for _, given := range list {
		given = filepath.Clean(given)
		if beneath(given, dir) {
			return d.apart(dir)
		}
		// The gate asks a second time with all symlinks resolved.
		if resolved, err := filepath.EvalSymlinks(given); err == nil && beneath(resolved, dir) {
			return d.apart(dir)
		}
	}
	return fmt.Errorf("it is not beneath the caller's %s (%s): %w", key, strings.Join(list, ", "), errdefs.ErrPermissionDenied)
}

// apart refuses a directory that would give away the daemon's own. Only a caller
// that was given the directory is told.
func (d *Daemon) apart(dir string) error {
	if own := d.ownPath(dir); own != "" {
		return fmt.Errorf("it gives a tool hold of the daemon's own %s: choose a directory apart from it: %w", own, errdefs.ErrPermissionDenied)
	}
	return nil
}

// ownPath returns what of the daemon's own a workspace would give away, empty if
// nothing: no call may rewrite the record, the policy or the programs that hold it.
func (d *Daemon) ownPath(dir string) string {
	program := ""
	if self, err := os.Executable(); err == nil {
		program = filepath.Dir(self)
	}
	for name, path := range map[string]string{
		"programs": program, "data_dir": d.cfg.DataDir, "sessions": d.path(sessionsDir), "containerd's directory": d.path(containerdDir),
		"journal": filepath.Dir(d.cfg.Journal.Path), "journal.key_file": d.cfg.Journal.KeyFile, "socket": d.cfg.SocketPath(), "tokens_file": d.cfg.Listen.TCP.TokensFile,
		"approvals.tokens_file": d.cfg.Approvals.TokensFile, "policy.dir": d.cfg.Policy.Dir, "tools.dir": d.cfg.Tools.Dir, "containerd.bin_dir": d.cfg.Containerd.BinDir,
	} {
		if path == "" {
			continue
		}
		for _, own := range resolved(path) {
			// The data directory itself may have a workspace beneath, all else not.
			if beneath(dir, own) || name != "data_dir" && own != filepath.Clean(d.cfg.DataDir) && beneath(own, dir) {
				return name
			}
		}
	}
	return ""
}

// resolved returns a path as it is written and with its symlinks resolved.
func resolved(path string) []string {
	out := []string{filepath.Clean(path)}
	if target, err := filepath.EvalSymlinks(path); err == nil && target != out[0] {
		out = append(out, target)
	}
	return out
}

func beneath(parent, dir string) bool {
	return dir == parent || strings.HasPrefix(dir, strings.TrimSuffix(parent, "/")+"/")
}

// limits are configured limits as policy and gate have them.
func limits(l config.Limits) policy.SandboxObligations {
	return policy.SandboxObligations{
		CPUMillis: l.CPUMillis, MemoryBytes: l.Memory.Int64(), Pids: l.Pids, WallTimeMs: l.WallTime.Std().Milliseconds(),
		OutputBytes: l.Output.Int64(), OutputTotalBytes: l.OutputTotal.Int64(), DiskBytes: l.Disk.Int64(),
		FileBytes: l.File.Int64(), OpenFiles: l.OpenFiles,
	}
}

// defaults are the limits of a call of which policy demands nothing, and the
// rest of its cage.
func defaults(l config.Limits) policy.SandboxObligations {
	out := limits(l)
	out.Isolation, out.Reuse = string(sandbox.IsolationRunc), string(sandbox.ReuseSession)
	out.Network, out.Workspace = "none", "rw"
	return out
}

// sessionBounds are the configuration's bounds as sessions have them.
func sessionBounds(s config.Sessions) session.Bounds {
	quota := func(q config.SessionQuota) session.Quota {
		return session.Quota{
			Calls: q.Calls, CPUTime: q.CPUTime.Std(), DiskBytes: q.Disk.Int64(), ConcurrentCalls: q.ConcurrentCalls, BackgroundCalls: q.BackgroundCalls,
		}
	}
	return session.Bounds{
		TTL: s.TTL.Std(), MaxTTL: s.MaxTTL.Std(), IdleTimeout: s.IdleTimeout.Std(), MaxIdleTimeout: s.MaxIdleTimeout.Std(),
		Quota: quota(s.Quota), MaxQuota: quota(s.MaxQuota),
	}
}

// fileBounds are the configuration's bounds of files as the gate has them.
func fileBounds(f config.SessionFiles) gate.FileBounds {
	return gate.FileBounds{UploadBytes: f.Upload.Int64(), TreeBytes: f.Tree.Int64(), TreeFiles: f.TreeFiles, Snapshots: f.Snapshots}
}
