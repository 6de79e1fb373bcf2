//go:build linux && (amd64 || arm64)

// Package rules says which system calls a program in a cell may make, and
// compiles that into the filter of package seccomp.
//
// Package seccomp calls it where it has no compiled filter, and its test
// everywhere: compiling takes 20 ms of processor time, too long for the start of
// every cell. It must never depend on what is being run.
package rules

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/seccomp"
)

// namespaceFlags are the flags of clone(2) that make namespaces.
const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWTIME

// low masks an argument that the kernel takes as 32 bits: it ignores the upper
// half, so a filter that looked at it could be led astray.
const low = 0xffffffff

// Build compiles the filter into instructions as seccomp(2) takes them, of 8 bytes
// and little-endian. It is deterministic for an architecture.
//
// In order: ioctls that type into a terminal and modes that would make a file
// run as its owner are refused; the allowlist; what is
// forbidden by name gets EPERM; anything else, clone3 and calls of later kernels
// included, gets ENOSYS, on which libraries fall back to older calls.
func Build() ([]byte, error) { return build(nil) }

// Preparing are the calls beyond those of a program by which a stage makes the view of a
// call. clone(2) is among them for its flags that make namespaces.
func Preparing() []uintptr {
	return []uintptr{unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_UNSHARE, unix.SYS_SETHOSTNAME, unix.SYS_CLONE}
}

// BuildPreparing compiles the filter that allows Preparing beside what Build allows.
func BuildPreparing() ([]byte, error) { return build(Preparing()) }

func build(further []uintptr) ([]byte, error) {
	allowed := everything(allowCommon, allowArch).Merge(argumentRules())
	for _, nr := range further {
		if allowed.Has(nr) {
			allowed.Remove(nr)
		}
		allowed.Set(nr, seccomp.MatchAll{})
	}
	perm := seccomp.ReturnError.Code(uint16(unix.EPERM))
	nosys := seccomp.ReturnError.Code(uint16(unix.ENOSYS))
	program := seccomp.Program{
		RuleSets: []seccomp.RuleSet{
			{Rules: terminalRules(), Action: perm},
			{Rules: privilegeRules(), Action: perm},
			{Rules: allowed, Action: seccomp.Allow},
			{Rules: everything(forbidCommon, forbidArch), Action: perm},
		},
		Options: seccomp.ProgramOptions{
			DefaultAction: nosys,
			BadArchAction: perm,
			HotSyscalls:   []uintptr{unix.SYS_READ, unix.SYS_WRITE, unix.SYS_FUTEX},
		},
	}
	instructions, _, err := program.Build()
	if err != nil {
		return nil, fmt.Errorf("build seccomp filter: %w", err)
	}
	out := make([]byte, 0, len(instructions)*8)
	for _, i := range instructions {
		out = binary.LittleEndian.AppendUint16(out, i.OpCode)
		out = append(out, i.JumpIfTrue, i.JumpIfFalse)
		out = binary.LittleEndian.AppendUint32(out, i.K)
	}
	return out, nil
}

func everything(lists ...[]uintptr) seccomp.SyscallRules {
	rules := seccomp.NewSyscallRules()
	for _, list := range lists {
		for _, nr := range list {
			rules.Set(nr, seccomp.MatchAll{})
		}
	}
	return rules
}

// terminalRules match the ioctls that put input into a terminal, with which a
// program could type commands for whoever comes after it.
func terminalRules() seccomp.SyscallRules {
	return seccomp.MakeSyscallRules(map[uintptr]seccomp.SyscallRule{
		unix.SYS_IOCTL: seccomp.Or{
			seccomp.PerArg{seccomp.AnyValue{}, seccomp.MaskedEqual(low, unix.TIOCSTI)},
			seccomp.PerArg{seccomp.AnyValue{}, seccomp.MaskedEqual(low, unix.TIOCLINUX)},
		},
	})
}

// modeArgument says where a call takes the mode of a file.
type modeArgument struct {
	index   int
	creates bool // the argument before has flags, and the mode counts with O_CREAT or O_TMPFILE only
}

// modeCommon are the calls that take a mode on every architecture.
var modeCommon = map[uintptr]modeArgument{
	unix.SYS_FCHMOD: {index: 1}, unix.SYS_FCHMODAT: {index: 2}, unix.SYS_FCHMODAT2: {index: 2},
	unix.SYS_MKNODAT: {index: 2}, unix.SYS_OPENAT: {index: 3, creates: true},
}

// privilegeRules match the calls that would give a file the set-user-id or
// set-group-id bit. A workspace can be a directory of the machine whose files
// belong to its owner there, root for one: nosuid holds in the cell, but such a
// file would be a way up for everybody else on the machine. openat2(2) has its
// mode behind a pointer, where no filter can see it; it is not in the allowlist.
// mkdir(2) takes neither bit.
func privilegeRules() seccomp.SyscallRules {
	rules := seccomp.NewSyscallRules()
	for _, calls := range []map[uintptr]modeArgument{modeCommon, modeArch} {
		for nr, mode := range calls {
			rules.Set(nr, mode.privileged())
		}
	}
	return rules
}

func (m modeArgument) privileged() seccomp.SyscallRule {
	flags := []seccomp.ValueMatcher{seccomp.AnyValue{}}
	if m.creates {
		const tmpfile = unix.O_TMPFILE &^ unix.O_DIRECTORY
		flags = []seccomp.ValueMatcher{seccomp.MaskedEqual(unix.O_CREAT, unix.O_CREAT), seccomp.MaskedEqual(tmpfile, tmpfile)}
	}
	var rule seccomp.Or
	for _, flag := range flags {
		for _, bit := range []uintptr{unix.S_ISUID, unix.S_ISGID} {
			args := seccomp.PerArg{seccomp.AnyValue{}, seccomp.AnyValue{}, seccomp.AnyValue{}, seccomp.AnyValue{}}
			args[m.index-1], args[m.index] = flag, seccomp.MaskedEqual(bit, bit)
			rule = append(rule, args)
		}
	}
	return rule
}

// argumentRules allow calls for some values of their arguments.
func argumentRules() seccomp.SyscallRules {
	family := func(f uintptr) seccomp.PerArg { return seccomp.PerArg{seccomp.MaskedEqual(low, f)} }
	var personas seccomp.Or
	for _, p := range []uintptr{0, 0x8, 0x20000, 0x20008, 0xffffffff} {
		personas = append(personas, seccomp.PerArg{seccomp.MaskedEqual(low, p)})
	}
	return seccomp.MakeSyscallRules(map[uintptr]seccomp.SyscallRule{
		unix.SYS_CLONE:       seccomp.PerArg{seccomp.MaskedEqual(namespaceFlags, 0)},
		unix.SYS_IOCTL:       seccomp.MatchAll{},
		unix.SYS_PERSONALITY: personas,
		unix.SYS_SOCKETPAIR:  family(unix.AF_UNIX),
		unix.SYS_SOCKET: seccomp.Or{
			family(unix.AF_UNIX), family(unix.AF_INET), family(unix.AF_INET6),
			// getaddrinfo asks the kernel for its addresses; nothing else of netlink.
			seccomp.PerArg{
				seccomp.MaskedEqual(low, unix.AF_NETLINK),
				seccomp.AnyValue{},
				seccomp.MaskedEqual(low, unix.NETLINK_ROUTE),
			},
		},
	})
}
