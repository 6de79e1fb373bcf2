package gate

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/spool"
	"github.com/sandgate/sandgate/sandbox"
)

// outputs are the digests under which output of a finished call is stored, zero
// for none. They are in the record of its outcome: what is stored is best effort,
// and what is read back counts only if it is what was recorded.
type outputs struct {
	result spool.Digest // of what the result holds
	log    spool.Digest // of what followers were told, where that is more
}

// in puts them into the record of an outcome.
func (o outputs) in(data outcomeData) outcomeData {
	data.OutputDigest, data.LogDigest = o.result.String(), o.log.String()
	return data
}

// forgottenMessage is told with a result whose output is gone.
const forgottenMessage = "the output of this call is no longer kept"

// stored and log are the names of what is stored of a call. Nobody but the gate
// can make them, and it does so for the call's own caller alone.
func (k callKey) stored() spool.Key { return k.spooled("result") }
func (k callKey) log() spool.Key    { return k.spooled("log") }

func (k callKey) spooled(what string) (key spool.Key) {
	_, _ = hex.Decode(key[:], []byte(opaqueKey(what, k.caller, k.id))) // as long as a key
	return key
}

// sealed takes the output of a result to what can be stored, and says under which
// digests. It is asked once, when nothing of the output is to come and before the
// outcome is recorded.
func (w *way) sealed(r *Result) {
	w.live.tape.End()
	if w.gate.cfg.Output == nil {
		return
	}
	if w.pieces = piecesOf(r); w.pieces != nil {
		w.stored.result = w.pieces.Digest()
	}
	// A call that outlives its request keeps its log until that is stored: followers were
	// told of it, and what only waits to be stored is lost when the daemon is killed.
	kept := w.live.tape.Kept()
	if kept == 0 || kept <= r.ResultSizeBytes && !w.call.Detach && !w.call.DetachOnDisconnect {
		return
	}
	h := sha256.New()
	size, err := w.live.copyTo(h)
	if err != nil {
		w.gate.log.Warn("output of a call not kept", zap.String("call_id", w.call.ID), zap.Error(err))
		return
	}
	w.logBytes, w.stored.log = size, spool.Digest(h.Sum(nil))
	w.live.outlives = true
}

// piecesOf is the output of a result in the form in which it is stored; nil: it has
// none.
func piecesOf(r *Result) (out spool.Stored) {
	for _, s := range []struct {
		stream spool.Stream
		out    *sandbox.Output
	}{{spool.Stdout, &r.Stdout}, {spool.Stderr, &r.Stderr}} {
		if len(s.out.Head) > 0 {
			out.Add(spool.Piece{Stream: s.stream, Data: s.out.Head})
		}
		if n := int64(len(s.out.Tail)); n > 0 {
			out.Add(spool.Piece{Stream: s.stream, Offset: s.out.TotalBytes - n, Data: s.out.Tail})
		}
	}
	return out
}

// copyTo writes the tape, which has ended, in the form in which it is stored.
func (l *live) copyTo(to io.Writer) (int64, error) { return copyTape(&l.tape, to) }

func copyTape(tape *spool.Tape, to io.Writer) (int64, error) {
	out := bufio.NewWriterSize(to, maxPiece+64)
	read := tape.Read(0, 0)
	defer read.Close() //nolint:errcheck // only read
	buf := make([]byte, maxPiece)
	var size int64
	for {
		p, _, _, err := read.Next(buf)
		if err != nil {
			return size, err
		}
		if p.Stream == 0 {
			return size, out.Flush()
		}
		if len(p.Data) == 0 {
			continue
		}
		n, err := out.Write(spool.AppendPiece(nil, p))
		size += int64(n)
		if err != nil {
			return size, err
		}
	}
}

// keep stores what sealed has prepared, once the outcome is recorded.
func (w *way) keep(e *entry) {
	if !w.live.outlives {
		w.letGo()
	}
	if w.pieces != nil {
		w.gate.cfg.Output.Put(e.key.stored(), w.pieces)
	}
	if !w.live.outlives {
		return
	}
	w.gate.cfg.Output.PutFrom(e.key.log(), w.logBytes, func(to io.Writer) error {
		_, err := w.live.copyTo(to)
		return err
	}, func(err error) {
		w.gate.ledger.forgetView(e, err == nil)
		w.letGo()
	})
}

// letGo gives back the tape's file.
func (w *way) letGo() {
	if err := w.live.tape.Close(); err != nil {
		w.gate.log.Warn("output file of a call not closed", zap.String("call_id", w.call.ID), zap.Error(err))
	}
}

// resultOf is the ledger's, with the output that is stored when that is no longer
// in memory.
func (g *Gate) resultOf(e *entry) (Result, error) {
	res, err := g.ledger.resultOf(e)
	if err != nil || res.ResultSizeBytes > 0 || res.Stdout.TotalBytes+res.Stderr.TotalBytes == 0 {
		return res, err
	}
	_, stored := g.ledger.viewOf(e)
	if rerr := g.readOutput(e, stored, &res); rerr != nil && res.Message == "" {
		res.Message = forgottenMessage
	}
	return res, nil
}

// readOutput fills a result with its stored output, all of it or nothing.
func (g *Gate) readOutput(e *entry, stored outputs, res *Result) error {
	if g.cfg.Output == nil || stored.result == (spool.Digest{}) {
		return fmt.Errorf("output of call %q is not stored", e.key.id)
	}
	from, err := g.cfg.Output.Open(e.key.stored(), stored.result)
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // only read
	stdout, stderr := res.Stdout, res.Stderr
	var size int64
	err = spool.ReadPieces(from, func(p spool.Piece) error {
		out := &stdout
		if p.Stream == spool.Stderr {
			out = &stderr
		}
		data := append([]byte(nil), p.Data...)
		if p.Offset == 0 {
			out.Head = data
		} else {
			out.Tail = data
		}
		size += int64(len(data))
		return nil
	})
	if err != nil {
		return err
	}
	res.Stdout, res.Stderr, res.ResultSizeBytes = stdout, stderr, size
	return nil
}
