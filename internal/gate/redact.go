package gate

import (
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/redact"
	"github.com/sandgate/sandgate/sandbox"
)

// redactOutput puts between the program and the observer what policy demands to
// be taken out of the output.
func (w *way) redactOutput(call *sandbox.Call) error {
	demanded := w.decision.Obligations.Output
	rules, err := redact.New(demanded.Redact, demanded.Patterns)
	if err != nil {
		return fmt.Errorf("output redaction (%v): %w", err, errdefs.ErrFailedPrecondition)
	}
	w.redact = rules
	if rules != nil && call.Observer != nil {
		w.stream = &redactedStream{Observer: w.obs, rules: rules, streams: map[sandbox.Stream]*redactedPieces{}}
		call.Observer = w.stream
	}
	return nil
}

// redacted takes out of a result what is to be taken out, and lets out what was
// held back of the stream. TotalBytes then counts what is left.
func (w *way) redacted(ran *sandbox.Result) {
	if w.redact == nil {
		return
	}
	if w.stream != nil {
		w.stream.flush()
	}
	counts := map[string]int64{}
	for _, o := range []*sandbox.Output{&ran.Stdout, &ran.Stderr} {
		dropped := o.TotalBytes - int64(len(o.Head)+len(o.Tail))
		if dropped <= 0 {
			all := append(append([]byte(nil), o.Head...), o.Tail...)
			o.Head, o.Tail = w.redact.All(all, false, false, counts), nil
		} else {
			o.Head = w.redact.All(o.Head, false, true, counts)
			o.Tail = w.redact.All(o.Tail, true, false, counts)
		}
		o.TotalBytes = int64(len(o.Head)+len(o.Tail)) + max(dropped, 0)
	}
	if len(counts) > 0 {
		w.redactions = counts
	}
}

// redactedStream is an observer that sees the output without its secrets, in
// whole lines, its offsets counted in what it sees.
type redactedStream struct {
	Observer
	rules   *redact.Rules
	streams map[sandbox.Stream]*redactedPieces
}

type redactedPieces struct {
	stream *redact.Stream
	in     int64 // offset of the next byte of the program
	out    int64 // of the next byte that is told
}

// maxPiece is the most that is told at once.
const maxPiece = 64 << 10

// Output implements Observer.
func (r *redactedStream) Output(stream sandbox.Stream, offset int64, data []byte) {
	p := r.streams[stream]
	if p == nil {
		p = &redactedPieces{stream: r.rules.Stream(map[string]int64{})}
		r.streams[stream] = p
	}
	if gap := offset - p.in; gap > 0 { // output was dropped
		r.tell(stream, p, p.stream.Gap())
		p.out += gap
	}
	p.in = offset + int64(len(data))
	r.tell(stream, p, p.stream.Write(data))
}

func (r *redactedStream) tell(stream sandbox.Stream, p *redactedPieces, data []byte) {
	for len(data) > 0 {
		n := min(len(data), maxPiece)
		r.Observer.Output(stream, p.out, data[:n])
		p.out += int64(n)
		data = data[n:]
	}
}

// flush tells what was held back; the program has ended.
func (r *redactedStream) flush() {
	for _, stream := range []sandbox.Stream{sandbox.Stdout, sandbox.Stderr} {
		if p := r.streams[stream]; p != nil {
			r.tell(stream, p, p.stream.Flush())
		}
	}
}
