package containerd

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/sandgate/sandgate/sandbox/cell"
	"github.com/sandgate/sandgate/sandbox/oci"
)

// hostEtcFiles are copied into the host image: what programs need to find
// libraries, names of protocols, time and types. Nothing that may hold a secret.
func hostEtcFiles() []string {
	return []string{
		"bash.bashrc", "debian_version", "host.conf", "inputrc", "ld.so.cache", "ld.so.conf", "locale.alias", "localtime",
		"lsb-release", "magic", "magic.mime", "mailcap", "mime.types", "networks", "os-release", "profile", "protocols",
		"rpc", "services", "shells", "timezone", "ssl/openssl.cnf",
	}
}

// hostEtcDirs are bound read-only; the last ones are patterns.
func hostEtcDirs() []string {
	return []string{"alternatives", "fonts", "ld.so.conf.d", "perl", "ssl/certs", "terminfo", "java-*", "python3*"}
}

// hostTopDirs are bound, or kept as the symlinks that they are on a merged /usr.
func hostTopDirs() []string {
	return []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}
}

// hostShell is that of the program's user.
const hostShell = "/bin/bash"

// hostGenerated are files that the machine's own must not stand in for.
func hostGenerated() map[string]string {
	return map[string]string{
		"passwd": fmt.Sprintf("root:x:0:0:root:/root:/usr/sbin/nologin\n"+
			"agent:x:%d:%d:agent:%s:%s\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
			cell.PayloadUID, cell.PayloadGID, cell.Home, hostShell),
		"group":         fmt.Sprintf("root:x:0:\ntty:x:5:\nagent:x:%d:\nnogroup:x:65534:\n", cell.PayloadGID),
		"hosts":         "127.0.0.1 localhost\n::1 localhost\n",
		"hostname":      "sandgate\n",
		"resolv.conf":   "",
		"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
	}
}

// maxEtcFileBytes bounds what is copied of one file.
const maxEtcFileBytes = 8 << 20

// makeHostRootfs makes the host image's root directory anew: mount points,
// symlinks and small files, with more of /etc. It returns the binds that belong to it.
func makeHostRootfs(rootfs string, more map[string]string) ([]oci.Bind, error) {
	if err := os.RemoveAll(rootfs); err != nil {
		return nil, fmt.Errorf("make host image: %w", err)
	}
	points := append(oci.MountPoints(), cell.MountPoints...)
	for _, dir := range append(points, "/etc/ssl") {
		if err := os.MkdirAll(filepath.Join(rootfs, dir), 0o755); err != nil { //nolint:gosec // read by the cell's unprivileged ids
			return nil, fmt.Errorf("make host image: %w", err)
		}
	}
	for _, dir := range []string{rootfs, filepath.Join(rootfs, "etc")} {
		if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // as above
			return nil, fmt.Errorf("make host image: %w", err)
		}
	}
	if err := touch(filepath.Join(rootfs, oci.InitPath), nil); err != nil {
		return nil, err
	}
	var binds []oci.Bind
	for _, dir := range hostTopDirs() {
		bind, err := mirror(rootfs, dir)
		if err != nil {
			return nil, err
		}
		binds = append(binds, bind...)
	}
	etc, err := makeHostEtc(rootfs, more)
	return append(binds, etc...), err
}

func makeHostEtc(rootfs string, more map[string]string) ([]oci.Bind, error) {
	files := hostGenerated()
	maps.Copy(files, more)
	for name, text := range files {
		if err := touch(filepath.Join(rootfs, "etc", name), []byte(text)); err != nil {
			return nil, err
		}
	}
	if err := os.Symlink("/proc/self/mounts", filepath.Join(rootfs, "etc/mtab")); err != nil {
		return nil, fmt.Errorf("make host image: %w", err)
	}
	for _, name := range hostEtcFiles() {
		if err := copyEtc(filepath.Join("/etc", name), filepath.Join(rootfs, "etc", name)); err != nil {
			return nil, err
		}
	}
	var binds []oci.Bind
	for _, pattern := range hostEtcDirs() {
		dirs, err := filepath.Glob(filepath.Join("/etc", pattern))
		if err != nil {
			return nil, fmt.Errorf("make host image: %w", err)
		}
		for _, dir := range dirs {
			bind, err := mirror(rootfs, dir)
			if err != nil {
				return nil, err
			}
			binds = append(binds, bind...)
		}
	}
	return binds, nil
}

// mirror makes path exist in rootfs: a symlink as it is, a directory as a mount
// point with its bind, anything else or nothing not at all.
func mirror(rootfs, path string) ([]oci.Bind, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("make host image: %w", err)
	}
	target := filepath.Join(rootfs, path)
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, copyLink(path, target)
	case info.IsDir():
		if err := os.MkdirAll(target, 0o755); err != nil { //nolint:gosec // a mount point for the cell's ids
			return nil, fmt.Errorf("make host image: %w", err)
		}
		return []oci.Bind{{Source: path, Target: path}}, nil
	}
	return nil, nil
}

// copyEtc copies a small file or a symlink that leads into /usr; what is not
// there is left out.
func copyEtc(from, to string) error {
	info, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make host image: %w", err)
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return copyLink(from, to)
	case !info.Mode().IsRegular() || info.Size() > maxEtcFileBytes:
		return nil
	}
	text, err := os.ReadFile(from) //nolint:gosec // a path of the operator's choice
	if err != nil {
		return fmt.Errorf("make host image: %w", err)
	}
	return touch(to, text)
}

func copyLink(from, to string) error {
	dest, err := os.Readlink(from)
	if err == nil {
		err = os.Symlink(dest, to)
	}
	if err != nil {
		return fmt.Errorf("make host image: %w", err)
	}
	return nil
}

func touch(path string, text []byte) error {
	if err := os.WriteFile(path, text, 0o644); err != nil { //nolint:gosec // read by the cell's unprivileged ids
		return fmt.Errorf("make host image: %w", err)
	}
	return nil
}
