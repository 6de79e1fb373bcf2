package facts

import "testing"

func TestBare(t *testing.T) {
	root := NewMemFS(map[string]string{"a.txt": "x", ".git/config": "x"}, map[string]string{"out": "/etc", "repo": ".git"})
	for script, want := range map[string]bool{
		"true": true, "true 17": true, "git status": true, "grep -rn x a.txt | wc -l": true, "go test ./a && make -j4": true, "ls 'a b'": true,
		"": true, "cat /etc/passwd": false, "cat ../x": false, "cat out/passwd": false, "cat .git/config": false, "rm -rf .GIT": false,
		"cat repo/config": false, "cat $X": false, "cat ~/x": false, "ls *.txt": false, "true > x": false, "X=1 true": false, "/bin/true": false,
		"dd if=x": false, "tar -C/etc": false, "tar -x..": false, "make -C../x": false, "cd a": false, "cd": false, "sed 'w /etc/x' a.txt": false,
		"cat <<< x": false, "python3 -c 'print(1)'": false, "cd x; true": false, "true $(cat a.txt)": false, "cp -t~ a.txt": false,
	} {
		if got := AnalyzeShell(script, Options{Root: root, Cwd: "/workspace"}); got.Bare != want {
			t.Errorf("%q: got %v, want %v", script, got.Bare, want)
		}
	}
	if Bare([]*Command{nil}) || Bare([]*Command{{Base: "x", Args: []*Arg{nil}}}) {
		t.Error("what is not known is bare")
	}
}
