package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// groups tells the heading and the explanation of each group of cells.
var groups = []struct{ group, heading, text string }{
	{GroupCommands, "Commands", "One client, one session, `runc`, the cell reused, the same call again and again, so that its decision is a remembered one (what a new one costs more is under Decisions). The floor is fork+exec of the same command; what it writes is read from a pipe, and a command that writes nothing has none."},
	{GroupClients, "Clients", "`bash -c true`, each client on a connection and in a session of its own; the floor is as many loops of fork+exec. The slices are long and few, since at the end of each fewer and fewer calls run, which with many clients is much of a short one."},
	{GroupReuse, "Reuse of cells", "`bash -c true`, one client, the reuse that policy demands. `never` takes what the pool has and then waits for cells to be made."},
	{GroupIsolation, "Isolation", "One client, session, the wall that policy demands. The plain container is gVisor's floor: the daemon's own specification, rootfs and environment on one processor, with a shell in the place of init that forks and executes the command when it is told so; no inner wall, no daemon."},
	{GroupCells, "New cells", "`bash -c true`, each call in a cell that nobody used before. Full: one client, bursts no longer than the pool, which is full again before the next. Dry: closed loops for longer than the pool lasts. Cold: no pool, and nothing under way when the call comes."},
	{GroupDecide, "Decisions", "Evaluate over the unix socket, nothing runs. No two calls are the same but where it says so. Of a call that was decided a moment ago the decision is remembered, and of calls that differ only in words which no rule has looked at (`true 1`, `true 2`: their shape is the same); where it says that a shape was never asked about, all rules are evaluated. Open loop: begun at a fixed rate, measured from the intended start."},
	{GroupRules, "Rules", "Evaluate of a call under the default library and, in the same slices on a second daemon, under the library with more rules (`data.sandgate.extra`), none of which the call meets: rules for a tool or for a program, which an index finds without evaluating the others, and rules that look for a text in the arguments, each of which is evaluated for each call. No shape is asked about twice."},
	{GroupSessions, "Idle sessions", "`bash -c true`, one client, while other sessions wait."},
	{GroupIdle, "One more session", "The first call of a session, `bash -c true`, with as many waiting without cells; the pool is warm each time."},
	{GroupNeighbours, "Beside abusers", "`bash -c true`, one client in turns alone and beside a caller whose calls do as told without end, each held by the daemon's default limits."},
}

func (r *Run) writeMethod(p *printer) {
	m := r.Machine
	p.line("## Machine and method\n")
	p.head("what", "value")
	p.row("mode", r.Mode)
	p.row("date", r.Began.UTC().Format("2006-01-02 15:04 MST")+", "+r.Ended.Sub(r.Began).Round(time.Second).String())
	p.row("machine", fmt.Sprintf("%s, %d cores, %.1f GiB", m.CPU, m.Cores, mib(m.MemoryBytes)/1024))
	p.row("kernel", fmt.Sprintf("%s, cgroup v%d, data on %s", m.Kernel, m.CgroupVersion, m.DataFS))
	p.row("load average", m.LoadBefore+" before, "+m.LoadAfter+" after")
	for _, v := range r.Versions {
		p.row(v.Name, v.Version)
	}
	p.line("")
	p.line("Each figure is the median of %d repetitions. Within a repetition the things compared take turns in slices, so that what disturbs", r.Method.Reps)
	p.line("the machine disturbs all of them; each section says how many and how long (a bare command that others are only divided by mostly gets")
	p.line("half of one). Ratios are taken within a repetition. `max` is the slowest of all; `spread` is how far the p50 of the repetitions lie")
	p.line("apart. The load generator is a Go process with one connection per client, on the same cores as what it measures. It calls the daemon")
	p.line("over its unix socket. The journal is on.")
	if r.planned() {
		p.line("Which of the things compared is the first changes from slice to slice and from repetition to repetition.")
	}
	if low, high, ok := r.floors(); ok {
		p.line("The floor of `bash -c true` with one client lay between %s and %s ms (p50 of a repetition): the nearer, the quieter the machine.", ms(low), ms(high))
	}
	p.line("")
}

// floors are the smallest and largest p50 of repetitions of the same floor.
func (r *Run) floors() (low, high time.Duration, ok bool) {
	for i := range r.Cells {
		c := &r.Cells[i]
		floor := c.Arm(ArmFloor)
		if floor == nil || c.Clients() != 1 || !strings.Contains(c.Name, CellBash) {
			continue
		}
		for _, rep := range floor.Reps {
			v := rep.Latencies.Percentile(50)
			if !ok || v < low {
				low = v
			}
			high, ok = max(high, v), true
		}
	}
	return low, high, ok
}

// planned tells whether the run kept its plans, as all do whose arms are turned by
// repetitions as well.
func (r *Run) planned() bool {
	return slices.ContainsFunc(r.Cells, func(c Cell) bool { return c.Plan != nil })
}

// text says the plan in words.
func (m *Plan) text() string {
	parts := "one slice"
	if m.Slices != 1 {
		parts = fmt.Sprintf("%d slices", m.Slices)
	}
	if m.Slice >= time.Minute { // never over by time
		return fmt.Sprintf("%d repetitions of %d operations in %s", m.Reps, m.MaxOps, parts)
	}
	return fmt.Sprintf("%d repetitions of %s of %v (or until an arm has done %d operations)", m.Reps, parts, m.Slice, m.MaxOps)
}

// writePlan says how long the cells of a group were measured. Open loops say it
// themselves.
func (r *Run) writePlan(p *printer, group string) {
	var plans []string
	cells := map[string][]string{} // by the plan
	for i := range r.Cells {
		c := &r.Cells[i]
		if c.Group != group || c.open() {
			continue
		}
		plan := "-"
		if c.Plan != nil {
			plan = c.Plan.text()
		}
		if !slices.Contains(plans, plan) {
			plans = append(plans, plan)
		}
		if name := c.withClients(); !slices.Contains(cells[plan], name) {
			cells[plan] = append(cells[plan], name)
		}
	}
	switch {
	case len(plans) == 0:
		return
	case len(plans) == 1 && plans[0] == "-":
		p.line("Measured in: -, this run's data do not say it.\n")
		return
	case len(plans) == 1:
		p.line("Measured in %s.\n", plans[0])
		return
	}
	for i, plan := range plans {
		plans[i] = strings.Join(cells[plan], ", ") + ": " + plan
	}
	p.line("Measured in %s.\n", strings.Join(plans, "; "))
}

// withClients is the cell's name, and how many clients it has if not one.
func (c *Cell) withClients() string {
	if n := c.Clients(); n > 1 {
		return fmt.Sprintf("%s with %d clients", c.Name, n)
	}
	return c.Name
}

// open tells whether the cell was measured in an open loop.
func (c *Cell) open() bool {
	return len(c.Series) > 0 && len(c.Series[0].Reps) > 0 && len(c.Series[0].Reps[0].Late) > 0
}

// writeCellNotes writes what the cells of a group have beside figures of time.
func (r *Run) writeCellNotes(p *printer, group string) {
	for i := range r.Cells {
		c := &r.Cells[i]
		if c.Group != group || c.Note == "" && len(c.Counts) == 0 {
			continue
		}
		var told []string
		if c.Note != "" {
			told = append(told, c.Note)
		}
		if len(c.Counts) > 0 {
			told = append(told, "counted in all repetitions: "+countsText(c.Counts))
		}
		name := c.withClients()
		if c.Amount > 0 {
			name = fmt.Sprintf("%d %s", c.Amount, name)
		}
		p.line("%s: %s.\n", name, strings.TrimSuffix(strings.Join(told, "; "), "."))
	}
}

func countsText(counts map[string]int) string {
	var out []string
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, fmt.Sprintf("%s %d", what, counts[what]))
	}
	return strings.Join(out, ", ")
}
