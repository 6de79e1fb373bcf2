// Package peer runs a command in what sandgate is compared with: the bare
// machine, bubblewrap, nsjail, runc, containerd, docker and go-judge, whatever is
// installed. test/bench calls it and measures what it hands out. It must never
// install anything, and it takes back whatever it started or made.
package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// Peer is something that runs a fixed command.
type Peer struct {
	// Name of the program.
	Name string
	// Version as the program tells it, in one line; empty when it does not.
	Version string
	// Wall says what stands around the command.
	Wall string
	// Argv is the command; its first item is an absolute path.
	Argv []string
	// Clients are the numbers of callers that are worth measuring.
	Clients []int
	// Op runs the command once and fails if it did not end well. Any number of
	// callers may use it at once; client counts them from 0.
	Op func(ctx context.Context, client int) error
	// Close takes back what was made. It is called once.
	Close func() error
}

// Env is what peers are made from.
type Env struct {
	// BinDir holds runc; programs of other peers are looked for on PATH.
	BinDir string
	// Dir is a directory for bundles and the like, removed by the caller.
	Dir string
	// ContainerdSocket is that of a running containerd. Empty: none runs.
	ContainerdSocket string
	// Bash and True are the commands to be run.
	Bash, True []string
}

// ErrAbsent is why a peer cannot be measured: it is not installed here.
var ErrAbsent = errors.New("not installed here")

// Maker makes one peer.
type Maker struct {
	Name string
	Make func(ctx context.Context, e Env) (*Peer, error)
}

// Makers are those of all peers that there are clients for.
func Makers() []Maker {
	return []Maker{
		{"bubblewrap", bubblewrap},
		{"nsjail", nsjail},
		{"go-judge", goJudge},
		{"runc", runcRun},
		{"containerd", containerd},
		{"docker", docker},
	}
}

// Environ is the environment of commands that run on the bare machine: what most
// hosts have.
func Environ() []string {
	return []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "LANG=C.UTF-8"}
}

// Bare runs a command with nothing around it: the floor. Its standard output is
// read to its end if wantBytes is above 0, and must then have that many.
func Bare(argv []string, wantBytes int64) func(context.Context, int) error {
	return BareWith(argv, Environ(), wantBytes)
}

// BareWith is Bare with an environment.
func BareWith(argv, env []string, wantBytes int64) func(context.Context, int) error {
	return func(context.Context, int) error {
		cmd := exec.Command(argv[0], argv[1:]...) //nolint:gosec // the benchmark's own commands
		cmd.Env = env
		var count counter
		if wantBytes > 0 {
			cmd.Stdout = &count
		}
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("run %s: %w", argv[0], err)
		}
		if int64(count) != wantBytes {
			return fmt.Errorf("run %s: %d bytes of output, want %d", argv[0], count, wantBytes)
		}
		return nil
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// onPath finds a program.
func onPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is not on PATH: %w", name, ErrAbsent)
	}
	return path, nil
}

// command runs a program of a peer and tells what it said when it failed.
func command(ctx context.Context, stdin io.Reader, argv ...string) (string, error) {
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // the program that is measured
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %.300s", argv[0], err, strings.TrimSpace(errOut.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// wrapper is a peer that is one program with the command as its last arguments.
func wrapper(p Peer, argv ...string) *Peer {
	argv = append(argv, p.Argv...)
	p.Op = func(context.Context, int) error {
		var errOut bytes.Buffer
		cmd := exec.Command(argv[0], argv[1:]...) //nolint:gosec // the program that is measured
		cmd.Env, cmd.Stderr = Environ(), &errOut
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w: %.300s", argv[0], err, strings.TrimSpace(errOut.String()))
		}
		return nil
	}
	p.Close = func() error { return nil }
	return &p
}

// firstLine is the first line that a program prints when asked for its version.
func firstLine(ctx context.Context, argv ...string) string {
	out, err := command(ctx, nil, argv...)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(out, "\n")
	return line
}

func bubblewrap(ctx context.Context, e Env) (*Peer, error) {
	bwrap, err := onPath("bwrap")
	if err != nil {
		return nil, err
	}
	return wrapper(Peer{
		Name: "bubblewrap", Version: firstLine(ctx, bwrap, "--version"), Argv: e.Bash, Clients: []int{1},
		Wall: "all namespaces; no cgroup, no seccomp filter, no daemon",
	}, bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/usr", "/usr",
		"--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
		"--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--clearenv", "--setenv", "PATH", "/usr/bin:/bin", "--"), nil
}

// nsjail is written from its manual: it is in no release of Debian and was never seen
// running here. That it runs is tried before it is measured.
func nsjail(ctx context.Context, e Env) (*Peer, error) {
	path, err := onPath("nsjail")
	if err != nil {
		return nil, err
	}
	argv := []string{path, "-Mo", "--really_quiet", "--user", "99999", "--group", "99999"}
	for _, dir := range []string{"/usr", "/bin", "/lib", "/lib64"} {
		argv = append(argv, "--bindmount_ro", dir)
	}
	p := wrapper(Peer{
		Name: "nsjail", Argv: e.Bash, Clients: []int{1},
		Wall: "all namespaces, rlimits; no cgroup, no seccomp filter, no daemon",
	}, append(argv, "--tmpfsmount", "/tmp", "--")...)
	if err := p.Op(ctx, 0); err != nil {
		return nil, err
	}
	return p, nil
}
