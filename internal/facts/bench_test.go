package facts

import "testing"

// BenchmarkAnalyzeShell is the part of a decision that facts are: a short pipeline of five commands.
func BenchmarkAnalyzeShell(b *testing.B) {
	const script = `git -C sub log --oneline | grep -v "fix" && cat README.md src/*.go; sh -c 'ls -la' > /dev/null`
	b.ReportAllocs()
	for b.Loop() {
		if sh := AnalyzeShell(script, Options{Root: testFS}); len(sh.Commands) != 5 {
			b.Fatal("commands", len(sh.Commands))
		}
	}
}
