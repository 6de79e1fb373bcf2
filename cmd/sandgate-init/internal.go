//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
)

// The faces that init starts itself.
const (
	faceStage  = "stage"
	faceHolder = "holder"
	selfExe    = "/proc/self/exe"
)

// Descriptors that a stage is started with, beside 0 to 2.
const (
	stageControl = 3 // frames from init
	stageReport  = 4 // frames to init
	stageHolder  = 5 // the holder's report, handed on
	stageStdin   = 6 // the program's stdin, stdout and stderr, handed on
	stageStdout  = 7
	stageStderr  = 8
)

// Descriptors that a holder is started with, beside the program's 0 to 2.
const (
	holderControl = 3 // frames from the stage
	holderReport  = 4 // frames to init
)

// Frames within a cell, beside cell.KindPrepared (stage to init), cell.KindExec
// (init to stage to holder), cell.KindStarted (holder to init) and cell.KindExit
// (the end, or a fault, from either).
const (
	kindSetup cell.Kind = 128 // the seccomp program; init to stage to holder
	kindProof cell.Kind = 129 // holder to init
)

// errno of a fault, or 0.
func errnoOf(err error) int {
	if e, ok := errors.AsType[unix.Errno](err); ok {
		return int(e)
	}
	return 0
}

// fault is the end of a call that could not be started.
func fault(err error) cell.Exit {
	return cell.Exit{ExitCode: -1, StartError: err.Error(), StartErrno: errnoOf(err)}
}

// fd is a blocking descriptor as reader and writer, without the runtime's poller.
type fd int

func (f fd) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(f), p)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (f fd) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(int(f), p[done:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// frames reads frames from a descriptor.
func (f fd) frames() *cell.FrameReader {
	return cell.NewFrameReader(bufio.NewReaderSize(f, 4096))
}

// expect reads the next frame and wants it to be of a kind.
func expect(r *cell.FrameReader, want cell.Kind) ([]byte, error) {
	kind, body, err := r.Next()
	if err != nil {
		return nil, err
	}
	if kind != want {
		return nil, fmt.Errorf("frame kind %d, want %d: %w", kind, want, cell.ErrProtocol)
	}
	return body, nil
}

// sealDescriptors marks every descriptor above stderr close-on-exec: what came
// over an execve, or was left open by whoever started this, must not go further.
func sealDescriptors() error {
	err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	names, err := readNames("/proc/self/fd") // a kernel before 5.11
	if err != nil {
		return fmt.Errorf("list descriptors: %w", err)
	}
	for _, name := range names {
		f, err := strconv.Atoi(name)
		if err != nil || f < 3 {
			continue
		}
		_, err = unix.FcntlInt(uintptr(f), unix.F_SETFD, unix.FD_CLOEXEC)
		if err != nil && !errors.Is(err, unix.EBADF) { // the one that read the list is closed
			return fmt.Errorf("mark descriptor %d close-on-exec: %w", f, err)
		}
	}
	return nil
}
