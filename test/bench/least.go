package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"google.golang.org/protobuf/proto"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/bench/measure"
	"github.com/sandgate/sandgate/test/bench/parts"
	"github.com/sandgate/sandgate/test/bench/peer"
	"github.com/sandgate/sandgate/test/bench/report"
	"github.com/sandgate/sandgate/test/daemontest"
)

// leastArg has this program be the least daemon.
const leastArg = "least-daemon"

// callsPerCore is how many calls the measured daemon begins at once for each core.
const callsPerCore = 4

// leastDaemon is a least daemon and its clients.
type leastDaemon struct {
	name    string
	process *parts.LeastProcess
	conns   []io.Closer
	execute []func(context.Context, *sandgatev1.ExecuteRequest) (*sandgatev1.ExecuteResponse, error)
}

// floorCalls is the prefix of the sessions in which the floors' calls are made.
const floorCalls = "floors"

// leastOf is what the least daemon in the new directory dir is made of for the calls of
// so many clients of t: the same input is decided, the same records are written on the same
// disk, the same response is given.
func (b *bench) leastOf(t *target, dir, input string, seen *sandgatev1.ExecuteResponse, j job, clients int) (l parts.Least, err error) {
	l = parts.Least{
		BinDir: b.binDir, Dir: dir, Like: filepath.Join(t.DataDir, "journal", "journal.jsonl"),
		Input: input, Argv: j.argv, AtOnce: callsPerCore * runtime.GOMAXPROCS(0),
	}
	for i := range clients {
		l.Sessions = append(l.Sessions, j.request(floorCalls, i).GetCall().GetSessionId())
	}
	if l.Env, err = b.environment(t, profileOpen); err != nil {
		return l, err
	}
	if l.Response, err = proto.Marshal(seen); err != nil {
		return l, fmt.Errorf("encode a response: %w", err)
	}
	records, err := os.MkdirTemp(t.DataDir, "least-") // a journal has a directory of its own
	if err != nil {
		return l, fmt.Errorf("make a directory: %w", err)
	}
	l.Journal = filepath.Join(records, "journal.jsonl")
	if err := os.Mkdir(dir, 0o711); err != nil { //nolint:gosec // the cell's ids must get to its root
		return l, fmt.Errorf("make a directory: %w", err)
	}
	return l, nil
}

// startLeast starts a least daemon and connects its clients.
func (b *bench) startLeast(name string, l parts.Least) (_ *leastDaemon, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	d := &leastDaemon{name: name}
	if d.process, err = parts.StartLeast(b.ctx, l, self, leastArg); err != nil {
		return nil, err
	}
	for range l.Sessions {
		if err := d.connect(b.ctx, l); err != nil {
			return nil, errors.Join(err, d.stop())
		}
	}
	return d, nil
}

func (d *leastDaemon) connect(ctx context.Context, l parts.Least) error {
	if l.NoGRPC {
		conn, err := parts.DialPlain(ctx, l.Socket())
		if err != nil {
			return err
		}
		d.conns = append(d.conns, conn)
		d.execute = append(d.execute, func(_ context.Context, req *sandgatev1.ExecuteRequest) (*sandgatev1.ExecuteResponse, error) {
			return conn.Execute(req)
		})
		return nil
	}
	conn, err := daemontest.Dial("unix://" + l.Socket())
	if err != nil {
		return err
	}
	client := sandgatev1.NewToolServiceClient(conn)
	d.conns = append(d.conns, conn)
	d.execute = append(d.execute, func(ctx context.Context, req *sandgatev1.ExecuteRequest) (*sandgatev1.ExecuteResponse, error) {
		return client.Execute(ctx, req)
	})
	return nil
}

func (d *leastDaemon) stop() error {
	var errs []error
	for _, c := range d.conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(append(errs, d.process.Close())...)
}

// arm makes the same request as the arm of the daemon.
func (d *leastDaemon) arm(j job) measure.Arm {
	return measure.Arm{Name: d.name, CPU: parts.MachineCPU, Op: func(ctx context.Context, client int) error {
		resp, err := d.execute[client](ctx, j.request(floorCalls, client))
		if err != nil {
			return err
		}
		return endedWell(resp.GetResult())
	}}
}

// crowd measures the daemon and the least daemon with several clients.
func (b *bench) crowd(t *target, dir, input string, seen *sandgatev1.ExecuteResponse, j job) (err error) {
	const most = 32
	l, err := b.leastOf(t, dir, input, seen, j, most)
	if err != nil {
		return err
	}
	d, err := b.startLeast(report.ArmLeast, l)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	for _, clients := range []int{4, most} {
		whole := t.arm(j, floorCalls)
		whole.CPU = parts.MachineCPU
		bare := measure.Arm{Name: report.ArmFloor, CPU: parts.MachineCPU, Op: peer.Bare(j.argv, j.stdout), Share: 0.5}
		c := cell{on: t, group: report.GroupFloors, name: j.name, clients: clients, base: report.ArmFloor, plan: b.size.severalClients()}
		if err := b.measureCell(c, bare, whole, d.arm(j)); err != nil {
			return err
		}
	}
	return nil
}

// leasts starts the least daemon of one client and, of the command of the targets, those
// which lack a part; stop ends them.
func (b *bench) leasts(t *target, dir, input string, seen *sandgatev1.ExecuteResponse, j job) (arms []measure.Arm, stop func() error, err error) {
	var started []*leastDaemon
	stop = func() error {
		var errs []error
		for _, d := range started {
			errs = append(errs, d.stop())
		}
		return errors.Join(errs...)
	}
	for i, of := range []struct {
		name              string
		noJournal, noGRPC bool
	}{{report.ArmLeast, false, false}, {report.ArmLeastNoJournal, true, false}, {report.ArmLeastNoGRPC, false, true}, {report.ArmLeastNeither, true, true}} {
		if i > 0 && j.name != report.CellBash {
			break
		}
		l, err := b.leastOf(t, filepath.Join(dir, fmt.Sprint("least", i)), input, seen, j, 1)
		if err != nil {
			return nil, nil, errors.Join(err, stop())
		}
		l.NoJournal, l.NoGRPC = of.noJournal, of.noGRPC
		d, err := b.startLeast(of.name, l)
		if err != nil {
			return nil, nil, errors.Join(err, stop())
		}
		started = append(started, d)
		arms = append(arms, d.arm(j))
	}
	return arms, stop, nil
}
