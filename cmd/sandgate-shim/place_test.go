//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPlaceIsToldByTheName(t *testing.T) {
	for _, c := range []struct {
		name, path string
		cpu        int
		ok         bool
	}{
		{"/run/x/place/on-cpu-3", "/run/x/place/runtime", 3, true},
		{"/run/x/place/on-cpu-", "", 0, false},
		{"/run/x/place/on-cpu--1", "", 0, false},
		{"on-cpu-3", "", 0, false}, // nobody says beside what
		{"/usr/bin/sandgate-shim", "", 0, false},
	} {
		if path, cpu, ok := placed(c.name); path != c.path || cpu != c.cpu || ok != c.ok {
			t.Errorf("%s: got %q, %d, %t", c.name, path, cpu, ok)
		}
	}
}

// TestMain lets the test below run this program by another name.
func TestMain(m *testing.M) {
	if path, cpu, ok := placed(os.Args[0]); ok {
		_ = becomeOn(cpu, path, os.Args[1:])
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// TestBecomesTheRuntimeOnTheProcessor: with the same arguments, on that processor only.
func TestBecomesTheRuntimeOnTheProcessor(t *testing.T) {
	var free unix.CPUSet
	if err := unix.SchedGetaffinity(0, &free); err != nil {
		t.Fatal(err)
	}
	last := "0"
	for i := range 1024 {
		if free.IsSet(i) {
			last = strconv.Itoa(i)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	name := filepath.Join(dir, placeName+last)
	for link, target := range map[string]string{name: self, filepath.Join(dir, placeRuntime): "/bin/grep"} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), name, "Cpus_allowed_list", "/proc/self/status").CombinedOutput()
	if fields := strings.Fields(string(out)); err != nil || len(fields) != 2 || fields[1] != last {
		t.Errorf("got %q, %v; want processor %s", out, err, last)
	}
}
