package facts

import (
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkAnalyzeShell is the part of a decision that facts are: the smallest script, and a short pipeline of five
// commands. With osroot the workspace is a directory of the machine, opened for the call as the gate does it.
func BenchmarkAnalyzeShell(b *testing.B) {
	dir := b.TempDir()
	for _, name := range []string{"README.md", "src/a.go", "sub/x"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name, script string
		commands     int
	}{
		{"true", "true", 1},
		{"pipeline", `git -C sub log --oneline | grep -v "fix" && cat README.md src/*.go; sh -c 'ls -la' > /dev/null`, 5},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if sh := AnalyzeShell(tt.script, Options{Root: testFS}); len(sh.Commands) != tt.commands {
					b.Fatal("commands", len(sh.Commands))
				}
			}
		})
		b.Run(tt.name+"_osroot", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				root, err := OpenOSRoot(dir)
				if err != nil {
					b.Fatal(err)
				}
				if sh := AnalyzeShell(tt.script, Options{Root: root}); len(sh.Commands) != tt.commands {
					b.Fatal("commands", len(sh.Commands))
				}
				if err := root.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
