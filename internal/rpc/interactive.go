package rpc

import (
	"math"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
)

// convertSize checks the size of a terminal.
func convertSize(field string, s *sandgatev1.TerminalSize) (sandbox.TerminalSize, error) {
	rows, cols := s.GetRows(), s.GetCols()
	if rows < 1 || rows > math.MaxUint16 || cols < 1 || cols > math.MaxUint16 {
		return sandbox.TerminalSize{}, fieldError(field, "is %d rows of %d columns: want 1 to %d of each", rows, cols, math.MaxUint16)
	}
	return sandbox.TerminalSize{Rows: uint16(rows), Cols: uint16(cols)}, nil
}

func (s *stdinReader) signal(name string) error {
	signal := sandbox.Signal(name)
	if _, err := signal.Number(); err != nil {
		return fieldError("signal", "is not to be had: %v", err)
	}
	s.send(sandbox.Input{Signal: signal})
	return nil
}

func (s *stdinReader) resize(to *sandgatev1.TerminalSize) error {
	if !s.terminal {
		return fieldError("resize", "was sent, but start has terminal unset")
	}
	size, err := convertSize("resize", to)
	if err == nil {
		s.send(sandbox.Input{Resize: &size})
	}
	return err
}

// send hands an input over once the program runs; a call that has ended drops it.
func (s *stdinReader) send(in sandbox.Input) {
	select {
	case s.inputs <- in:
	case <-s.done:
	}
}
