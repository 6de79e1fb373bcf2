package facts

import (
	"fmt"
	"strings"
	"testing"
)

func TestRedirects(t *testing.T) {
	tests := map[string]string{
		"<README.md":            "< read README.md static inside",
		"0</etc/passwd":         "0< read /etc/passwd static outside",
		">f":                    "> write f static inside",
		"2>>f":                  "2>> append f static inside",
		">|f":                   ">| write f static inside",
		"&>f":                   "&> write f static inside",
		"&>>f":                  "&>> append f static inside",
		"<>f":                   "<> read_write f static inside",
		"2>&1":                  "2>& dup 1 static unknown",
		">&-":                   ">& dup - static unknown",
		"<&3-":                  "<& dup 3- static unknown",
		">&f":                   ">& write f static inside",
		">&$x":                  ">& write ? dynamic unknown",
		"<$x":                   "< read ? dynamic unknown",
		"<~/x":                  "< read ? dynamic unknown",
		"<*.md":                 "< read ? dynamic unknown",
		"{fd}>f":                "{fd}> write f static inside",
		"<link":                 "< read link static outside",
		"</dev/tcp/h/1":         "< read /dev/tcp/h/1 static unknown network",
		"</dev/t''cp/h/1":       "< read /dev/tcp/h/1 static unknown network",
		">/dev/udp/$h/1":        "> write ? dynamic unknown network",
		"<<<'a b'":              "<<< herestring a b static unknown",
		"<<<$x":                 "<<< herestring ? dynamic unknown",
		"<<E\n\\$a\\b\nE":       "<< heredoc $a\\b\n static unknown",
		"<<'E'\n$a\nE":          "<< heredoc $a\n static unknown",
		"<<E\n$a\nE":            "<< heredoc ? dynamic unknown",
		"<<-E\n\ta\n\tE":        "<<- heredoc a\n static unknown",
		">{a,b}":                "> write ? dynamic unknown",
		">'a\rb'":               "> write a\rb static inside",
		"</dev/null 2>/dev/tty": "< read /dev/null static outside; 2> write /dev/tty static outside",
	}
	for script, want := range tests {
		sh := AnalyzeShell("cat "+script, Options{Root: testFS})
		var got []string
		for _, r := range sh.Commands[0].Redirects {
			got = append(got, redirectText(r))
		}
		if text := strings.Join(got, "; "); text != want || !sh.Parsed {
			t.Errorf("%q: got %q, want %q (%s)", script, text, want, sh.Error)
		}
	}
}

func redirectText(r *Redirect) string {
	target, known := "?", "dynamic"
	if r.Target != nil {
		target = *r.Target
	}
	if r.Static {
		known = "static"
	}
	text := fmt.Sprintf("%s%s %s %s %s %s", r.Fd, r.Op, r.Class, target, known, strings.Fields(verdict("", r.InWorkspace))[0])
	if r.Network {
		text += " network"
	}
	return text
}

func TestWords(t *testing.T) {
	tests := map[string]string{
		`a`:             "literal",
		`'a'`:           "literal quoted",
		`*`:             "glob",
		`'*'`:           "literal quoted",
		`[a]`:           "glob",
		`[`:             "literal",
		`~/a`:           "tilde",
		`a=~`:           "tilde",
		`\~`:            "literal quoted",
		`$a`:            "dynamic splits",
		`"$a"`:          "dynamic quoted",
		`"$@"`:          "dynamic quoted splits",
		`"${a[@]}"`:     "dynamic quoted splits",
		`"${!a}"`:       "dynamic quoted splits",
		`"$(a)"`:        "dynamic quoted",
		`$(a)`:          "dynamic splits",
		`$((1))`:        "dynamic splits",
		`<(a)`:          "dynamic",
		`@(a)`:          "dynamic glob splits",
		`{a,a}`:         "literal brace",
		`$'a'`:          "literal quoted",
		`$'\xff'`:       "dynamic quoted",
		`{a..Z}`:        "dynamic brace splits",
		`{,$}0`:         "literal brace",
		`[a"]"`:         "glob quoted",
		`--x=a`:         "literal",
		`{1..2..0}`:     "literal brace",
		"a\\\nb":        "literal",
		`"a\` + "\nb\"": "literal quoted",
	}
	for word, want := range tests {
		g := AnalyzeShell("x "+word, Options{}).Commands[0].Args[0]
		var got []string
		for _, f := range []struct {
			name string
			set  bool
		}{
			{"literal", g.Literal},
			{"dynamic", g.Dynamic},
			{"glob", g.Glob},
			{"tilde", g.Tilde},
			{"brace", g.Brace},
			{"quoted", g.Quoted},
			{"splits", g.Splits},
		} {
			if f.set {
				got = append(got, f.name)
			}
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s: got %s, want %s", word, text, want)
		}
	}
}

func TestArgumentsOfTheFormNameValue(t *testing.T) {
	sh := AnalyzeShell("dd if=/etc/x --of=src/y =z a", Options{Root: testFS})
	want := []string{"if /etc/x outside ", "--of src/y inside /workspace/src/y", "", ""}
	for i, g := range sh.Commands[0].Args {
		got := ""
		if g.Eq != nil {
			got = g.Eq.Name + " " + g.Eq.Value + " " + verdict(g.Eq.Real, g.Eq.InWorkspace)
		}
		if got != want[i] {
			t.Errorf("%s: got %q, want %q", *g.Value, got, want[i])
		}
	}
}
