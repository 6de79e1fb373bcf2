package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	opalogging "github.com/open-policy-agent/opa/v1/logging"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/server"
	"github.com/open-policy-agent/opa/v1/storage"
	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/policy"
)

// Bounds of what waits for OPA's decision log. It is for the customer's
// collectors and may lose something; the journal is the record and does not.
const (
	maxWaiting      = 1024
	maxWaitingBytes = 32 << 20 // of arguments
)

// errMasks is the cause of a context that ended because masks took too long.
var errMasks = errors.New("the masks of the decision log took too long")

// decided is one decision on its way to the log.
type decided struct {
	in   policy.Input
	d    policy.Decision
	at   time.Time
	took time.Duration
	size int64
}

// logging hands decisions to OPA's decision log, one after the other, so that no
// call waits for it.
type logging struct {
	remote  *remote
	logger  *zap.Logger
	queue   chan decided
	waiting atomic.Int64 // bytes
	dropped atomic.Int64
	stop    chan struct{}
	once    sync.Once
	done    sync.WaitGroup
}

func newLogging(r *remote, logger *zap.Logger) *logging {
	l := &logging{remote: r, logger: logger, queue: make(chan decided, maxWaiting), stop: make(chan struct{})}
	l.done.Go(l.run)
	return l
}

// Decided tells OPA's decision log of a decision, if there is one. It never
// blocks: what does not fit is dropped and counted.
func (s *Source) Decided(in policy.Input, d policy.Decision, took time.Duration) {
	l := s.log
	if l == nil {
		return
	}
	item := decided{in: in, d: d, at: time.Now().UTC(), took: took, size: int64(len(in.Call.Args)) + 4096}
	if l.waiting.Add(item.size) <= maxWaitingBytes {
		select {
		case l.queue <- item:
			return
		default:
		}
	}
	l.waiting.Add(-item.size)
	l.dropped.Add(1)
}

// run logs until it is stopped, and then what still waits.
func (l *logging) run() {
	for {
		select {
		case item := <-l.queue:
			l.log(item)
		case <-l.stop:
			for {
				select {
				case item := <-l.queue:
					l.log(item)
				default:
					return
				}
			}
		}
	}
}

func (l *logging) close() {
	l.once.Do(func() { close(l.stop) })
	l.done.Wait()
}

func (l *logging) log(item decided) {
	defer l.waiting.Add(-item.size)
	if err := l.event(item); err != nil {
		l.dropped.Add(1)
		l.logger.Warn("a decision did not get into OPA's decision log", zap.String("decision_id", item.d.ID), zap.Error(err))
	}
}

// event makes an event of OPA's format and hands it over. It runs the masks.
func (l *logging) event(item decided) error {
	item.in.DecisionID = item.d.ID
	input, err := generic(item.in)
	if err != nil {
		return err
	}
	result, err := generic(item.d)
	if err != nil {
		return err
	}
	m := metrics.New()
	m.Counter("sandgate_decision_ns").Add(uint64(max(item.took, 0)))
	info := &server.Info{
		DecisionID: item.d.ID, Path: "sandgate/decision", Timestamp: item.at,
		Bundles: map[string]server.BundleInfo{"sandgate": {Revision: item.d.Revision}},
		Input:   &input, Results: &result, Metrics: m,
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), policy.DefaultDecisionTimeout, errMasks)
	defer cancel()
	return storage.Txn(ctx, l.remote.store, storage.TransactionParams{}, func(txn storage.Transaction) error {
		info.Txn = txn
		return l.remote.logs.Log(ctx, info)
	})
}

// generic is a value as JSON has it.
func generic(v any) (any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out any
	err = json.Unmarshal(raw, &out)
	return out, err
}

// opaLogger is OPA's logger on ours. What OPA tells as information is for
// debugging here.
type opaLogger struct {
	logger *zap.SugaredLogger
}

func newOPALogger(logger *zap.Logger) *opaLogger { return &opaLogger{logger: logger.Sugar()} }

// Debug implements logging.Logger.
func (o *opaLogger) Debug(format string, a ...any) { o.logger.Debugf(format, a...) }

// Info implements logging.Logger.
func (o *opaLogger) Info(format string, a ...any) { o.logger.Debugf(format, a...) }

// Error implements logging.Logger.
func (o *opaLogger) Error(format string, a ...any) { o.logger.Errorf(format, a...) }

// Warn implements logging.Logger.
func (o *opaLogger) Warn(format string, a ...any) { o.logger.Warnf(format, a...) }

// WithFields implements logging.Logger.
func (o *opaLogger) WithFields(fields map[string]any) opalogging.Logger {
	next := o.logger
	for key, value := range fields {
		next = next.With(key, fmt.Sprint(value))
	}
	return &opaLogger{logger: next}
}

// GetLevel implements logging.Logger.
func (*opaLogger) GetLevel() opalogging.Level { return opalogging.Info }

// SetLevel implements logging.Logger; zap decides.
func (*opaLogger) SetLevel(opalogging.Level) {}
