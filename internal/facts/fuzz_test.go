package facts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var wordSeeds = []string{
	`a b c`, `'a b' "c d"`, `r''m r"m" \rm`, `$'\x41\n\101' $"x"`, `{a,b}{c,d} {1..3} {01..10..4} {a..e}`, `a\ b`,
	`"a\$b\"c\\d\e"`, `{a,} {,} x{,}`, `{a,b`, `a}b {x} {}`, `'{a,b}' "{a,b}" \{a,b}`, `a#b '#' \#`, `-- -x --y=z`,
	`$'\c?' $'\cA' $'\e' $'\q' $'\u00e9\U0001F600'`, `$'a\0b'c`, `é "ü"`, `a\` + "\n" + `b`, `"a\` + "\n" + `b"`, `'a` + "\n" + `b'`,
	`{a,"b,c"} {'a,b',c}`, `{a..c}x{1..2}`, `a=~ a=b:c`, `{a,{b,c},d}`, `\` + "\t" + `x`, `""`, `'' "" a`, `a"b"'c'd`, `{-1..1}`, `{3..1}`, `{a,b}=c`,
	`a{b,c}d"e{f,g}"`, `$'\'' "'" '"'`, `!x ! a`, `^a a^b`, `a,b a..b {a..b..c}`, `@ % + =`, `a:b:c`, `time in for`, `x{a,b\,c}`, "a\rb", `{"a",b}`,
	`"\` + "`" + `"`, `[ a ]`, `a]`, `{1..2..0}`, `{a,b}{`, `}{a,b}`, `{{a,b}}`, `{,a}`, `{a,,b}`, `$'\x'`, `$'\x{41}'`, `$'\7' $'\777'`, `{1,2..3}`, `{1..2,3}`, `a{1..2}{3,4}b`, "{\r0..0}", "{0..1\f}",
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

var scriptSeeds = []string{
	"a x; b y && c z || d", "a # b\nc", "a # b \\\nc", "a <<E; b\n# x \\\nc $y\nE\nd", "a \\\nb", "a | b |& c", "! a; b", "a;b#c", "a\n\n b \t c\n",
	"a <<-E\n\tE\n\tb\n\tE\nb", "a <<'E' <<F\n$(b)\nE\nx\nF\nc", "a 'b\nc' \"d\ne\"\nf", "{ a; b; }", "(a; b)", "if a; then b; else c; fi", "a & b",
	"while a; do b; break; done", "for i in 1; do a; done", "case x in x) a;; y) b;; esac", "a $(b) `c`", "a <<< b", "time a", "f() { a; }; f", "a=1 b", "a=1; b",
	"[[ x == x ]] && a", "((1)) && a", "a \"$(b \"$(c)\")\"", "a `b \\`c\\``", "eval 'a; b'", "a <<E\n`b`\n$(c)\nE", "a;# b\\\nc", "a 2>&1", "{ a\n}", "a ${x:-$(b)}",
	"a \"# \\\nb\" # \\\nc", "case a in (a) b ;& c) d ;;& *) e; esac", "a\\\n#b\nc", "a <<\\E\n\\\nE\nb", "a <<E\\\nF\nx\nEF\nb", "a <<\"E F\"\nE F\nb",
	"a <<E\nE\\\n\nb x\nE", "a <<-E\n\tE\\\nF\nE\nb", "a <<\"E\\$\"\nE$\nb\nE\\$", "a <<é\né\nb\né", "a <<'é'\né\nb", "a <<E\"F\"\n$(b)\nEF\nc", "a <<$'E'\nE\nb",
	"a <<A <<B\nA\\\n\n\\\nB\nb\nB", "a $(b <<E\nx\nE)\nc", "a <<E; b <<F\n${x:-$(c)}\nE\nF\nd", "a `b <<E\nE\n`\nc", "{ a <<E; }\n\\\\\nE\nb", "! ! a", "time -- a",
	"a\"\nb\"0&7", "#\\\n\"$\\\n#\"", "a \"$\\\n(b)\"", "a $\\\n(b)", "a <<E\n$\\\n(b)\nE", "a \"$\\\n\\\n(b)\"",
}

// FuzzShellCommands holds the list of commands against bash: every command that bash runs must be in it. Every name
// but a few builtins is unknown to bash here, so that its own hook reports it instead of anything being run.
func FuzzShellCommands(f *testing.F) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		f.Skip("needs bash to compare with")
	}
	for _, s := range scriptSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, script string) {
		if len(script) > 300 || strings.ContainsAny(script, ">/~*?[\x00\x01") {
			return
		}
		sh := AnalyzeShell(script, Options{})
		if !sh.Parsed || sh.Overflow || sh.Opaque || len(sh.Functions) > 0 {
			return
		}
		known := map[string]bool{}
		for _, c := range sh.Commands {
			if !c.NameStatic {
				return // it could be anything
			}
			known[strings.ReplaceAll(c.Name, "\n", "\x01")] = true // as the hook writes it
		}
		for _, name := range bashCommands(t, bash, script) {
			if !known[name] {
				t.Errorf("bash runs %q in %q; the facts know %q", name, script, sortedKeys(known))
			}
		}
	})
}

func bashCommands(t *testing.T, bash, script string) []string {
	t.Helper()
	// One name is one write, also beside a command in the background: bash writes at each line's end.
	const hook = "command_not_found_handle() { builtin printf '%s\\0' \"${1//$'\\n'/$'\\1'}\" >&9; }\n" +
		"enable -n kill exec exit return source . cd pushd popd dirs trap alias unalias wait read mapfile readarray suspend " +
		"logout ulimit umask bind history fc complete compgen compopt set shopt hash disown jobs fg bg times enable\n"
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, errors.New("the script does not end"))
	defer cancel()
	cmd := exec.CommandContext(ctx, bash, "--norc", "--noprofile", "-c", hook+script)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"LC_ALL=C.UTF-8", "PATH=/nonexistent", "HOME=/nonexistent"}
	cmd.ExtraFiles = []*os.File{in, in, in, in, in, in, in} // descriptor 9 is the last of them
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	runErr := cmd.Run() // its failure is of no interest: most scripts fail
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err) // what it left in the background
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := out.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got, readErr := io.ReadAll(out)
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if len(got) == 0 {
		t.Logf("bash: %v, read: %v", runErr, readErr)
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(got), "\x00"), "\x00")
}
