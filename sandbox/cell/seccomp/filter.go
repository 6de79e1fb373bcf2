//go:build linux && (amd64 || arm64)

// Package seccomp holds the system call filter of the inner wall: the one that
// every program in a cell runs under, inside the outer one of the container.
// What it allows is said in package rules.
//
// sandgate-init calls it once at its start. It installs nothing itself, and it
// must never depend on what is being run: there is one filter, so that its
// digest in a receipt means the same for every call.
//
// The filter comes whole (Build) or in two programs that together refuse the same
// (Parts): the kernel takes a tenth of a millisecond to compile the whole one, which a
// process that forks many others can have behind it.
package seccomp

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"golang.org/x/sys/unix"
)

// InstructionBytes is the size of one instruction of a Program.
const InstructionBytes = 8

// Program is a filter as seccomp(2) takes it: instructions of InstructionBytes,
// little-endian.
type Program []byte

// SHA256 returns the program's digest in hexadecimal.
func (p Program) SHA256() string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:])
}

// Join is programs one after another, as their digest is made of.
func Join(programs ...Program) Program {
	var out Program
	for _, p := range programs {
		out = append(out, p...)
	}
	return out
}

// Instructions of classic BPF, and where they find what they look at.
const (
	load      = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	equal     = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	anyBit    = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	answer    = unix.BPF_RET | unix.BPF_K
	atNumber  = 0
	atArch    = 4
	atFirst   = 16 // low half of the first argument, on little-endian machines
	retAllow  = 0x7fff0000
	retErrno  = 0x00050000
	namespace = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWTIME
)

// Parts returns the filter in two programs. Under the first a process may do what a
// program may, and make namespaces and mounts, which it needs its privileges for; the
// last refuses that. Both must be installed before a program is executed, in this order.
// What is not of this architecture is the first one's to refuse.
func Parts() (first, last Program, err error) {
	if first, err = preparing(); err != nil {
		return nil, nil, err
	}
	add := func(code uint16, yes, no uint8, k uint32) {
		last = binary.LittleEndian.AppendUint16(last, code)
		last = append(last, yes, no)
		last = binary.LittleEndian.AppendUint32(last, k)
	}
	add(load, 0, 0, atArch)                //  0
	add(equal, 0, 9, auditArch)            //  1: else allow
	add(load, 0, 0, atNumber)              //  2
	add(equal, 6, 0, unix.SYS_MOUNT)       //  3: refuse
	add(equal, 5, 0, unix.SYS_UMOUNT2)     //  4: refuse
	add(equal, 4, 0, unix.SYS_UNSHARE)     //  5: refuse
	add(equal, 3, 0, unix.SYS_SETHOSTNAME) //  6: refuse
	add(equal, 0, 3, unix.SYS_CLONE)       //  7: else allow
	add(load, 0, 0, atFirst)               //  8
	add(anyBit, 0, 1, namespace)           //  9: else allow
	add(answer, 0, 0, retErrno|uint32(unix.EPERM))
	add(answer, 0, 0, retAllow)
	return first, last, nil
}
