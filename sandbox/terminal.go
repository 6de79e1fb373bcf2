package sandbox

import (
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
)

// TerminalSize is that of a terminal's window, in characters.
type TerminalSize struct{ Rows, Cols uint16 }

// Input is what is done to a running program beside its stdin: one of the two.
type Input struct {
	// Signal goes to the program's process group, with a terminal to the one in its
	// foreground.
	Signal Signal
	// Resize gives its terminal another size, which the kernel tells it by SIGWINCH.
	// Without a terminal it does nothing.
	Resize *TerminalSize
}

// Signal is the name of a signal that a program can be sent, such as "SIGINT".
type Signal string

var signals = map[Signal]syscall.Signal{
	"SIGHUP": syscall.SIGHUP, "SIGINT": syscall.SIGINT, "SIGQUIT": syscall.SIGQUIT, "SIGKILL": syscall.SIGKILL,
	"SIGUSR1": syscall.SIGUSR1, "SIGUSR2": syscall.SIGUSR2, "SIGTERM": syscall.SIGTERM, "SIGCONT": syscall.SIGCONT,
	"SIGSTOP": syscall.SIGSTOP, "SIGTSTP": syscall.SIGTSTP, "SIGWINCH": syscall.SIGWINCH, "SIGALRM": syscall.SIGALRM,
}

// Number is the kernel's number of a signal. The error of one that there is not names
// those that there are; it wraps errdefs.ErrInvalidArgument.
func (s Signal) Number() (int, error) {
	if n, ok := signals[s]; ok {
		return int(n), nil
	}
	names := make([]string, 0, len(signals))
	for name := range signals {
		names = append(names, string(name))
	}
	slices.Sort(names)
	return 0, fmt.Errorf("signal %.40q: want one of %s: %w", string(s), strings.Join(names, ", "), errdefs.ErrInvalidArgument)
}
