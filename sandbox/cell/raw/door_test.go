//go:build linux

package raw

import (
	"encoding/binary"
	"os"
	"syscall"
	"testing"
)

func TestDoorLetsOneNumberPass(t *testing.T) {
	for _, tc := range []struct {
		name    string
		numbers []uint64
		end     bool // the other end is closed behind them
		want    string
		status  int
	}{
		{"its own", []uint64{7}, false, "in", 4},
		{"others before", []uint64{1, 6, 7}, false, "in", 4},
		{"a later one", []uint64{6, 8}, false, "", 1},
		{"none", []uint64{6}, true, "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newChild(t)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			at, door := c.Reserve(4), c.Door()
			binary.NativeEndian.PutUint32(c.Bytes(at, 4), uint32(r.Fd())) //nolint:gosec // a descriptor
			s := c.script
			s.Call("close the other end", syscall.SYS_CLOSE, int(w.Fd()))
			s.Pass("wait", c.IntAt(at), 7, door)
			s.Call("write", syscall.SYS_WRITE, c.out, "in", 2)
			s.Call("write what was noted", syscall.SYS_WRITE, c.out, c.base()+door.off, 16)
			s.Exit(4)
			text, status := c.run(t, func() {
				for _, n := range tc.numbers {
					if _, err := w.Write(binary.NativeEndian.AppendUint64(nil, n)); err != nil {
						t.Error(err)
					}
				}
				if tc.end {
					if err := w.Close(); err != nil {
						t.Error(err)
					}
				}
			})
			if !tc.end {
				if err := w.Close(); err != nil {
					t.Error(err)
				}
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if status.ExitStatus() != tc.status {
				t.Errorf("ended with %d, want %d", status.ExitStatus(), tc.status)
			}
			switch {
			case tc.want != "":
				if len(text) != 18 || text[:2] != tc.want || binary.NativeEndian.Uint64([]byte(text)[2:]) != 7 || binary.NativeEndian.Uint64([]byte(text)[10:]) == 0 {
					t.Errorf("got %q, want it to have passed, the number and the time", text)
				}
			case tc.status == 1:
				if f, err := DecodeFault([]byte(text)[8:]); err != nil || f.Errno != syscall.EPROTO || s.Tag(f.Tag) != "wait" {
					t.Errorf("got %+v, %v, want EPROTO", f, err)
				}
			case text != "":
				t.Errorf("got %q from one that nobody let pass", text)
			}
		})
	}
}
