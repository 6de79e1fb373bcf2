//go:build linux

package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell"
)

// terminals is where a devpts is mounted: the cell's own, from which init opens the
// terminals of calls, and over it an empty one of each stage.
const (
	terminals      = "/dev/pts"
	terminalFlags  = unix.MS_NOSUID | unix.MS_NOEXEC
	terminalOption = "newinstance,ptmxmode=0666,mode=0620"
)

// terminal is the end of one that a program has.
type terminal struct {
	path  string
	typed bool // the end of its stdin was typed
	last  byte // of what was typed before; 0: nothing
}

// openTerminal puts a terminal in place of the pipes that the program was to have: init
// reads and writes its master. It holds the program's end open as it does that of pipes,
// so that a program that closes its own has not ended its output.
func (n *stage) openTerminal(size cell.Size) (*terminal, error) {
	t := &terminal{}
	master, slave := -1, -1
	var failed error
	err := asPayload(func() { // whose terminal it becomes
		master, slave, failed = t.open()
	}, nil)
	if err = errors.Join(failed, err); err == nil {
		err = unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, winsize(size))
	}
	input := -1
	if err == nil {
		input, err = unix.FcntlInt(uintptr(master), unix.F_DUPFD_CLOEXEC, 0)
	}
	if err == nil {
		err = ownTerminal(slave)
	}
	if err != nil {
		closeFD(&input)
		closeFD(&master)
		closeFD(&slave)
		return nil, fmt.Errorf("open a terminal: %w", err)
	}
	for _, fd := range []*int{
		&n.stdin, &n.output[cell.Stdout], &n.output[cell.Stderr], &n.held[cell.Stdout], &n.held[cell.Stderr],
	} {
		closeFD(fd)
	}
	n.stdin, n.output[cell.Stdout], n.held[cell.Stdout] = input, master, slave
	return t, nil
}

func (t *terminal) open() (master, slave int, err error) {
	slave = -1
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC
	if master, err = unix.Open(terminals+"/ptmx", flags|unix.O_NONBLOCK, 0); err != nil {
		return -1, slave, err
	}
	if err = unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return master, slave, fmt.Errorf("unlock it: %w", err)
	}
	number, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return master, slave, fmt.Errorf("ask for its number: %w", err)
	}
	t.path = fmt.Sprintf("%s/%d", terminals, number)
	slave, err = unix.Open(t.path, flags, 0)
	return master, slave, err
}

// ownTerminal gives a terminal to the program's user where the kernel did not: in gVisor.
func ownTerminal(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Uid == cell.PayloadUID {
		return nil
	}
	return unix.Fchown(fd, cell.PayloadUID, -1)
}

func winsize(s cell.Size) *unix.Winsize { return &unix.Winsize{Row: s.Rows, Col: s.Cols} }

// resize gives the terminal a new size; the kernel tells its foreground group.
func (c *call) resize(size cell.Size) {
	fd := c.stage.output[cell.Stdout]
	if c.terminal == nil || fd < 0 || c.phase > running {
		return
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, winsize(size)); err != nil {
		logf("resize the terminal of call %d: %v", c.request.Seq, err)
	}
}

// ending is what is to be typed at the end of stdin, once: the end-of-file character,
// after a line that has no end twice. To a program that takes what is typed as it is, it
// would be nothing but a character.
func (t *terminal) ending(fd int) []byte {
	if t.typed {
		return nil
	}
	t.typed = true
	mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil || mode.Lflag&unix.ICANON == 0 {
		return nil
	}
	end := []byte{mode.Cc[unix.VEOF], mode.Cc[unix.VEOF]}
	if t.last == 0 || t.last == '\n' || t.last == '\r' {
		end = end[:1]
	}
	return end
}
