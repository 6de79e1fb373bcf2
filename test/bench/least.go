package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/grpc"
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

// callsAtOnce is how many calls the measured daemon begins at once on two cores.
const callsAtOnce = 8

// leastDaemon is a least daemon and its clients.
type leastDaemon struct {
	process *parts.LeastProcess
	conns   []*grpc.ClientConn
	clients []sandgatev1.ToolServiceClient
}

// floorCalls is the prefix of the sessions in which the floors' calls are made.
const floorCalls = "floors"

// startLeast starts a least daemon in the new directory dir for the calls of so many
// clients of t: the same input is decided, the same records are written on the same disk,
// the same response is given.
func (b *bench) startLeast(t *target, dir, input string, seen *sandgatev1.ExecuteResponse, j job, clients int) (_ *leastDaemon, err error) {
	records := filepath.Join(t.DataDir, "least-"+filepath.Base(dir)) // a journal has a directory of its own
	if err := os.Mkdir(records, 0o700); err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	l := parts.Least{
		BinDir: b.binDir, Dir: dir, Journal: filepath.Join(records, "journal.jsonl"), Like: filepath.Join(t.DataDir, "journal", "journal.jsonl"),
		Input: input, Argv: j.argv, AtOnce: callsAtOnce,
	}
	for i := range clients {
		l.Sessions = append(l.Sessions, j.request(floorCalls, i).GetCall().GetSessionId())
	}
	if l.Env, err = b.environment(t, profileOpen); err != nil {
		return nil, err
	}
	if l.Response, err = proto.Marshal(seen); err != nil {
		return nil, fmt.Errorf("encode a response: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	d := &leastDaemon{}
	if d.process, err = parts.StartLeast(b.ctx, l, self, leastArg); err != nil {
		return nil, err
	}
	for range clients {
		conn, err := daemontest.Dial("unix://" + l.Socket())
		if err != nil {
			return nil, errors.Join(err, d.stop())
		}
		d.conns, d.clients = append(d.conns, conn), append(d.clients, sandgatev1.NewToolServiceClient(conn))
	}
	return d, nil
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
	return measure.Arm{Name: report.ArmLeast, CPU: parts.MachineCPU, Op: func(ctx context.Context, client int) error {
		resp, err := d.clients[client].Execute(ctx, j.request(floorCalls, client))
		if err != nil {
			return err
		}
		return endedWell(resp.GetResult())
	}}
}

// crowd measures the daemon and the least daemon with several clients.
func (b *bench) crowd(t *target, dir, input string, seen *sandgatev1.ExecuteResponse, j job) (err error) {
	const most = 32
	d, err := b.startLeast(t, dir, input, seen, j, most)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	for _, clients := range []int{4, most} {
		whole := t.arm(j, floorCalls)
		whole.CPU = parts.MachineCPU
		bare := measure.Arm{Name: report.ArmFloor, CPU: parts.MachineCPU, Op: peer.Bare(j.argv, j.stdout), Share: 0.5}
		if err := b.measureCell(cell{on: t, group: report.GroupFloors, name: j.name, clients: clients, base: report.ArmFloor}, bare, whole, d.arm(j)); err != nil {
			return err
		}
	}
	return nil
}
