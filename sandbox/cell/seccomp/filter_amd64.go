package seccomp

import (
	_ "embed" // the compiled filters
	"errors"

	"golang.org/x/sys/unix"
)

const auditArch = unix.AUDIT_ARCH_X86_64

// compiled is what package rules builds for this architecture: its test writes
// it with -update.
//
//go:embed filter_amd64.bin
var compiled []byte

// compiledPreparing is likewise the first of the two parts.
//
//go:embed filter_amd64_preparing.bin
var compiledPreparing []byte

// Build returns the filter, compiled ahead.
func Build() (Program, error) { return program(compiled) }

func preparing() (Program, error) { return program(compiledPreparing) }

func program(p []byte) (Program, error) {
	if len(p) == 0 || len(p)%InstructionBytes != 0 {
		return nil, errors.New("the compiled seccomp filter is no list of instructions")
	}
	return Program(p), nil
}
