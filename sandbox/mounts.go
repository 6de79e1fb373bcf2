package sandbox

import (
	"fmt"
	"path"
	"strings"
)

// Mount says how a part of the workspace may be used by the call. What it says of
// a directory holds for all that is below it and not said otherwise.
//
// The path has to lead to a file or a directory when the call begins, without a
// symbolic link on the way, or the call is refused: what is not there could be made
// by the call itself. The directories above it cannot be renamed or removed by the
// call. It binds this call: others that work in the same directory at the time are
// bound by what is said of them.
type Mount struct {
	Path string    `json:"path"` // absolute, clean, below WorkspacePath
	Mode MountMode `json:"mode"`
	// IfExists lets the call run when there is nothing at Path. Then nothing keeps
	// it from making something there, but what is said of the directory above.
	IfExists bool `json:"if_exists,omitempty"`
}

// MountMode is how a part of a workspace may be used.
type MountMode string

// Modes of mounts, the tightest first.
const (
	// MountHidden shows an empty directory or an empty file instead, read-only.
	MountHidden MountMode = "hidden"
	// MountReadOnly lets nothing below be changed.
	MountReadOnly MountMode = "ro"
	// MountWritable is an exception from a read-only workspace or directory.
	MountWritable MountMode = "rw"
)

// MountState is what the kernel shows of a mount at the workspace or below it.
type MountState struct {
	Path string `json:"path"`
	Mode string `json:"mode"` // "rw", "ro", "hidden", or "absent": nothing is there, as Mount.IfExists allows
}

// Bounds of a call's mounts.
const (
	MaxMounts     = 32
	maxMountDepth = 16
	maxMountBytes = 1024
)

// CheckMountPath says what is wrong with the path of a Mount.
func CheckMountPath(p string) error {
	below, ok := strings.CutPrefix(p, WorkspacePath+"/")
	switch {
	case !ok || path.Clean(p) != p || strings.ContainsRune(p, 0):
		return fmt.Errorf("path %q: want a clean absolute path below %s", p, WorkspacePath)
	case len(p) > maxMountBytes || strings.Count(below, "/") >= maxMountDepth:
		return fmt.Errorf("path %.64q… has %d bytes and %d parts: at most %d and %d", p, len(p), strings.Count(below, "/")+1, maxMountBytes, maxMountDepth)
	}
	return nil
}

// validateMounts says what is wrong with a call's mounts.
func validateMounts(mounts []Mount) error {
	if len(mounts) > MaxMounts {
		return invalid("%d mounts: at most %d", len(mounts), MaxMounts)
	}
	modes := make(map[string]MountMode, len(mounts))
	for _, m := range mounts {
		if err := CheckMountPath(m.Path); err != nil {
			return invalid("mount: %v", err)
		}
		if m.Mode != MountHidden && m.Mode != MountReadOnly && m.Mode != MountWritable {
			return invalid("mount %q: mode %q: want %q, %q or %q", m.Path, m.Mode, MountHidden, MountReadOnly, MountWritable)
		}
		if _, twice := modes[m.Path]; twice {
			return invalid("mount %q is there twice", m.Path)
		}
		modes[m.Path] = m.Mode
	}
	for p := range modes {
		for up := path.Dir(p); up != WorkspacePath; up = path.Dir(up) {
			if modes[up] == MountHidden {
				return invalid("mount %q is below %q, which is hidden", p, up)
			}
		}
	}
	return nil
}
