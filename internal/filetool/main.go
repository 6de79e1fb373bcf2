// Package filetool is the in-cell half of the file tools: read_file, write_file,
// edit_file, list_dir, glob and grep. `sandgate-init tool NAME` calls Main as the
// unprivileged payload of a call, with the tool's JSON arguments on stdin. It
// must never leave /workspace, whatever symlinks a hostile program has left
// there, never block on what is no regular file, and never hold a file in memory
// that it need not. It has few dependencies and no work at start-up: a call pays
// for it each time.
package filetool

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"
)

// workspacePath is where a call sees its workspace.
const workspacePath = "/workspace"

// maxArgsBytes bounds the arguments on stdin.
const maxArgsBytes = 16 << 20

// Exit codes of Main.
const (
	exitOK    = 0
	exitError = 1 // the tool could not do it; stderr says why in one line
	exitUsage = 2 // unknown tool or wrong arguments
)

// tool is one file tool: it reads its arguments with decode and writes its
// result to out.
type tool func(p *place, args []byte, out *bufio.Writer) error

func tools() map[string]tool {
	return map[string]tool{
		"read_file": readFile, "write_file": writeFile, "edit_file": editFile,
		"list_dir": listDir, "glob": globFiles, "grep": grepFiles,
	}
}

// Names are the tools that Main knows, sorted.
func Names() []string {
	var names []string
	for n := range tools() {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Main runs the named tool on the workspace at /workspace and returns the exit
// code: 0, 1 when the tool could not do it, 2 for an unknown tool or wrong
// arguments. An error is one line on stderr: the tool, a code to act on such as
// not_found or symlink_escape, and what to do.
func Main(name string, stdin io.Reader, stdout, stderr io.Writer) int {
	cwd, err := os.Getwd()
	if err != nil {
		cwd = "" // only absolute paths can be used
	}
	return run(name, workspacePath, cwd, stdin, stdout, stderr)
}

// run is Main for the workspace in the directory dir; cwd is as seen in the cell.
func run(name, dir, cwd string, stdin io.Reader, stdout, stderr io.Writer) int {
	do, ok := tools()[name]
	if !ok {
		_, _ = fmt.Fprintf(stderr, "no file tool %q: want one of %s\n", name, strings.Join(Names(), ", "))
		return exitUsage
	}
	err := runTool(do, dir, cwd, stdin, stdout)
	if err == nil {
		return exitOK
	}
	// The last word of a process: there is nobody to tell that it was not heard.
	_, _ = fmt.Fprintf(stderr, "%s: %s\n", name, oneLine(err.Error()))
	var f *failure
	if errors.As(err, &f) && f.code == codeUsage {
		return exitUsage
	}
	return exitError
}

func runTool(do tool, dir, cwd string, stdin io.Reader, stdout io.Writer) error {
	args, err := io.ReadAll(io.LimitReader(stdin, maxArgsBytes+1))
	if err != nil {
		return fmt.Errorf("read arguments: %w", err)
	}
	if len(args) > maxArgsBytes {
		return fail(codeUsage, "the arguments are over %d bytes", maxArgsBytes)
	}
	if !utf8.Valid(args) {
		return fail(codeUsage, "the arguments are not valid UTF-8")
	}
	p, err := openPlace(dir, cwd)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(stdout, 32<<10)
	err = do(p, args, out)
	if ferr := out.Flush(); err == nil && ferr != nil {
		err = fmt.Errorf("write result: %w", ferr)
	}
	if cerr := p.close(); err == nil {
		err = cerr
	}
	return err
}

// decode reads the arguments of a tool into v.
func decode(args []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(args))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fail(codeUsage, "the arguments cannot be read: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// Codes of failures. They are stable: a host or a model may act on them.
const (
	codeUsage     = "invalid_argument"
	codeOutside   = "outside_workspace"
	codeSymlink   = "symlink_escape"
	codeNotFound  = "not_found"
	codeIsDir     = "is_a_directory"
	codeNotDir    = "not_a_directory"
	codeIrregular = "not_regular"
	codeBinary    = "binary_file"
	codeTooLarge  = "too_large"
	codeNoMatch   = "no_match"
	codeAmbiguous = "several_matches"
	codeChanged   = "changed_meanwhile"
	codeDenied    = "permission_denied"
	codeReadOnly  = "read_only"
	codeNoSpace   = "no_space"
	codeIO        = "io_error"
)

// failure is an error with a code.
type failure struct{ code, text string }

func (f *failure) Error() string { return f.code + ": " + f.text }

func fail(code, format string, args ...any) error {
	return &failure{code, fmt.Sprintf(format, args...)}
}

// explain turns an error of the file system about the named path into a failure.
func explain(name string, err error) error {
	var f *failure
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return err
	case strings.Contains(err.Error(), "path escapes from parent"):
		return fail(codeSymlink, "%q leads out of %s through a symbolic link (absolute links count as leading out): use a path inside", name, workspacePath)
	case errors.Is(err, fs.ErrNotExist):
		return fail(codeNotFound, "%q does not exist: look with list_dir or glob", name)
	case errors.Is(err, syscall.EISDIR):
		return fail(codeIsDir, "%q is a directory", name)
	case errors.Is(err, syscall.ENOTDIR):
		return fail(codeNotDir, "%q, or a part of its path, is no directory", name)
	case errors.Is(err, syscall.ENXIO):
		return fail(codeIrregular, "%q is no regular file", name)
	case errors.Is(err, syscall.ENAMETOOLONG):
		return fail(codeUsage, "the path %.60q… is too long", name)
	case errors.Is(err, syscall.ELOOP):
		return fail(codeSymlink, "%q goes through too many symbolic links", name)
	case errors.Is(err, syscall.EROFS):
		return fail(codeReadOnly, "%q cannot be written: the workspace is read-only for this call", name)
	case errors.Is(err, fs.ErrPermission):
		return fail(codeDenied, "%q: permission denied by the file system", name)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fail(codeNoSpace, "%q could not be written: no space is left or the file would be too large for this call", name)
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return fail(codeIO, "%q: %v", name, err)
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", `\n`) }
