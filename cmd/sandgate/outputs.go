package main

import (
	"fmt"
	"io"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// outputs writes a call's two streams and notices what is missing.
type outputs struct{ stdout, stderr outputStream }

// outputStream is one stream: where it goes and how much of it was seen.
type outputStream struct {
	name   string
	to     io.Writer
	notice io.Writer
	next   int64 // offset of the first byte that was not written yet
}

func newOutputs(stdout, stderr io.Writer) *outputs {
	return &outputs{
		stdout: outputStream{name: "stdout", to: stdout, notice: stderr},
		stderr: outputStream{name: "stderr", to: stderr, notice: stderr},
	}
}

func (o *outputs) event(e *sandgatev1.OutputEvent) error {
	if e.GetStream() == sandgatev1.Stream_STREAM_STDERR {
		return o.stderr.write(e.GetOffset(), e.GetData())
	}
	return o.stdout.write(e.GetOffset(), e.GetData())
}

func (o *outputs) gap(e *sandgatev1.GapEvent) error {
	end := e.GetOffset() + e.GetSizeBytes()
	if e.GetStream() == sandgatev1.Stream_STREAM_STDERR {
		return o.stderr.write(end, nil)
	}
	return o.stdout.write(end, nil)
}

// rest writes what the result holds and the events did not bring: all of it for
// a replayed call, or what was dropped because it was not read in time.
func (o *outputs) rest(r *sandgatev1.Result) error {
	if err := o.stdout.rest(r.GetStdout()); err != nil {
		return err
	}
	return o.stderr.rest(r.GetStderr())
}

func (s *outputStream) rest(o *sandgatev1.Output) error {
	if err := s.write(0, o.GetHead()); err != nil {
		return err
	}
	if err := s.write(o.GetTotalBytes()-int64(len(o.GetTail())), o.GetTail()); err != nil {
		return err
	}
	return s.write(o.GetTotalBytes(), nil)
}

// write writes the part of data, which begins at offset, that is new. A gap is
// told on stderr.
func (s *outputStream) write(offset int64, data []byte) error {
	if offset > s.next {
		if _, err := fmt.Fprintf(s.notice, "sandgate: %d bytes of %s were not kept\n", offset-s.next, s.name); err != nil {
			return err
		}
		s.next = offset
	}
	if seen := s.next - offset; seen > 0 {
		data = data[min(seen, int64(len(data))):]
	}
	n, err := s.to.Write(data)
	s.next += int64(n)
	return err
}
