//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
)

// runStage is pid 1 of a call's namespaces: it makes the file system view, starts
// the holder, hands the Exec on, reaps, and reports the end when it is the only
// process left. With its own end the kernel takes the namespaces away.
func runStage() int {
	report := cell.NewFrameWriter(fd(stageReport))
	if err := stage(report); err != nil {
		if werr := report.Write(cell.KindExit, cell.AppendExit(nil, fault(err))); werr != nil {
			fmt.Fprintf(os.Stderr, "stage: %v; report it: %v\n", err, werr)
		}
		return 1
	}
	return 0
}

func stage(report *cell.FrameWriter) error {
	if err := sealDescriptors(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make the stage undumpable: %w", err)
	}
	// The holder starts up while the mounts are made; it waits for its setup.
	holder, hand, err := startHolder()
	if err != nil {
		return err
	}
	moved, err := buildView()
	if err != nil {
		return err
	}
	control := fd(stageControl).frames()
	filter, err := expect(control, kindSetup)
	if err != nil {
		return fmt.Errorf("read setup: %w", err)
	}
	out := cell.NewFrameWriter(fd(hand))
	if err := out.Write(kindSetup, filter); err != nil {
		return fmt.Errorf("hand the setup to the holder: %w", err)
	}
	if err := report.Write(cell.KindPrepared, cell.AppendPrepared(nil, cell.Prepared{HolderPID: holder})); err != nil {
		return fmt.Errorf("report the holder: %w", err)
	}
	body, err := expect(control, cell.KindExec)
	if errors.Is(err, io.EOF) {
		return nil // init is gone
	}
	if err != nil {
		return fmt.Errorf("read exec: %w", err)
	}
	request, err := cell.DecodeExec(body)
	if err != nil {
		return err
	}
	if err := fitView(request.Exec, moved); err != nil {
		return err
	}
	if err := out.Write(cell.KindExec, body); err != nil {
		return fmt.Errorf("hand the call to the holder: %w", err)
	}
	end, err := reap(holder)
	if err != nil {
		return err
	}
	end.DiskFull = end.ExitCode != 0 && diskFull(request.Workspace)
	return report.Write(cell.KindExit, cell.AppendExit(nil, end))
}

// startHolder starts the process that becomes the program. It returns its pid
// and the pipe to it.
func startHolder() (pid, hand int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return 0, 0, fmt.Errorf("pipe to the holder: %w", err)
	}
	pid, err = syscall.ForkExec(selfExe, []string{"sandgate-init", faceHolder}, &syscall.ProcAttr{ //nolint:gosec // this very binary
		Dir:   "/",
		Env:   childEnv(),
		Files: []uintptr{stageStdin, stageStdout, stageStderr, uintptr(p[0]), stageHolder},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, 0, fmt.Errorf("start holder: %w", err)
	}
	for _, f := range []int{p[0], stageHolder, stageStdin, stageStdout, stageStderr} {
		if err := unix.Close(f); err != nil {
			return 0, 0, fmt.Errorf("close descriptor %d: %w", f, err)
		}
	}
	return pid, p[1], nil
}

// childEnv keeps the runtimes of stage and holder small.
func childEnv() []string { return []string{"GOMAXPROCS=1", "GOGC=off"} }

// reap waits for the program, ends whatever it left behind and returns when no
// other process is left in the namespace.
func reap(program int) (cell.Exit, error) {
	end := cell.Exit{ExitCode: -1}
	for {
		var status unix.WaitStatus
		var usage unix.Rusage
		pid, err := unix.Wait4(-1, &status, unix.WALL, &usage)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return end, fmt.Errorf("wait for the program: %w", err)
		}
		if pid != program {
			continue // an orphan
		}
		if status.Signaled() {
			end.Signal = int(status.Signal())
		} else {
			end.ExitCode = status.ExitStatus()
		}
		end.CPUUser = time.Duration(usage.Utime.Nano())
		end.CPUSystem = time.Duration(usage.Stime.Nano())
		end.MaxRSSBytes = usage.Maxrss << 10
		break
	}
	var err error
	end.BackgroundKilled, err = endRest()
	return end, err
}

// endRest kills and reaps all other processes of the namespace and returns how
// many were alive. All of them descend from this process, so when it has no
// child, none is left.
func endRest() (int64, error) {
	var alive int64
	killed := false
	for {
		options := unix.WALL
		if !killed {
			options |= unix.WNOHANG
		}
		pid, err := unix.Wait4(-1, nil, options, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECHILD):
			return alive, nil
		case err != nil:
			return alive, fmt.Errorf("reap what the program left: %w", err)
		case pid == 0: // there are some, and they live
			alive = countOthers()
			if err := unix.Kill(-1, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return alive, fmt.Errorf("kill what the program left: %w", err)
			}
			killed = true
		}
	}
}

// countOthers counts live processes of the namespace but this one.
func countOthers() int64 {
	names, err := readNames("/proc")
	if err != nil {
		return 0
	}
	var n int64
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err != nil || pid == 1 {
			continue
		}
		text, err := os.ReadFile("/proc/" + name + "/stat") //nolint:gosec // a number that the kernel gave
		if err != nil {
			continue // gone
		}
		_, after, ok := strings.Cut(string(text), ") ")
		if ok && !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X") {
			n++
		}
	}
	runtime.KeepAlive(names)
	return n
}

func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir) //nolint:gosec // a constant
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	return names, errors.Join(err, d.Close())
}

// diskFull reports whether one of the call's file systems has no room left.
func diskFull(w cell.WorkspaceKind) bool {
	for _, m := range callFilesystems(w) {
		var s unix.Statfs_t
		if unix.Statfs(m, &s) == nil && (s.Bavail == 0 || s.Ffree == 0) {
			return true
		}
	}
	return false
}
