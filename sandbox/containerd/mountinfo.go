package containerd

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cgroup"
)

// mountSeen is a mount as the kernel shows it.
type mountSeen struct {
	root       string // in its file system
	options    string
	readOnly   bool
	restricted bool // neither devices nor set-user-id programs
}

// readMounts reads which mounts a process sees at the workspace and below it. Of
// several at one place the last one counts, which covers the others.
func readMounts(proc string) (map[string]mountSeen, error) {
	name := proc + "/mountinfo"
	text, err := cgroup.ReadKernelFile(name)
	if err != nil {
		return nil, fmt.Errorf("look at the mounts of the call: %w", err)
	}
	seen := map[string]mountSeen{}
	for line := range bytes.Lines(text) {
		// ID PARENT DEVICE ROOT PLACE OPTIONS [TAGS…] - TYPE SOURCE SUPEROPTIONS
		place, kind, ok := strings.Cut(strings.TrimSpace(string(line)), " - ")
		f, super := strings.Fields(place), strings.Fields(kind)
		if !ok || len(f) < 6 || len(super) < 3 {
			return nil, fmt.Errorf("look at the mounts of the call: %s has the line %q", name, line)
		}
		at := unescaped(f[4])
		if at != sandbox.WorkspacePath && !strings.HasPrefix(at, sandbox.WorkspacePath+"/") {
			continue
		}
		options := strings.Split(f[5], ",")
		seen[at] = mountSeen{
			root: unescaped(f[3]), options: f[5],
			readOnly:   slices.Contains(options, "ro") || slices.Contains(strings.Split(super[2], ","), "ro"),
			restricted: slices.Contains(options, "nosuid") && slices.Contains(options, "nodev"),
		}
	}
	return seen, nil
}

// unescaped undoes what the kernel does to spaces, tabs, newlines and backslashes.
func unescaped(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
