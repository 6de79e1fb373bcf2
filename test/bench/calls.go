package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sandgate/sandgate/test/bench/measure"
	"github.com/sandgate/sandgate/test/bench/peer"
	"github.com/sandgate/sandgate/test/bench/report"
)

// severalClients is the plan for cells with several clients: one slice of each, since of
// many clients the beginning and the end of a slice are a good part of a short one. All come
// at once, each to a cell that has rested meanwhile, and at the end fewer and fewer are left.
func (s size) severalClients() measure.Plan {
	p := s.plan
	p.Slice, p.Slices, p.MaxOps = s.several, 1, 2*p.MaxOps
	return p
}

// bashJob is the call of the targets, as a user makes it who configures nothing:
// the built-in tool under the default profile. Its argv is that of the tool.
func bashJob() job {
	return job{
		name: report.CellBash, tool: "bash", args: map[string]string{"command": "true"},
		argv: []string{"/bin/bash", "--noprofile", "--norc", "-c", "true"},
	}
}

// jobs are the commands of the matrix.
func jobs() []job {
	plain := func(name, tool string, stdout int64) job {
		return job{name: name, tool: tool, args: struct{}{}, argv: argvOf(tool), profile: profileOpen, stdout: stdout}
	}
	catBytes := int64(0)
	if info, err := os.Stat(catFile); err == nil {
		catBytes = info.Size()
	}
	const mib = 1 << 20
	streamed := plain("32 MiB output, streamed", "bench_32m", 32*mib)
	streamed.stream, streamed.profile = true, profileLarge
	changing := bashJob()
	changing.name += ", a new call each time"
	changing.fresh = func(n int64) any { return map[string]string{"command": fmt.Sprintf("true %d", n)} }
	return []job{
		plain(report.CellTrue, "bench_true", 0),
		bashJob(),
		changing,
		plain("cat of a file", "bench_cat", catBytes),
		plain("python3 -c pass", "bench_python", 0),
		plain("1 MiB output", "bench_1m", mib),
		plain("64 MiB output, ends kept", "bench_64m", 64*mib),
		streamed,
	}
}

// floor is the same command with nothing around it.
func floor(j job) measure.Arm {
	return measure.Arm{Name: report.ArmFloor, Op: peer.Bare(j.argv, j.stdout), Share: 0.5}
}

// calls measures calls in sessions on a daemon with a warm pool.
func (b *bench) calls() (err error) {
	policy := filepath.Join(b.dir, "policy")
	if err := writePolicy(policy, profileCaller, profileNever, profileLarge); err != nil {
		return err
	}
	t, err := b.launch("calls", "pool: {idle: 4, max_cells: 48}\nceiling: {output: 32MiB}\npolicy: {dir: "+policy+"}\n"+
		callersWith(profileCaller, profileNever, profileLarge))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	env, err := b.environment(t, profileOpen)
	if err != nil {
		return err
	}
	for _, j := range jobs() {
		arms := []measure.Arm{floor(j), t.arm(j, "commands")}
		if j.name == report.CellBash {
			arms = append(arms, measure.Arm{Name: report.ArmSameEnv, Op: peer.BareWith(j.argv, env, j.stdout), Share: 0.5})
		}
		c := cell{on: t, group: report.GroupCommands, name: j.name, base: report.ArmFloor}
		if err := b.measureCell(c, arms...); err != nil {
			return err
		}
	}
	if b.wanted(report.GroupCommands) {
		if err := b.stages(t); err != nil {
			return err
		}
	}
	j := bashJob()
	for _, clients := range []int{1, 2, 4, 8, 32} {
		c := cell{on: t, group: report.GroupClients, name: j.name, clients: clients, base: report.ArmFloor, plan: b.size.severalClients()}
		if err := b.measureCell(c, floor(j), t.arm(j, "clients")); err != nil {
			return err
		}
	}
	if err := b.reuse(t); err != nil {
		return err
	}
	return b.peers(t)
}

// reuse measures what policy can demand of the use of cells, with as much of the
// pool as there is.
func (b *bench) reuse(t *target) error {
	for _, reuse := range []struct{ name, profile string }{
		{"session", profileOpen}, {"caller", profileCaller}, {"never", profileNever},
	} {
		j := bashJob()
		j.profile = reuse.profile
		c := cell{on: t, group: report.GroupReuse, name: reuse.name, base: report.ArmFloor}
		arms := []measure.Arm{floor(j), t.arm(j, "reuse")}
		if reuse.profile == profileNever {
			c.base, arms = "", arms[1:] // cells that are made behind it would disturb a floor
		}
		if err := b.measureCell(c, arms...); err != nil {
			return err
		}
	}
	return nil
}

// peers measures every peer that is here, sandgate beside it.
func (b *bench) peers(t *target) error {
	if !b.wanted(report.GroupPeers) {
		return nil
	}
	plainTrue := jobs()[0]
	env := peer.Env{
		BinDir: b.binDir, Dir: filepath.Join(b.dir, "peers"), ContainerdSocket: t.ContainerdSocket(),
		Bash: bashJob().argv, True: plainTrue.argv,
	}
	for _, m := range peer.Makers() {
		p, err := m.Make(b.ctx, env)
		if errors.Is(err, peer.ErrAbsent) {
			b.skipped("peer "+m.Name, err)
			continue
		}
		if err != nil {
			b.failed("peer "+m.Name, err)
			continue
		}
		j := bashJob()
		if p.Argv[0] == plainTrue.argv[0] {
			j = plainTrue
		}
		err = b.peer(t, p, j)
		if err := errors.Join(err, p.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) peer(t *target, p *peer.Peer, j job) error {
	if p.Version != "" {
		b.out.Versions = append(b.out.Versions, report.Version{Name: "peer " + p.Name, Version: p.Version})
	}
	b.out.Peers = append(b.out.Peers, report.Peer{Name: p.Name, Wall: p.Wall})
	for _, clients := range p.Clients {
		c := cell{on: t, group: report.GroupPeers, name: fmt.Sprintf("%s, %s", p.Name, j.name), clients: clients, base: report.ArmFloor}
		peerArm := measure.Arm{Name: p.Name, Op: p.Op}
		if err := b.measureCell(c, floor(j), t.arm(j, "peers"), peerArm); err != nil {
			return err
		}
	}
	return nil
}
