package facts

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPythonInScripts(t *testing.T) {
	for script, want := range map[string][]string{
		`python3 -c 'import os; os.system("rm x")'`:                       {`python3 -c import os; os.system("rm x") opaque calls:os.system`, `rm x via python3`},
		`python -uIc 'open("a")'`:                                         {`python -uIc open("a") opaque calls:open`},
		`python3.12 -W ignore -X utf8 -copen\(1\)`:                        {`python3.12 -W ignore -X utf8 -copen(1) opaque calls:open`},
		"python3 - <<'E'\nimport subprocess\nsubprocess.run(['rm',x])\nE": {`python3 - redirect:heredoc opaque calls:subprocess.run`, `rm ? via python3`},
		"python3 <<< 'exec(1)'":                                           {`python3 redirect:herestring opaque calls:exec`},
		`echo "print(1)" | python3`:                                       {`echo print(1) in |`, `python3 in | opaque calls:print`},
		`python3 -c "open($x)"`:                                           {`python3 -c ?open( opaque unparsed`},
		`python3 a.py`:                                                    {`python3 a.py opaque`},
		`python3 -m http.server`:                                          {`python3 -m http.server opaque`},
		`python3 -c 'print "x"'`:                                          {`python3 -c print "x" opaque unparsed`},
		`sudo python3 -c 'import os; os.execlp("rm","rm","x")'`: {
			`sudo python3 -c import os; os.execlp("rm","rm","x")`, `python3 -c import os; os.execlp("rm","rm","x") via sudo opaque calls:os.execlp`, `rm x via sudo python3`,
		},
	} {
		sh := AnalyzeShell(script, Options{})
		got := summary(sh)
		for i, c := range sh.Commands {
			if c.Python != nil && c.Python.Parsed {
				got[i] += " calls:" + strings.Join(c.Python.Calls, ",")
			} else if c.Python != nil {
				got[i] += " unparsed"
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", script, diff)
		}
	}
}

func TestAnalyzePythonLocatesFiles(t *testing.T) {
	p := AnalyzePython("open('link/passwd')\nopen('src/a.go','w')\nopen('/etc/x')", Options{Root: testFS})
	var got []string
	for _, o := range p.Opens {
		got = append(got, o.Op+" "+*o.Value+" "+map[bool]string{true: "inside", false: "outside"}[*o.InWorkspace])
	}
	if diff := cmp.Diff([]string{"read link/passwd outside", "write src/a.go inside", "read /etc/x outside"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAnalyzeArgv(t *testing.T) {
	git, kubectl := AnalyzeArgv([]string{"/usr/bin/git", "push", "-f"}, Options{})
	if git == nil || !git.Push.Force || kubectl != nil {
		t.Errorf("%+v, %+v", git, kubectl)
	}
	git, kubectl = AnalyzeArgv([]string{"kubectl", "delete", "po", "$(x)"}, Options{})
	if git != nil || kubeText(kubectl) != "delete pods/$(x)" {
		t.Errorf("%+v, %+v", git, kubectl)
	}
}
