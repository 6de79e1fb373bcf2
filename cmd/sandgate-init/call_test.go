//go:build linux

package main

import "testing"

func TestCallRunsBash(t *testing.T) {
	c := startCell(t)
	r := c.run(t, base("bash", "-c", "echo hi; exit 7"))
	t.Logf("%+v\n%s%s", r.Exit, r.stdout, r.stderr)
	if r.ExitCode != 7 {
		t.Errorf("got exit code %d, want 7", r.ExitCode)
	}
}
