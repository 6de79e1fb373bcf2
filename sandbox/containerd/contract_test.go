package containerd_test

import (
	"testing"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

func TestContract(t *testing.T) {
	requireRoot(t)
	sandboxtest.Run(t, func(t *testing.T) sandbox.Runtime { return start(t, testConfig(t)) })
}

func TestIsolation(t *testing.T) {
	requireRoot(t)
	sandboxtest.RunIsolation(t, func(t *testing.T) sandbox.Runtime { return start(t, testConfig(t)) })
}

func TestInteractive(t *testing.T) {
	requireRoot(t)
	sandboxtest.RunInteractive(t, func(t *testing.T) sandbox.Runtime { return start(t, testConfig(t)) })
}
