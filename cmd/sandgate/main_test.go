package main

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sandgate": main})
}

// TestScripts runs the real main where there is no daemon; test/cli does it
// where there is one.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("SANDGATE_DATA_DIR", filepath.Join(e.WorkDir, "d"))
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
	})
}
