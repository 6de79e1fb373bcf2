package policy

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/sandgate/sandgate/sandbox"
)

// Mount says what a call may do with a part of its workspace. What it says of a
// directory holds for all that is below, but for what is said of that.
type Mount struct {
	Path     string `json:"path"`                // clean, below /workspace
	Mode     string `json:"mode"`                // hidden, ro, rw
	IfExists bool   `json:"if_exists,omitempty"` // else the call is refused when nothing is there
}

// Modes of mounts and of the workspace. Of mounts none at all is the loosest.
const (
	modeHidden = "hidden"
	modeRO     = "ro"
	modeRW     = "rw"
)

var mountModes = []string{modeHidden, modeRO, modeRW}

// checkMounts says what of the mounts does not exist or contradicts itself, and
// what the daemon cannot enforce or does not allow.
func checkMounts(ob, ceiling SandboxObligations) *problem {
	if len(ob.Mounts) > sandbox.MaxMounts {
		return invalid("obligations.sandbox.mounts has %d entries, the most is %d", len(ob.Mounts), sandbox.MaxMounts)
	}
	if len(ob.Mounts) > 0 && ob.Isolation == string(sandbox.IsolationGVisor) {
		return noMounts()
	}
	modes := make(map[string]string, len(ob.Mounts))
	for _, m := range ob.Mounts {
		if m.Path == sandbox.WorkspacePath {
			return invalid("obligations.sandbox.mounts has the path %q; demand obligations.sandbox.workspace instead", m.Path)
		}
		if err := sandbox.CheckMountPath(m.Path); err != nil {
			return invalid("obligations.sandbox.mounts: %v", err)
		}
		if !slices.Contains(mountModes, m.Mode) {
			return invalid("obligations.sandbox.mounts has the mode %q at %q, want one of %q", m.Mode, m.Path, mountModes)
		}
		if _, twice := modes[m.Path]; twice {
			return invalid("obligations.sandbox.mounts has %q twice", m.Path)
		}
		modes[m.Path] = m.Mode
		if m.Mode == modeRW && ceiling.Workspace == modeRO {
			return &problem{RuleObligationCeiling, fmt.Sprintf("obligations.sandbox.mounts makes %q writable, the daemon's ceiling of the workspace is ro", m.Path)}
		}
	}
	for _, m := range ob.Mounts {
		if above := modeOf(modes, path.Dir(m.Path), ""); above == modeHidden {
			return invalid("obligations.sandbox.mounts has %q below what is hidden", m.Path)
		}
	}
	return nil
}

// noMounts is the problem of mounts where the machine cannot see into the cell.
func noMounts() *problem {
	return &problem{
		RuleObligationUnsupported,
		"the policy demands obligations.sandbox.mounts in a call with the isolation \"gvisor\", where they cannot be enforced; demand runc, or the workspace ro",
	}
}

// modeOf is what is said of a path: of itself, or of the next above it of which
// something is said. root is what is said of the workspace as a whole.
func modeOf(modes map[string]string, at, root string) string {
	for ; len(at) > len(sandbox.WorkspacePath); at = path.Dir(at) {
		if mode, ok := modes[at]; ok {
			return mode
		}
	}
	return root
}

func modesOf(mounts []Mount) map[string]string {
	modes := make(map[string]string, len(mounts))
	for _, m := range mounts {
		modes[m.Path] = m.Mode
	}
	return modes
}

// intersect merges what two parts of the policy say, with what each says of the
// workspace as a whole: of every path the tightest. A path is writable only where
// have says so, and more does not say otherwise of it or of what is above it. The
// result is sorted, parents first.
func intersect(have []Mount, haveRoot string, more []Mount, moreRoot string) []Mount {
	if len(have)+len(more) == 0 {
		return nil
	}
	a, b := modesOf(have), modesOf(more)
	optional := make(map[string]bool, len(a)+len(b))
	for _, m := range slices.Concat(have, more) {
		was, known := optional[m.Path]
		optional[m.Path] = m.IfExists && (was || !known)
	}
	kept := make(map[string]string, len(optional))
	var out []Mount
	for _, at := range slices.Sorted(maps.Keys(optional)) {
		x, y := modeOf(a, at, haveRoot), modeOf(b, at, moreRoot)
		mode := tightestMode(x, y)
		if mode == modeRW && x != modeRW || modeOf(kept, path.Dir(at), "") == modeHidden {
			continue
		}
		kept[at] = mode
		out = append(out, Mount{Path: at, Mode: mode, IfExists: optional[at]})
	}
	return out
}

// tightestMode of two, of which "" says nothing. One is not empty.
func tightestMode(a, b string) string {
	switch x, y := slices.Index(mountModes, a), slices.Index(mountModes, b); {
	case x < 0:
		return b
	case y < 0:
		return a
	default:
		return mountModes[min(x, y)]
	}
}

// mountsIn is what of the mounts makes a difference in a workspace of the mode: rw
// is no more than the ceiling allows, and what holds of the directory above need not
// be said again.
func mountsIn(mounts []Mount, workspace, ceiling string) []Mount {
	if len(mounts) == 0 {
		return nil
	}
	root := cmp.Or(workspace, modeRW)
	kept := make(map[string]string, len(mounts))
	var out []Mount
	for _, m := range slices.SortedFunc(slices.Values(mounts), func(a, b Mount) int { return cmp.Compare(a.Path, b.Path) }) {
		above := modeOf(kept, path.Dir(m.Path), root)
		if m.Mode == modeRW && ceiling == modeRO {
			m.Mode = modeRO
		}
		if above == modeHidden || above == m.Mode {
			continue
		}
		kept[m.Path] = m.Mode
		out = append(out, m)
	}
	return out
}
