//go:build linux

package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestOnlyWhatIsGoneIsAnswered: everything else is the real shim's.
func TestOnlyWhatIsGoneIsAnswered(t *testing.T) {
	dir := t.TempDir()
	bundle, root := filepath.Join(dir, "bundle"), filepath.Join(dir, "runc")
	for _, d := range []string{bundle, filepath.Join(root, "ns", "there")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(bundle, "options.json"), []byte(`{"root":"`+root+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad")
	if err := os.MkdirAll(bad, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bad, "options.json"), []byte(`{"root":"elsewhere"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want bool
	}{
		{"gone", []string{"-namespace", "ns", "-id", "gone", "-bundle", bundle, "delete"}, true},
		{"still there", []string{"-namespace", "ns", "-id", "there", "-bundle", bundle, "delete"}, false},
		{"another action", []string{"-namespace", "ns", "-id", "gone", "-bundle", bundle, "start"}, false},
		{"no bundle", []string{"-namespace", "ns", "-id", "gone", "delete"}, false},
		{"no id", []string{"-namespace", "ns", "-bundle", bundle, "delete"}, false},
		{"id that leads elsewhere", []string{"-namespace", "ns", "-id", "../ns/gone", "-bundle", bundle, "delete"}, false},
		{"no options", []string{"-namespace", "ns", "-id", "gone", "-bundle", dir, "delete"}, false},
		{"relative root", []string{"-namespace", "ns", "-id", "gone", "-bundle", bad, "delete"}, false},
		{"value missing", []string{"delete", "-id"}, false},
	} {
		if got := isGone(c.args); got != c.want {
			t.Errorf("%s: got %t, want %t", c.name, got, c.want)
		}
	}
}
