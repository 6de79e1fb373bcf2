package seccomp

import "github.com/sandgate/sandgate/sandbox/cell/seccomp/rules"

// Build compiles the filter.
func Build() (Program, error) { return rules.Build() }
