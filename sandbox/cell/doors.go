//go:build linux

package cell

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// GiveDoors gives init, whose Hello says that it takes them, the reading ends of new pipes,
// one for each slot, over the socket that the connection was made of, and uses the others,
// which nobody in the cell ever has. It is to be called before the first Prepare.
func (c *Conn) GiveDoors(socket *net.UnixConn) error {
	var doors [Slots]io.WriteCloser
	var theirs []int
	var err error
	for i := range doors {
		var ends [2]int
		if err = unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			break
		}
		theirs = append(theirs, ends[0])
		doors[i] = os.NewFile(uintptr(ends[1]), "door")
	}
	if err == nil {
		_, _, err = socket.WriteMsgUnix(AppendFrame(nil, KindDoors), unix.UnixRights(theirs...), nil)
	}
	for _, fd := range theirs {
		err = errors.Join(err, unix.Close(fd))
	}
	if err != nil {
		for _, d := range doors {
			if d != nil {
				_ = d.Close() // nothing was written
			}
		}
		return fmt.Errorf("give init its doors: %w", err)
	}
	c.UseDoors(doors)
	return nil
}
