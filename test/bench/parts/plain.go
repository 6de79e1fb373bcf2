package parts

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/oci"
)

// plainLoop forks and executes its arguments for each line that it reads. It is for a
// shell that makes a process of a command with vfork(2) and keeps nothing for it, as
// dash does: there is no simpler loop.
const plainLoop = `while read -r _; do "$@" || exit; echo; done`

// plain is a container of gVisor in which nothing of sandgate runs.
type plain struct {
	dir, id string
	runsc   string
	cgroup  string
	cmd     *exec.Cmd
	log     bytes.Buffer
	ask     io.WriteCloser
	answers *bufio.Reader
}

// PlainGVisor makes a container with runsc from binDir in the new directory dir, whose
// parents anybody may search: the daemon's own specification of a cell and, as the
// daemon has it, one processor, but in the place of sandgate-init a shell that forks
// and executes argv with env. No stage, no inner wall, no limits for each call: what
// gVisor itself takes for the command.
func PlainGVisor(ctx context.Context, binDir, dir string, argv, env []string) (_ *Part, err error) {
	p := &plain{dir: dir, id: "plain-" + strconv.Itoa(os.Getpid()), runsc: filepath.Join(binDir, "runsc")}
	p.cgroup = "/sandgate-" + p.id
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if err := p.start(ctx, binDir, argv, env); err != nil {
		return nil, err
	}
	return &Part{Close: p.close, Op: func(context.Context) error { return p.turn() }}, nil
}

// turn has the command run once.
func (p *plain) turn() error {
	if _, err := p.ask.Write([]byte("\n")); err != nil {
		return fmt.Errorf("ask a plain container: %w: %.300s", err, p.log.String())
	}
	if _, err := p.answers.ReadByte(); err != nil {
		return fmt.Errorf("call in a plain container: %w: %.300s", err, p.log.String())
	}
	return nil
}

func (p *plain) start(ctx context.Context, binDir string, argv, env []string) error {
	rootfs := filepath.Join(p.dir, "rootfs")
	binds, err := makeRootfs(rootfs)
	if err != nil {
		return err
	}
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		return fmt.Errorf("find a shell: %w", err)
	}
	spec, err := oci.Build(oci.Cell{
		ID: p.id, Rootfs: rootfs, Init: shell, InitArgs: append([]string{"-c", plainLoop, "sh"}, argv...), InitEnv: env,
		GiveAway: true, Binds: binds, CgroupsPath: p.cgroup + "/cell",
		IDBase: oci.DefaultIDBase, IDCount: oci.DefaultIDCount, MemoryBytes: cellBytes, Pids: 4 * cellPids, OpenFiles: openFiles,
	})
	if err != nil {
		return err
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("encode the bundle: %w", err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "config.json"), raw, 0o600); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	program, err := p.onOneProcessor(binDir)
	if err != nil {
		return err
	}
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), program, p.global("run", "--bundle", p.dir, p.id)...) //nolint:gosec // the product's own
	p.cmd.Stderr = &p.log
	if p.ask, err = p.cmd.StdinPipe(); err != nil {
		return fmt.Errorf("start runsc: %w", err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start runsc: %w", err)
	}
	p.answers = bufio.NewReaderSize(out, 16)
	if err := p.cmd.Start(); err != nil {
		p.cmd = nil
		return fmt.Errorf("start runsc: %w", err)
	}
	return p.turn()
}

// onOneProcessor is the name by which sandgate-shim becomes runsc on the first
// processor, as sandbox/containerd has it do.
func (p *plain) onOneProcessor(binDir string) (string, error) {
	shim, err := filepath.EvalSymlinks(filepath.Join(binDir, "sandgate-shim"))
	if err != nil {
		return "", fmt.Errorf("find sandgate-shim: %w", err)
	}
	name := filepath.Join(p.dir, "on-cpu-0")
	if err := errors.Join(os.Symlink(p.runsc, filepath.Join(p.dir, "runtime")), os.Symlink(shim, name)); err != nil {
		return "", fmt.Errorf("link to runsc: %w", err)
	}
	return name, nil
}

func (p *plain) global(args ...string) []string {
	return append([]string{"--root", filepath.Join(p.dir, "state")}, args...)
}

// nullNetwork is where runsc mounts the empty network namespace of its file servers.
func (p *plain) nullNetwork() string { return filepath.Join(p.dir, "state", "null-netns") }

// close ends the container: the end of its input ends the shell.
func (p *plain) close() error {
	var errs []error
	if p.cmd != nil {
		errs = append(errs, p.ask.Close())
		if err := p.cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("plain container: %w: %.300s", err, p.log.String()))
		}
		// It has gone with its shell; this is for what a killed runsc has left.
		_ = exec.Command(p.runsc, p.global("delete", "--force", p.id)...).Run() //nolint:gosec // the product's own
		// What runsc keeps for further containers.
		if err := unix.Unmount(p.nullNetwork(), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("take away what runsc keeps: %w", err))
		}
	}
	return errors.Join(append(errs, removeCgroup(p.cgroup), os.RemoveAll(p.dir))...)
}
