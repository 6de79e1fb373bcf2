// Package version tells which build of sandgate is running. The commands, the
// daemon and the policy input use it. It must never reach out to anything: it
// reads only what the Go toolchain wrote into the binary.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Info describes a build.
type Info struct {
	Version   string `json:"version"`          // "v0.1.0", or "devel" when the toolchain wrote none
	Commit    string `json:"commit,omitempty"` // revision of the source, "+dirty" appended when it was changed; empty when not known
	GoVersion string `json:"go_version"`
}

// Get returns the build of the running binary.
func Get() Info {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Info{Version: "devel", GoVersion: runtime.Version()}
	}
	return fromBuild(info)
}

// String is one line for a person: version, commit and Go version.
func (i Info) String() string {
	if i.Commit == "" {
		return fmt.Sprintf("%s (%s)", i.Version, i.GoVersion)
	}
	return fmt.Sprintf("%s (commit %s, %s)", i.Version, i.Commit, i.GoVersion)
}

func fromBuild(info *debug.BuildInfo) Info {
	out := Info{Version: info.Main.Version, GoVersion: info.GoVersion}
	if out.Version == "" || out.Version == "(devel)" {
		out.Version = "devel"
	}
	dirty := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			out.Commit = s.Value
		case "vcs.modified":
			dirty = s.Value == "true"
		}
	}
	if len(out.Commit) > 12 {
		out.Commit = out.Commit[:12]
	}
	if out.Commit != "" && dirty {
		out.Commit += "+dirty"
	}
	return out
}
