package facts

import (
	"strings"
	"testing"
	"time"
)

// TestHostileProgramsAreBounded feeds the readers of options, awk, sed, Python and kubectl what makes them repeat
// themselves the most. The bound is far above what any of them needs.
func TestHostileProgramsAreBounded(t *testing.T) {
	long := strings.Repeat("a", 50_000)
	for name, script := range map[string]string{
		"awk":      `awk '` + strings.Repeat(`print | "rm x";`, 3_000) + `'`,
		"awk open": `awk '` + strings.Repeat(`print > x "`, 4_000) + `'`,
		"sed":      `sed '` + strings.Repeat(`s/a/b/w o`+"\n", 4_000) + `'`,
		"sed open": `sed '` + strings.Repeat(`s/`, 20_000) + `'`,
		"sed addr": `sed '` + strings.Repeat(`/a/,`, 15_000) + `'`,
		"perl":     `perl -e '` + strings.Repeat("system(", 8_000) + `'`,
		"perl run": `perl -e '` + strings.Repeat(`system("perl -e x");`, 2_500) + `'`,
		"nested":   strings.Repeat(`perl -e 'system("`, 40) + "rm x",
		"make":     `make ` + strings.Repeat("'$(shell rm x)' ", 3_000),
		"cluster":  `kubectl -` + long + ` get`,
		"kubectl":  `kubectl get ` + strings.Repeat("a,", 20_000) + " " + strings.Repeat("b ", 500),
		"push":     `git push o ` + strings.Repeat("+a:b ", 9_000),
		"config":   `git ` + strings.Repeat("-c alias.x=!ls ", 3_000) + "x",
		"params":   `GIT_CONFIG_PARAMETERS="` + strings.Repeat("'a.b=c' ", 7_000) + `" git log`,
		"vars":     strings.Repeat("x='a[$(ls)]';", 4_000) + "((x))",
		"aliases":  "shopt -s expand_aliases\n" + strings.Repeat("alias a='ls;ls;ls';", 3_000),
		"prompts":  strings.Repeat("PS4='$(ls)';", 4_000),
		"python":   `python3 -c '` + strings.Repeat("import os;os.system(\"ls\")\n", 2_000) + `'`,
		"pythons":  strings.Repeat("python3 -c 'import os;os.system(\"ls\")';", 1_400),
		"binds":    `python3 -c '` + strings.Repeat("a=b;b=a;c=a;a=c;", 3_500) + "a()'",
		"tar":      `tar ` + strings.Repeat("-f ", 20_000),
		"rm":       `rm ` + strings.Repeat("x ", 19_000),
		"curl":     `curl ` + strings.Repeat("-d @x ", 9_000),
		"globs":    `grep x ` + strings.Repeat("* ", 15_000),
		"hash":     strings.Repeat("hash -p ", 30) + "x",
		"sources":  strings.Repeat("source <(echo ", 200) + strings.Repeat(")", 200),
		"editor":   `vim -c '` + strings.Repeat("!ls|", 15_000) + `'`,
	} {
		start := time.Now()
		sh := AnalyzeShell(script, Options{Root: testFS})
		took := time.Since(start)
		if len(sh.Commands) > hardCommands || took > 10*time.Second {
			t.Errorf("%s: %d commands in %v", name, len(sh.Commands), took)
		}
		t.Logf("%s: %d commands, overflow %v, %v", name, len(sh.Commands), sh.Overflow, took)
	}
}
