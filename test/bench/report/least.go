package report

import (
	"fmt"

	"github.com/sandgate/sandgate/test/bench/measure"
)

// writeLeast writes what the least daemon takes beside the daemon.
func (r *Run) writeLeast(p *printer) {
	if r.Find(GroupFloors, CellBash, 1, 0).Arm(ArmLeast) == nil {
		return
	}
	p.line("The *least daemon* is a process that does for a request just these parts, one after the other, by the same code: it decides, begins the intent, has the stage of a cell get ready, executes the program when the intent is durable, appends the outcome, answers with a ready response. No identity, facts, limits of a call, evidence, result or metrics are in it, and of the line no more than that so many calls run at once and in which order (`test/bench/parts/least.go`). It shows what the parts take when they have to be handed from one to the next; where sandgate is the quicker of the two, it is no floor. CPU is that of the whole machine.\n")
	p.head("command", "clients", "fork+exec p50 ms", "per s", "CPU ms", "least daemon p50 ms", "per s", "CPU ms", "sandgate p50 ms", "per s", "CPU ms")
	for _, of := range []struct {
		command string
		clients int
	}{{CellBash, 1}, {CellBash, 4}, {CellBash, 32}, {CellTrue, 1}} {
		c := r.Find(GroupFloors, of.command, of.clients, 0)
		row := []string{of.command, fmt.Sprint(of.clients)}
		for _, name := range []string{ArmFloor, ArmLeast, ArmSandgate} {
			s := c.Arm(name)
			if s == nil {
				row = nil
				break
			}
			row = append(row, ms(s.Percentile(50)), fmt.Sprintf("%.0f", s.Rate()), msFine(s.CPU()))
		}
		if row != nil {
			p.row(row...)
		}
	}
	p.line("")
	r.writeLess(p)
}

// writeLess writes what the least daemon takes without some of its parts.
func (r *Run) writeLess(p *printer) {
	c := r.Find(GroupFloors, CellBash, 1, 0)
	base := c.Arm(ArmFloor)
	if base == nil || c.Arm(ArmLeastNeither) == nil {
		return
	}
	p.line("What two of its parts take, with one client: the same process without them. Without gRPC a message has its length before it, and one goroutine serves a connection; nothing of sandgate works like that.\n")
	p.head("`bash -c true`, one client", "p50 ms", "over fork+exec", "CPU ms")
	for _, name := range []string{ArmFloor, ArmWalls, ArmLeastNeither, ArmLeastNoJournal, ArmLeastNoGRPC, ArmLeast, ArmSandgate} {
		if s := c.Arm(name); s != nil {
			p.row(name, ms(s.Percentile(50)), fmt.Sprintf("%.2f", measure.Ratio(s, base, 50)), msFine(s.CPU()))
		}
	}
	p.line("")
}
