package seccomp

import (
	_ "embed" // the compiled filter
	"errors"
)

// compiled is what package rules builds for this architecture: its test writes
// it with -update.
//
//go:embed filter_amd64.bin
var compiled []byte

// Build returns the filter, compiled ahead.
func Build() (Program, error) {
	if len(compiled) == 0 || len(compiled)%InstructionBytes != 0 {
		return nil, errors.New("the compiled seccomp filter is no list of instructions")
	}
	return Program(compiled), nil
}
