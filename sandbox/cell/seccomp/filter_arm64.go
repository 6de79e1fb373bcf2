package seccomp

import (
	"golang.org/x/sys/unix"

	"github.com/sandgate/sandgate/sandbox/cell/seccomp/rules"
)

const auditArch = unix.AUDIT_ARCH_AARCH64

// Build compiles the filter.
func Build() (Program, error) { return rules.Build() }

func preparing() (Program, error) { return rules.BuildPreparing() }
