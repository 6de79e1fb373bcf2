package repo

import (
	"testing"

	"github.com/sandgate/sandgate/internal/config"
)

// TestExampleConfigurationIsValid: who copies the example gets a daemon.
func TestExampleConfigurationIsValid(t *testing.T) {
	parsed, err := config.Parse(read(t, "deploy/sandgated.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	parsed = parsed.WithDefaults(0)
	if err := parsed.Validate(); err != nil {
		t.Error(err)
	}
}
