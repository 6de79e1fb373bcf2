package containerd

import (
	"context"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cell"
)

func terminalOf(call *sandbox.Call) *cell.Size {
	if call.Terminal == nil {
		return nil
	}
	return &cell.Size{Rows: call.Terminal.Rows, Cols: call.Terminal.Cols}
}

// control puts what is to be done to the program into the cell's terms. ctx ends with
// the call; nothing is taken from Call.Control that could not be handed on by then.
func (u *running) control(ctx context.Context) <-chan cell.Control {
	if u.call.Control == nil {
		return nil
	}
	to := make(chan cell.Control)
	go func() {
		defer close(to)
		for {
			select {
			case in, more := <-u.call.Control:
				if !more {
					return
				}
				what, ok := controlOf(in)
				if !ok {
					continue // whoever sends has looked
				}
				select {
				case to <- what:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return to
}

func controlOf(in sandbox.Input) (cell.Control, bool) {
	if in.Resize != nil {
		return cell.Control{Size: cell.Size{Rows: in.Resize.Rows, Cols: in.Resize.Cols}}, true
	}
	n, err := in.Signal.Number()
	return cell.Control{Signal: n}, err == nil
}
