//go:build linux && (amd64 || arm64)

// Package seccomp holds the system call filter of the inner wall: the one that
// every program in a cell runs under, inside the outer one of the container.
// What it allows is said in package rules.
//
// sandgate-init calls it once at its start. It installs nothing itself, and it
// must never depend on what is being run: there is one filter, so that its
// digest in a receipt means the same for every call.
package seccomp

import (
	"crypto/sha256"
	"encoding/hex"
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
