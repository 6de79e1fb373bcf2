package cell

import (
	"fmt"
	"math"
)

// maxSignal is the last of the signals that have names.
const maxSignal = 31

func (e *encoder) size(s Size) {
	e.uint(uint64(s.Rows))
	e.uint(uint64(s.Cols))
}

func (d *decoder) size() Size {
	rows, cols := d.uint(), d.uint()
	if rows > math.MaxUint16 || cols > math.MaxUint16 {
		d.fail("size out of range")
		return Size{}
	}
	return Size{Rows: uint16(rows), Cols: uint16(cols)}
}

// AppendSignal encodes what follows the call's number in a Signal.
func AppendSignal(b []byte, signal int) []byte {
	e := encoder{b}
	e.int(int64(signal))
	return e.b
}

// DecodeSignal decodes what follows the call's number in a Signal.
func DecodeSignal(body []byte) (int, error) {
	d := decoder{b: body}
	signal := d.int()
	if signal < 1 || signal > maxSignal {
		d.fail("no such signal")
	}
	return signal, d.finish("signal")
}

// AppendResize encodes what follows the call's number in a Resize.
func AppendResize(b []byte, s Size) []byte {
	e := encoder{b}
	e.size(s)
	return e.b
}

// DecodeResize decodes what follows the call's number in a Resize.
func DecodeResize(body []byte) (Size, error) {
	d := decoder{b: body}
	s := d.size()
	return s, d.finish("resize")
}

// Validate says what is wrong with c, or nil.
func (c Control) Validate() error {
	if c.Signal < 0 || c.Signal > maxSignal {
		return fmt.Errorf("signal is %d: must be 1 to %d, or 0 for a new size", c.Signal, maxSignal)
	}
	return nil
}

// control sends what is to be done to the program. It returns when there is no more of
// it, the call is over or the connection is dead.
func (c *Conn) control(call *hostCall, seq uint64, from <-chan Control) {
	head := AppendSeq(nil, seq)
	for {
		select {
		case <-call.done:
			return
		case what, more := <-from:
			if !more {
				return
			}
			if what.Validate() != nil {
				continue // whoever sends has looked
			}
			var err error
			if what.Signal != 0 {
				err = c.out.Write(KindSignal, head, AppendSignal(nil, what.Signal))
			} else {
				err = c.out.Write(KindResize, head, AppendResize(nil, what.Size))
			}
			if err != nil {
				return // a dead connection is the reader's to report
			}
		}
	}
}
