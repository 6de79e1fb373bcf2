package facts

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var wordSeeds = []string{
	`a b c`, `'a b' "c d"`, `r''m r"m" \rm`, `$'\x41\n\101' $"x"`, `{a,b}{c,d} {1..3} {01..10..4} {a..e}`, `a\ b`,
	`"a\$b\"c\\d\e"`, `{a,} {,} x{,}`, `{a,b`, `a}b {x} {}`, `'{a,b}' "{a,b}" \{a,b}`, `a#b '#' \#`, `-- -x --y=z`,
	`$'\c?' $'\cA' $'\e' $'\q' $'\u00e9\U0001F600'`, `$'a\0b'c`, `é "ü"`, `a\` + "\n" + `b`, `"a\` + "\n" + `b"`, `'a` + "\n" + `b'`,
	`{a,"b,c"} {'a,b',c}`, `{a..c}x{1..2}`, `a=~ a=b:c`, `{a,{b,c},d}`, `\` + "\t" + `x`, `""`, `'' "" a`, `a"b"'c'd`, `{-1..1}`, `{3..1}`, `{a,b}=c`,
	`a{b,c}d"e{f,g}"`, `$'\'' "'" '"'`, `!x ! a`, `^a a^b`, `a,b a..b {a..b..c}`, `@ % + =`, `a:b:c`, `time in for`, `x{a,b\,c}`, "a\rb", `{"a",b}`,
	`"\` + "`" + `"`, `[ a ]`, `a]`, `{1..2..0}`, `{a,b}{`, `}{a,b}`, `{{a,b}}`, `{,a}`, `{a,,b}`, `$'\x'`, `$'\x{41}'`, `$'\7' $'\777'`, `{1,2..3}`, `{1..2,3}`, `a{1..2}{3,4}b`,
}

// FuzzShellFacts holds the quote removal against bash itself: where the facts call the argv of a single command static,
// bash must produce the very same words. Bash runs restricted, in an empty directory, and the only command that the
// facts have seen in the script is a function that prints its arguments.
func FuzzShellFacts(f *testing.F) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		f.Skip("needs bash to compare with")
	}
	for _, s := range wordSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, words string) {
		if len(words) > 500 {
			return
		}
		want, ok := staticWords(words)
		if !ok {
			return
		}
		got, stderr := bashWords(t, bash, words)
		if !slices.Equal(got, want) {
			t.Errorf("words %q\nbash  %q\nfacts %q\nstderr %s", words, got, want, stderr)
		}
	})
}

// staticWords returns what the facts say argv_dump would get, if they call all of it static.
func staticWords(words string) ([]string, bool) {
	sh := AnalyzeShell("argv_dump "+words, Options{})
	if !sh.Parsed || sh.Overflow || len(sh.Commands) != 1 || len(sh.Functions)+len(sh.Aliases) > 0 {
		return nil, false
	}
	c := sh.Commands[0]
	if c.Name != "argv_dump" || !c.Static || len(c.Env)+len(c.Redirects)+len(c.Context) > 0 {
		return nil, false
	}
	for _, feature := range sh.Features {
		switch feature {
		case FeatureBraceExpansion, FeatureANSIQuote, FeatureLocaleQuote, FeatureNonASCII, FeatureControlChars,
			FeatureBidi, FeatureNonASCIISpace, FeatureInvisible, FeatureComment:
		default:
			return nil, false
		}
	}
	var out []string
	for _, g := range c.Args {
		if strings.ContainsRune(*g.Value, 0) {
			return nil, false
		}
		out = append(out, *g.Value)
	}
	return out, true
}

func bashWords(t *testing.T, bash, words string) (got []string, stderr string) {
	t.Helper()
	const dump = "argv_dump() { builtin printf '%s\\0' \"$#\" \"$@\"; }\n"
	cmd := exec.Command(bash, "--norc", "--noprofile", "-r", "-c", dump+"argv_dump "+words)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"LC_ALL=C.UTF-8", "PATH=/nonexistent", "HOME=/nonexistent"}
	cmd.WaitDelay = 10 * time.Second
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil && len(out) == 0 {
		return []string{"(bash: " + err.Error() + ")"}, errs.String()
	}
	fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if n, err := strconv.Atoi(fields[0]); err != nil || n != len(fields)-1 {
		return append([]string{"(bash: bad count)"}, fields...), errs.String()
	}
	if len(fields) == 1 {
		return nil, errs.String()
	}
	return fields[1:], errs.String()
}

// FuzzShellBounded throws anything at the analysis: it must not panic, must stay within its limits, and what it makes
// must be JSON.
func FuzzShellBounded(f *testing.F) {
	for _, s := range wordSeeds {
		f.Add(s)
	}
	for _, s := range []string{
		`f(){ rm x; }; f`, `sh -c "ls; rm x"`, `eval eval eval ls`, "cat <<A <<-B\n$(x)\nA\n\ty\n\tB\n", `[[ -v a[$(rm x)] ]]`,
		`echo @(a|$(b))`, `find . -exec rm {} +`, `xargs -I{} sh -c "{}"`, `{1..100000}`, `cd a; cat b; cd -; cat c`, `a=(b $(c)) d=e f`,
		`git -c alias.x='!y' -C z log`, `case a in b) c;; esac`, `coproc x { y; }`, `env -S "a b" c`, `alias a=b`, `trap 'a' b`, `echo a | sh`,
	} {
		f.Add(s)
	}
	fs := NewMemFS(map[string]string{"a/b": "", "c": ""}, map[string]string{"l": "/etc", "r": "../x", "s": "s"})
	f.Fuzz(func(t *testing.T, script string) {
		sh := AnalyzeShell(script, Options{Root: fs})
		if len(sh.Commands) > hardCommands {
			t.Errorf("%d commands", len(sh.Commands))
		}
		if !sh.Parsed && sh.Error == "" {
			t.Error("not parsed, and no reason")
		}
		for i, c := range sh.Commands {
			if c.Index != i || c.NameStatic != (c.Name != "" || c.Kind == "simple" && c.NameStatic) {
				t.Errorf("command %d: %+v", i, c)
			}
		}
		if _, err := json.Marshal(sh); err != nil {
			t.Error(err)
		}
	})
}
