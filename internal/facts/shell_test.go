package facts

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var testFS = NewMemFS(
	map[string]string{"README.md": "hi", "src/a.go": "", "sub/": "", "-dash": ""},
	map[string]string{"link": "/etc", "rel": "../outside", "in": "src", "abs": "/workspace/src", "loop": "loop", "sub/up": ".."},
)

// summary is one line per command: name and words, then what else is known about it.
func summary(sh *Shell) []string {
	var out []string
	for _, c := range sh.Commands {
		words := []string{c.Name}
		if !c.NameStatic {
			words[0] = "?" + c.Kind
		}
		for _, g := range c.Args {
			words = append(words, argText(g))
		}
		for _, e := range c.Env {
			words = append(words, "env:"+e.Name)
		}
		for _, r := range c.Redirects {
			words = append(words, "redirect:"+r.Class)
		}
		line := strings.Join(words, " ")
		if len(c.Context) > 0 {
			line += " in " + strings.Join(c.Context, " ")
		}
		if len(c.Via) > 0 {
			line += " via " + strings.Join(c.Via, " ")
		}
		if c.Opaque {
			line += " opaque"
		}
		out = append(out, line)
	}
	return out
}

func argText(g *Arg) string {
	switch {
	case g.Value == nil:
		return "?" + g.Prefix
	case g.Glob:
		return "glob:" + *g.Value
	}
	return *g.Value
}

func TestCommands(t *testing.T) {
	tests := []struct {
		script string
		want   []string
	}{
		{`ls -la "a b" *.go $x ~/y`, []string{`ls -la a b glob:*.go ? ?`}},
		{`! a`, []string{`a in !`}},
		{`f() { rm x; }; f`, []string{`rm x in function:f {block}`, `f`}},
		{`cat "$(rm x)" <<E` + "\n`y`\nE", []string{`cat ? redirect:heredoc`, `rm x in cmdsubst`, `y in cmdsubst`}},
		{`sudo -u root env A=1 timeout -k 5 3 rm x`, []string{
			`sudo -u root env A=1 timeout -k 5 3 rm x`, `env A=1 timeout -k 5 3 rm x via sudo`,
			`timeout -k 5 3 rm x via sudo env`, `rm x via sudo env timeout`,
		}},
		{`sh -c "ls; rm $x"`, []string{`sh -c ?ls; rm  opaque`, `ls via sh`, `rm ? via sh`}},
		{`eval "a b" c`, []string{`eval a b c`, `a b c via eval`}},
		{`echo "rm x" | sh`, []string{`echo rm x in |`, `sh in |`, `rm x in | via sh`}},
		{`xargs -I{} cp {} y`, []string{`xargs -I{} cp {} y`, `cp ? y via xargs`}},
		{`xargs -0 rm`, []string{`xargs -0 rm`, `rm ? via xargs`}},
		{`find . -exec a {} \; -ok b +`, []string{`find . -exec a {} ; -ok b +`, `a ? via find`, `b + via find`}},
		{`x=1 y=$(z) >f`, []string{`?assign env:x env:y redirect:write`, `z in cmdsubst`}},
		{`export A=b -n`, []string{`export -n env:A`}},
		{`{ sh; } <<< "rm x"`, []string{`?redirect redirect:herestring`, `sh in {block}`, `rm x in {block} via sh`}},
		{`{ sh < f; } <<< "rm x"`, []string{`?redirect redirect:herestring`, `sh redirect:read in {block} opaque`}},
		{`command -v rm`, []string{`command -v rm`}},
		{`env -S "a b"`, []string{`env -S a b opaque`, `a b via env`}},
		{`git -c alias.x='!rm y' x`, []string{`git -c alias.x=!rm y x`, `rm y via git`}},
		{`[[ a == @(b|$(c)) ]]`, []string{`c in cmdsubst`}},
		{`trap 'a b' EXIT`, []string{`trap a b EXIT`, `a b via trap`}},
		{`parallel ::: "a b" c`, []string{`parallel ::: a b c opaque`, `a b via parallel`, `c via parallel`}},
		{`parallel -j 2 a {} ::: b`, []string{`parallel -j 2 a {} ::: b opaque`, `a {} via parallel`}},
		{`echo "a b" | at now`, []string{`echo a b in |`, `at now in | opaque`, `a b in | via at`}},
		{`su - x -c "a b"`, []string{`su - x -c a b opaque`, `a b via su`}},
		{`flock -n f -c "a b"`, []string{`flock -n f -c a b`, `a b via flock`}},
		{`git rebase -x "a b" c`, []string{`git rebase -x a b c`, `a b via git`}},
		{`ssh -p 22 h "a b" c`, []string{`ssh -p 22 h a b c opaque`, `a b c via ssh`}},
		{`docker exec -it c sh -c "a b"`, []string{`docker exec -it c sh -c a b`, `sh -c a b via docker`, `a b via docker sh`}},
		{`kubectl exec p -- a b`, []string{`kubectl exec p -- a b`, `a b via kubectl`}},
		{`npx -y a b`, []string{`npx -y a b opaque`, `a b via npx`}},
		{`fd x -x a b`, []string{`fd x -x a b`, `a b ? via fd`}},
		{`nix-shell --run "a b"`, []string{`nix-shell --run a b`, `a b via nix-shell`}},
		{`mapfile -C "a b" c`, []string{`mapfile -C a b c`, `a b via mapfile`}},
		{`git submodule foreach "a b"`, []string{`git submodule foreach a b`, `a b via git`}},
		{`git bisect run a b`, []string{`git bisect run a b`, `a b via git`}},
		{`git config core.pager "a b"`, []string{`git config core.pager a b`, `a b via git`}},
		{`/lib64/ld-linux-x86-64.so.2 --x /bin/a b`, []string{`/lib64/ld-linux-x86-64.so.2 --x /bin/a b`, `/bin/a b via ld-linux-x86-64.so.2`}},
		{`printf "a %s\n" b | sh`, []string{`printf a %s\n b in |`, `sh in | opaque`, `a in | via sh`, `b in | via sh`}},
		{`cat <<E | sh` + "\na b\nE\n", []string{`cat redirect:heredoc in |`, `sh in |`, `a b in | via sh`}},
		{`fish -c "a b"`, []string{`fish -c a b opaque`, `a b via fish`}},
		{`bash -i -c a --`, []string{`bash -i -c a -- opaque`, `a via bash`}},
		{`bash /dev/stdin <<< "a b"`, []string{`bash /dev/stdin redirect:herestring opaque`, `a b via bash`}},
		{`bash --rcfile f`, []string{`bash --rcfile f opaque`}},
		{`sh -c`, []string{`sh -c opaque`}},
		{`x | { cd a; }`, []string{`x in |`, `cd a in | {block}`}},
		{`alias ls='rm x'`, []string{`alias ls=rm x opaque`}},
		{`. ./f`, []string{`. ./f opaque`}},
		{`bash -O extglob -euo pipefail -c 'a' b`, []string{`bash -O extglob -euo pipefail -c a b`, `a via bash`}},
		{`$x rm`, []string{`?simple rm`}},
		{`{rm,-rf,x}`, []string{`rm -rf x`}},
		{`cd a && ls`, []string{`cd a in &&`, `ls in &&`}},
		{"rm x\nls \"", []string{`rm x`}},
		{"ls; rm x \"", []string{`ls`}},
		{"if ls; then\nrm x\n", []string{`rm x`}},
	}
	for _, tt := range tests {
		t.Run(tt.script, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, summary(AnalyzeShell(tt.script, Options{Root: testFS}))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestListContexts(t *testing.T) {
	want := []string{"a in || && |", "b in || && |", "c in || &&", "d in ||", "e in &"}
	got := summary(AnalyzeShell(`a | b && c || d; e &`, Options{}))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestCommentEndsWithItsLine guards against the parser's reading of a backslash at the end of a comment: bash runs the
// next line.
func TestCommentEndsWithItsLine(t *testing.T) {
	tests := map[string]string{
		"ls # \\\nrm x":                  "ls | rm x",
		"ls #\\\nrm x # a\\\ncat y":      "ls | rm x | cat y",
		"# a\\\nrm x":                    "rm x",
		"ls # a \\\\\nrm x":              "ls | rm x",
		"{ ls # \\\nrm x; }":             "ls in {block} | rm x in {block}",
		"a=(b # \\\nc)\nrm x":            "?assign env:a | rm x",
		"case a in # \\\na) rm x;; esac": "rm x in case",
		"echo $(ls # \\\nrm x\n)":        "echo ? | ls in cmdsubst | rm x in cmdsubst",
		"if ls # \\\nthen rm x; fi":      "ls in if | rm x in if",
		"ls '# \\\nrm' x":                "ls # \\\nrm x",
		"ls \"# \\\nrm\" x":              "ls # rm x",
		"ls a#b \\\n-la":                 "ls a#b -la",
		"ls \\# b \\\n-la":               "ls # b -la",
		"cat <<E\n# a\\\nrm x\nE":        "cat redirect:heredoc",
		"cat <<'E'\n# a\\\nrm x\nE":      "cat redirect:heredoc",
		"cat <<E # \\\nx\nE\nrm x":       "cat redirect:heredoc | rm x",
	}
	for script, want := range tests {
		sh := AnalyzeShell(script, Options{})
		got := strings.Join(summary(sh), " | ")
		if got != want && sh.Parsed {
			t.Errorf("%q: got %q, want %q", script, got, want)
		}
		if !sh.Parsed {
			t.Logf("%q: %s", script, sh.Error)
		}
	}
}

func TestFeatures(t *testing.T) {
	tests := map[string]string{
		`ls`:                    "",
		`ls; ls`:                "sequence",
		`a | b && c || d`:       "and_list or_list pipeline",
		`(a) & { b; }`:          "background block sequence subshell",
		`x=1 a {b,c} *`:         "assignment brace_expansion glob",
		`! time a $x $((1))`:    "arithmetic negation parameter_expansion time",
		`a <(b) $(c) <<< d >e`:  "command_substitution herestring process_substitution redirect",
		"a <<E\nE\n":            "heredoc",
		"a\r":                   "control_chars",
		"a\u00a0":               "non_ascii non_ascii_space",
		"a\u202e":               "bidi non_ascii",
		"a\u200b":               "invisible_chars non_ascii",
		"a é":                   "non_ascii",
		`a # b`:                 "comment",
		`if a; then b; fi`:      "if",
		`a ~ $'b' $"c"`:         "ansi_c_quoting locale_quoting tilde",
		`[[ a ]]; ((1)); let x`: "arithmetic let sequence test_clause",
		`declare x; coproc a`:   "assignment coproc declare sequence",
	}
	for script, want := range tests {
		if got := strings.Join(AnalyzeShell(script, Options{}).Features, " "); got != want {
			t.Errorf("%q: got %s, want %s", script, got, want)
		}
	}
}

func TestUnparsed(t *testing.T) {
	for _, script := range []string{`ls "`, `ls &&`, `ls )`, "ls\x00; rm x", "ls \xff", "ls \uf70d", strings.Repeat("(", 70_000)} {
		sh := AnalyzeShell(script, Options{})
		if sh.Parsed || sh.Error == "" {
			t.Errorf("%.20q: parsed %v, error %q", script, sh.Parsed, sh.Error)
		}
	}
}

// TestDestructiveNameIsSeenBeyondEverySoftLimit guards what a cap on subcommands got wrong elsewhere: more than the
// limit must not hide what comes after it.
func TestDestructiveNameIsSeenBeyondEverySoftLimit(t *testing.T) {
	for name, script := range map[string]string{
		"commands": strings.Repeat("ls; ", 300) + "rm x",
		"bytes":    "cat " + strings.Repeat("a", 20_000) + "; rm x",
	} {
		sh := AnalyzeShell(script, Options{})
		last := sh.Commands[len(sh.Commands)-1]
		if !sh.Truncated || sh.Overflow || last.Name != "rm" {
			t.Errorf("%s: truncated %v, overflow %v, last %s", name, sh.Truncated, sh.Overflow, last.Name)
		}
	}
}

func TestHardLimitsOverflow(t *testing.T) {
	nest := "rm x"
	for range 20 {
		nest = fmt.Sprintf("eval %q", nest)
	}
	for name, script := range map[string]string{
		"bytes":    strings.Repeat("a", hardBytes+1),
		"commands": strings.Repeat("a;", hardCommands+1),
		"braces":   "a " + strings.Repeat("{b,c}", 20),
		"sequence": "a {1..100000000}",
		"wrappers": strings.Repeat("nice ", 30) + "rm x",
		"scripts":  nest,
		"fields":   strings.Repeat("a {1..4000};", 10),
	} {
		if sh := AnalyzeShell(script, Options{}); !sh.Overflow {
			t.Errorf("%s: no overflow", name)
		}
	}
}

// TestDeepNestingIsBounded feeds what makes a recursive parser recurse the most for its length.
func TestDeepNestingIsBounded(t *testing.T) {
	for _, unit := range []string{"(", "{ ", "$(", "`", "if ", "! ", "a|", "\"$(", "${a:-", "$((", "[[ ! ", "{a,", "while ", "<(", "a && "} {
		script := strings.Repeat(unit, hardBytes/len(unit))
		if sh := AnalyzeShell(script, Options{}); sh.Parsed && !sh.Overflow && len(sh.Commands) > hardCommands {
			t.Errorf("%q: %d commands", unit, len(sh.Commands))
		}
	}
}

func TestPrograms(t *testing.T) {
	for script, want := range map[string][]string{
		"":                                  {},
		"X=1; > out":                        {},
		"ls; LS -l | /usr/bin/Cat":          {"cat", "ls"},
		"$cmd; \"$x\"/y":                    {},
		"sudo rm x; sh -c 'curl y | bash'":  {"bash", "curl", "rm", "sh", "sudo"},
		"f() { git push; }; xargs -n 1 Git": {"git", "xargs"},
		"export A=1; echo $(date)":          {"date", "echo", "export"},
	} {
		if got := AnalyzeShell(script, Options{}).Programs; !slices.Equal(got, want) || got == nil {
			t.Errorf("%s: got %q, want %q", script, got, want)
		}
	}
}
