package approval

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/sandbox"
)

// sum hashes a regular file of the workspace, by its path in the cell, over no link.
func sum(dir, at string, most int64, look *Look) (digest string, size int64, err error) {
	file, err := openFile(dir, at)
	if err != nil {
		return "", 0, err
	}
	defer file.Close() //nolint:errcheck // only read
	before, known := identify(file)
	if digest, ok := look.knows(before); ok && known {
		return digest, before.size, nil
	}
	if known && before.size <= most && !look.spends(before.size) {
		return "", 0, errNotRead
	}
	h := sha256.New()
	size, err = io.Copy(h, io.LimitReader(file, most+1))
	if err != nil {
		return "", 0, err
	}
	if size > most {
		return "", 0, errTooLarge
	}
	digest = hex.EncodeToString(h.Sum(nil))
	if after, ok := identify(file); ok && known {
		look.note(before, after, digest)
	}
	return digest, size, nil
}

// errNotRead is of a file that was not looked at, since that would take too long.
var errNotRead = errors.New("is not looked at")

func openFile(dir, at string) (*os.File, error) {
	below, ok := strings.CutPrefix(at, sandbox.WorkspacePath+"/")
	if !ok || dir == "" {
		return nil, os.ErrNotExist
	}
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(root) //nolint:errcheck // an O_PATH descriptor
	fd, err := unix.Openat2(root, below, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errors.Join(err, errors.New("it is no regular file"), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), at), nil
}

// Changed says of frozen files, a sentence each, what is not any more as it was. An
// error means that it is not known.
func Changed(files []File, dir string) ([]string, error) { return changed(files, dir, nil) }

// Shown is Changed for lists: the files are looked at as look says.
func Shown(files []File, dir string, look *Look) ([]string, error) { return changed(files, dir, look) }

func changed(files []File, dir string, look *Look) ([]string, error) {
	if len(files) == 0 {
		return nil, nil
	}
	root, release, err := open(dir)
	if err != nil {
		return nil, err
	}
	defer release()
	var out []string
	for i := range files {
		was := &files[i]
		p := facts.AnalyzePath("read", was.Path, facts.Options{Root: root})
		exists := p.Exists != nil && *p.Exists
		switch {
		case was.Op == OpDir && exists && p.Kind == "dir" && p.Real == was.Real:
			continue
		case was.Op == OpDir && exists:
			out = append(out, was.Path+" leads elsewhere")
			continue
		case was.Op == OpDir:
			out = append(out, was.Path+" is gone")
			continue
		case was.SHA256 == "" && p.Exists != nil && !exists:
			continue
		case was.SHA256 == "":
			out = append(out, was.Path+" was not there")
			continue
		case p.Exists != nil && !exists:
			out = append(out, was.Path+" is gone")
			continue
		case p.Real != was.Real:
			out = append(out, was.Path+" leads elsewhere")
			continue
		}
		digest, _, err := sum(dir, was.Real, was.Bytes, look)
		switch {
		case err == nil && digest == was.SHA256, errors.Is(err, errNotRead):
		case err == nil || errors.Is(err, errTooLarge):
			out = append(out, was.Path+" has another content")
		default:
			out = append(out, was.Path+" is no file that can be read any more")
		}
	}
	return out, nil
}

// compareFiles says what of two states of the files of a call differs.
func compareFiles(was, now []File) []string {
	var out []string
	then := make(map[string]*File, len(was))
	for i := range was {
		then[was[i].Path] = &was[i]
	}
	for i := range now {
		f := &now[i]
		old, ok := then[f.Path]
		delete(then, f.Path)
		switch {
		case !ok:
			out = append(out, f.Path+" was not there")
		case f.Real != old.Real:
			out = append(out, f.Path+" leads elsewhere")
		case f.SHA256 != old.SHA256 && old.SHA256 == "":
			out = append(out, f.Path+" was not there")
		case f.SHA256 != old.SHA256 && f.SHA256 == "":
			out = append(out, f.Path+" is gone")
		case f.SHA256 != old.SHA256:
			out = append(out, f.Path+" has another content")
		}
	}
	for _, f := range was {
		if _, left := then[f.Path]; left {
			out = append(out, f.Path+" is gone")
		}
	}
	return out
}
