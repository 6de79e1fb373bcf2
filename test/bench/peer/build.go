package peer

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime/debug"
)

// develVersion is what the toolchain calls a module that was built from a directory.
const develVersion = "(devel)"

// Build tells which build of a module a Go program is: the commit, when the program was
// built in a clone of the module and the toolchain noted it, with "and changes" when the
// clone held any; or the version of the module; or, when neither is known, the beginning
// of the file's SHA-256, by which the file can be told from others. Module is a path such
// as "gvisor.dev/gvisor". A file that cannot be read is an error.
func Build(path, module string) (string, error) {
	if info, err := buildinfo.ReadFile(path); err == nil {
		if build := buildOf(info, module); build != "" {
			return build, nil
		}
	}
	return digest(path)
}

// buildOf is what the toolchain noted of a module; empty when it noted nothing.
func buildOf(info *debug.BuildInfo, module string) string {
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	if revision := set["vcs.revision"]; revision != "" && info.Main.Path == module {
		build := "commit " + revision[:min(12, len(revision))]
		if set["vcs.modified"] == "true" {
			build += " and changes"
		}
		return build
	}
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path != module {
			continue
		}
		if m.Replace != nil {
			m = m.Replace
		}
		if m.Version != "" && m.Version != develVersion {
			return m.Version
		}
	}
	return ""
}

func digest(path string) (string, error) {
	f, err := os.Open(path) //nolint:gosec // a program that is measured
	if err != nil {
		return "", fmt.Errorf("read a program: %w", err)
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read a program: %w", err)
	}
	return "no commit noted, SHA-256 " + hex.EncodeToString(h.Sum(nil))[:16], nil
}
