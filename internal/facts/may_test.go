package facts

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPossibleWords(t *testing.T) {
	t.Parallel()
	root := NewMemFS(map[string]string{"src/a": "x"}, map[string]string{"link": "/etc"})
	for script, want := range map[string][]string{
		`f=/etc/passwd; cat $f`:                       {"/etc/passwd"},
		`cat "$f"; f=a; f=b`:                          {"a", "b"},
		`for f in /etc/* {x,y}; do cat $f; done`:      {"/etc/*", "x", "y"},
		`P1=~/.ssh; P2=id_rsa; cat $P1/$P2`:           {"~/.ssh/id_rsa"},
		`cat ~bob/x`:                                  {"~bob/x"},
		`cat "${HOME}/x"`:                             {"~/x"},
		`cat $PWD/x`:                                  {"/workspace/x"},
		`cat $(pwd)/x`:                                {"/workspace/x"},
		`f='~/x'; cat $f`:                             {"./~/x"},
		`cat ${X:-/etc/x}`:                            {"/etc/x"},
		`a=(/etc/x y); cat "${a[@]}"`:                 {"/etc/x", "y"},
		`a=$b; b=$a; cat $a`:                          nil,
		`a=x; cat $a$unknown`:                         nil,
		`a=x; cat ${a%x}`:                             nil,
		`cat $(echo x)`:                               nil,
		`xargs cat <<< 'x /etc/y'`:                    {"x", "/etc/y"},
		`echo a b | xargs -I{} cat /etc/{}.c`:         {"/etc/a.c", "/etc/b.c"},
		`ls | xargs cat`:                              nil,
		`export f=/etc/x; sh -c "true"; cat "$f"`:     {"/etc/x"},
		`f=x; cat < $f`:                               {"x"},
		`f=x; g=$f/y; cat $g`:                         {"x/y"},
		`a=1; a=2; b=1; b=2; cat $a$a$a$a$b`:          nil, // only bounded: see below
		`select f in q; do cat "a-$f"; done`:          {"a-q"},
		`cat src/a`:                                   nil,
		`local f=/x; cat $f`:                          {"/x"},
		`f=link/passwd; cat $f`:                       {"link/passwd"},
		`cat ${f:=z}`:                                 {"z"},
		`if true; then f=x; else f=y; fi; cat ./"$f"`: {"./x", "./y"},
	} {
		var got []string
		facts := AnalyzeShell(script, Options{Root: root})
		for _, c := range facts.Commands {
			if c.Base != "cat" {
				continue
			}
			for _, g := range c.Args {
				for _, p := range g.May {
					got = append(got, p.Value)
				}
			}
			for _, r := range c.Redirects {
				for _, p := range r.May {
					got = append(got, p.Value)
				}
			}
		}
		if script == `a=1; a=2; b=1; b=2; cat $a$a$a$a$b` {
			if len(got) != maxPossible {
				t.Errorf("%s: %d texts, want the bound of %d", script, len(got), maxPossible)
			}
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", script, diff)
		}
	}
	cat := AnalyzeShell(`f=link/passwd; cat $f`, Options{Root: root}).Commands[1]
	if in := cat.Args[0].May[0].InWorkspace; in == nil || *in {
		t.Errorf("the path of a possible word leads through a symlink: in_workspace %v, want false", in)
	}
}
