//go:build linux && (amd64 || arm64)

package rules

import (
	"bytes"
	"testing"
)

func TestNothingIsBothAllowedAndForbidden(t *testing.T) {
	seen := make(map[uintptr]bool)
	for _, list := range [][]uintptr{allowCommon, allowArch, forbidCommon, forbidArch} {
		for _, nr := range list {
			if seen[nr] {
				t.Errorf("system call %d is listed twice", nr)
			}
			seen[nr] = true
		}
	}
}

// TestBuildIsDeterministic: the digest in receipts would be of no use otherwise.
func TestBuildIsDeterministic(t *testing.T) {
	first, err := Build()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(first) / 8; n > 4096 {
		t.Errorf("%d instructions, the kernel takes 4096", n)
	}
	for range 5 {
		again, err := Build()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, first) {
			t.Fatal("built another filter")
		}
	}
}
