package gate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/spool"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// cutMessage is the mark behind output that ends where sandgate was killed.
const cutMessage = "; its output is kept up to there: stdout ends after %d bytes and stderr after %d, and what it wrote after is lost"

// cutBytes is how much of each end of each stream the result of a call has that was cut
// off. All of it is in its log.
const cutBytes = 16 << 10

// cuts are the outputs of calls that were running when an earlier daemon was killed, by
// the names of their logs. It belongs to one goroutine.
type cuts map[spool.Key]*spool.Tape

// findCuts looks for them.
func (g *Gate) findCuts() cuts {
	if g.cfg.Files == nil || g.cfg.Output == nil {
		return nil
	}
	left, err := g.cfg.Files.Left()
	if err != nil {
		g.log.Warn("output of interrupted calls not found", zap.Error(err))
	}
	out := cuts{}
	for _, l := range left {
		out[l.Key] = l.Tape
	}
	return out
}

// cut fills the result of a call that was cut off with what it wrote, and returns what
// stores that once the outcome is recorded. Of a call that has ended it stores what was
// not stored any more.
func (g *Gate) cut(c cuts, key callKey, p *past) (store func(context.Context)) {
	store = func(context.Context) {}
	tape := c[key.log()]
	if tape == nil {
		return store
	}
	h := sha256.New()
	size, err := copyTape(tape, h)
	stdout, stderr, eerr := endsOf(tape)
	if err = errors.Join(err, eerr); err != nil {
		g.log.Warn("output of an interrupted call not kept", zap.String("call_id", key.id), zap.Error(err))
		return store
	}
	log := spool.Digest(h.Sum(nil))
	if p.ended {
		if log != p.stored.log {
			return store
		}
		pieces := piecesOf(&Result{Stdout: stdout, Stderr: stderr}) // the result's, where it had as much
		return func(ctx context.Context) {
			if pieces.Digest() == p.stored.result {
				g.cfg.Output.Put(key.stored(), pieces)
			}
			g.putCut(ctx, key, tape, size)
		}
	}
	r := p.result
	r.Stdout, r.Stderr = stdout, stderr
	for _, o := range []sandbox.Output{stdout, stderr} {
		r.ResultSizeBytes += int64(len(o.Head) + len(o.Tail))
	}
	r.Message += fmt.Sprintf(cutMessage, stdout.TotalBytes, stderr.TotalBytes)
	pieces := piecesOf(r)
	p.stored = outputs{log: log}
	if pieces != nil {
		p.stored.result = pieces.Digest()
	}
	return func(ctx context.Context) {
		if pieces != nil {
			g.cfg.Output.Put(key.stored(), pieces)
		}
		g.putCut(ctx, key, tape, size)
	}
}

// putCut stores a log and waits until it can be read, or ctx ends.
func (g *Gate) putCut(ctx context.Context, key callKey, tape *spool.Tape, size int64) {
	stored := make(chan error, 1)
	g.cfg.Output.PutFrom(key.log(), size, func(to io.Writer) error {
		_, err := copyTape(tape, to)
		return err
	}, func(err error) { stored <- err })
	select {
	case err := <-stored:
		if err != nil {
			g.log.Warn("output of an interrupted call not kept", zap.String("call_id", key.id), zap.Error(err))
		}
	case <-ctx.Done():
	}
	failpoint.At(failpoint.SpoolKept)
}

// close removes what was found: it is stored, or nobody can ask for it any more.
func (c cuts) close(g *Gate) {
	for _, tape := range c {
		if err := tape.Close(); err != nil {
			g.log.Warn("output of an interrupted call not removed", zap.Error(err))
		}
	}
}

// endsOf is what a result has of a tape: both ends of each stream.
func endsOf(tape *spool.Tape) (stdout, stderr sandbox.Output, err error) {
	ends := [2]keptEnds{}
	read := tape.Read(0, 0)
	defer read.Close() //nolint:errcheck // only read
	buf := make([]byte, maxPiece)
	for {
		p, _, _, err := read.Next(buf)
		if err != nil {
			return stdout, stderr, err
		}
		if p.Stream == 0 {
			break
		}
		ends[p.Stream-1].take(p)
	}
	so, se := tape.Ends()
	return ends[0].output(so), ends[1].output(se), nil
}

// keptEnds gathers the beginning and the end of one stream.
type keptEnds struct {
	head, tail []byte
	tailAt     int64 // offset of tail
}

func (k *keptEnds) take(p spool.Piece) {
	data, at := p.Data, p.Offset
	if room := cutBytes - len(k.head); at == int64(len(k.head)) && room > 0 {
		n := min(room, len(data))
		k.head = append(k.head, data[:n]...)
		data, at = data[n:], at+int64(n)
	}
	if len(data) == 0 {
		return
	}
	if k.tailAt+int64(len(k.tail)) != at {
		k.tail, k.tailAt = k.tail[:0], at
	}
	k.tail = append(k.tail, data...)
	if over := len(k.tail) - cutBytes; over > 0 {
		k.tail = append(k.tail[:0], k.tail[over:]...)
		k.tailAt += int64(over)
	}
}

// output is what was gathered of a stream of so many bytes.
func (k *keptEnds) output(total int64) sandbox.Output {
	out := sandbox.Output{Head: k.head, TotalBytes: total}
	if k.tailAt+int64(len(k.tail)) == total {
		out.Tail = k.tail
	}
	return out
}
