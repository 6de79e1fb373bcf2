package gate

import (
	"time"

	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/journal"
)

// maxLoggedArgs bounds the arguments in the log; the journal keeps more.
const maxLoggedArgs = 2 << 10

// event writes the one tool_use event of a call that was not a replay.
func (g *Gate) event(w *way, res Result, err error) {
	entry := g.log.Check(zap.InfoLevel, "tool_use")
	if entry == nil {
		return
	}
	rules := make([]string, 0, len(w.decision.Reasons))
	for _, r := range w.decision.Reasons {
		rules = append(rules, r.Rule)
	}
	fields := []zap.Field{
		zap.String("name", w.tool.Name),
		w.loggedArgs(),
		zap.Float64("duration_ms", millis(g.now().Sub(w.trace.Began()))),
		zap.Int64("result_size_bytes", res.ResultSizeBytes),
		zap.Bool("is_error", res.IsError || err != nil),
		zap.String("outcome", string(res.Outcome)),
		zap.String("caller", w.call.Caller.ID),
		zap.String("session", w.call.SessionID),
		zap.String("call_id", w.call.ID),
		zap.String("decision", string(w.decision.Outcome)),
		zap.String("decision_id", w.decision.ID),
		zap.Strings("rules", rules),
	}
	if err != nil {
		fields = append(fields, zap.String("error", journal.Mask(err.Error())))
	}
	entry.Write(fields...)
}

func (w *way) loggedArgs() zap.Field {
	if w.decision.Obligations.Audit.Level == auditLevelShape {
		return zap.Any("args_shape", journal.Shape(w.call.Args))
	}
	return zap.ByteString("args", journal.MaskJSON(journal.Bound(w.call.Args, maxLoggedArgs)))
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
