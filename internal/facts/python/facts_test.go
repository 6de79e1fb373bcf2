package python

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// text is the short form of the facts.
func text(f Facts) string {
	if !f.Parsed {
		return "unparsed"
	}
	var out []string
	add := func(name string, items []string) {
		if len(items) > 0 {
			out = append(out, name+" "+strings.Join(items, ","))
		}
	}
	add("imports", f.Imports)
	add("calls", f.Calls)
	add("dynamic", f.Dynamic)
	for _, o := range f.Opens {
		path := "?"
		if o.Path != nil {
			path = *o.Path
		}
		out = append(out, strings.TrimSpace("opens "+o.Op)+" "+path)
	}
	for _, r := range f.Runs {
		words := []string{}
		if r.Script != nil {
			words = append(words, fmt.Sprintf("$%q", *r.Script))
		}
		for _, w := range r.Argv {
			if w == nil {
				words = append(words, "?")
				continue
			}
			words = append(words, *w)
		}
		if r.Open {
			words = append(words, "...")
		}
		out = append(out, "runs "+strings.Join(words, " "))
	}
	return strings.Join(out, "; ")
}

func TestAnalyze(t *testing.T) {
	for _, tt := range [][2]string{
		{"", ""},
		{"print(1)", "calls print"},
		{"import os\nos.system('rm x')", `imports os; calls os.system; runs $"rm x"`},
		{"import os as o; o.system('ls')", `imports os; calls os.system; runs $"ls"`},
		{"from os import system as s\ns('ls')", `imports os; calls os.system; runs $"ls"`},
		{"import os.path as p\np.join('a')", "imports os.path; calls os.path.join"},
		{"__import__('os').system('ls')", `imports os; calls __import__,os.system; dynamic __import__; runs $"ls"`},
		{"import os\ngetattr(os,'system')('ls')", `imports os; calls getattr,os.system; dynamic getattr; runs $"ls"`},
		{"import os\nf=os.system\nf('ls')", `imports os; calls os.system; runs $"ls"`},
		{"import os\nf=g=os\ng.system('ls')", `imports os; calls os.system; runs $"ls"`},
		{"import os\na,b=os,1\na.system('l')", `imports os; calls os.system; runs $"l"`},
		{"import os\n(x:=os).system('ls')", `imports os; calls os.system; runs $"ls"`},
		{"import os\n[os.system][0]('ls')", "imports os; calls .()"},
		{"import os\nx=f'{os.system(\"ls\")}'", `imports os; calls os.system; runs $"ls"`},
		{"x=f'{a:{open(\"b\")}}'", "calls open; opens read b"},
		{"x=f'{{open(1)}}'", ""},
		{"x='import os; os.system(1)'", ""},
		{"# import os", ""},
		{"import \uff4fs\n\uff4fs.system('ls')", `imports os; calls os.system; runs $"ls"`},
		{"open('a')", "calls open; opens read a"},
		{"open('a','wb')", "calls open; opens write a"},
		{"open(mode='r+',file='a')", "calls open; opens read_write a"},
		{"open(x, m)", "calls open; opens ?"},
		{"open('a' 'b')", "calls open; opens read ab"},
		{"open('\\x61')", "calls open; opens read a"},
		{"from pathlib import Path\nPath('a').read_text()", "imports pathlib; calls .read_text,pathlib.Path; opens read a"},
		{"from pathlib import Path\np=Path('a')\np.write_text('x')", "imports pathlib; calls .write_text,pathlib.Path; opens write a"},
		{"import shutil\nshutil.rmtree('x')", "imports shutil; calls shutil.rmtree; opens delete x"},
		{"import os\nos.rename('a','b')", "imports os; calls os.rename; opens delete a; opens write b"},
		{"import subprocess as s\ns.run(['git','push'])", "imports subprocess; calls subprocess.run; runs git push"},
		{"import subprocess\nsubprocess.run('rm x',shell=True)", `imports subprocess; calls subprocess.run; runs $"rm x"`},
		{"import subprocess\nsubprocess.Popen([a,'-c',*b])", "imports subprocess; calls subprocess.Popen; runs ? -c ..."},
		{"import os\nos.execvp('sh',['x','-c','ls'])", "imports os; calls os.execvp; runs sh -c ls"},
		{"eval(x)", "calls eval; dynamic eval"},
		{"e=eval\ne(x)", "calls eval; dynamic eval"},
		{"map(exec, x)", "calls map; dynamic exec"},
		{"@exec\n@input\nclass X: pass", "calls exec,input; dynamic exec"},
		{"().__class__.__base__", "dynamic dunder"},
		{"from os import *", "imports os; dynamic star_import"},
		{"import importlib\nimportlib.import_module('os').system('l')", `imports importlib,os; calls importlib.import_module,os.system; dynamic importlib; runs $"l"`},
		{"def f(os): os.system('x')", "calls .system"},
		{"a.b().c()", "calls .c,a.b"},
		{"match x:\n  case A(b): f()", "calls f"},
		{"match = 1; case = 2; type = 3", ""},
		{"type X = int", ""},
		{"with (open('a') as b, c): pass", "calls open; opens read a"},
		{"try: pass\nexcept* A, B: f()", "calls f"},
		{"if x:\n\tf()\nelse:\n\tg()", "calls f,g"},
		{"  import os\n  os.getcwd()", "imports os; calls os.getcwd"},
		{"print 'x'", "unparsed"},
		{"exec 'x'", "unparsed"},
		{"def f(:", "unparsed"},
		{"x = (1", "unparsed"},
		{"'a", "unparsed"},
		{"# coding: utf-7\n+AGEAIA-", "unparsed"},
		{"if x:\n\ta\n        b", "unparsed"},
		{"a\x00b", "unparsed"},
		{"from . import x\nfrom ..a import b", "imports .,..a"},
		{"import os\\\n  .path", "imports os.path"},
		{"import os;os . system ( 'ls' )", `imports os; calls os.system; runs $"ls"`},
		{"async def f():\n async with a as b: await c(b)\n return [x async for x in d()]", "calls c,d"},
		{"x = lambda a, *b, c=f(): g(a) if a else h()", "calls f,g,h"},
		{"print(f'{x!r:>{w}}', rb'\\x', u'a', f'''{\n y(1)\n}''')", "calls print,y"},
		{"f'{x[\"a\"]:%Y}{z()=}'", "calls z"},
		{"import a; a.b.c = 1; del a.b", "imports a"},
	} {
		source, want := tt[0], tt[1]
		if got := text(Analyze(source)); got != want {
			t.Errorf("%q\n got %s\nwant %s", source, got, want)
		}
	}
}

// TestHostileIsBounded feeds what makes a parser recurse or repeat itself the most.
func TestHostileIsBounded(*testing.T) {
	for _, unit := range []string{
		"(", "[", "{", "f'{", "f\"{f'{", "lambda:", "not ", "- ", "a.", "a(", "a[", "x=", "if a:\n", "@a\n", "await ", "a if ", "\\\n", "'", "async ", "match (", "case ",
		"a:=", "f'{a:{", "def f(a=", "*", "import a;", "from a import b;", "a();", "x=x;", "from .", ".", "...", "'a'", "import a.", "@", "yield ", "match x:\n case ", "type a[b:",
	} {
		for _, n := range []int{500, maxBytes / len(unit)} {
			Analyze(strings.Repeat(unit, n))
			Analyze("a=" + strings.Repeat(unit, n) + "1")
		}
	}
	var chain strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&chain, "a%d=a%d\na%d=a%d\n", i+1, i, i+1, i+2)
	}
	Analyze(chain.String() + "a2000()")
}

func FuzzAnalyze(f *testing.F) {
	for _, s := range []string{
		"import os\nos.system('ls')", "f'{a!r:{b}}'", "match x:\n case {'a': b, **c} if d: e()", "@a\nclass B(c=d): pass", "with (a as b): pass", "type X[T] = a",
		"try:\n a\nexcept* B as c:\n d\n", "x = y = lambda *a, b=1, **c: (yield a)", "if a:\n\tb\n\tif c: d\ne", "0x_f 1_0.5e-3j ...", "a\\\n.b", "rb'\\\n' f'''{\na}'''",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		got := Analyze(source)
		if !got.Parsed && (got.Error == "" || len(got.Calls)+len(got.Imports) > 0) {
			t.Errorf("%+v", got)
		}
		if !slices.IsSorted(got.Calls) || !slices.IsSorted(got.Imports) {
			t.Errorf("%+v", got)
		}
	})
}

func BenchmarkAnalyze(b *testing.B) {
	source := "import os, subprocess\nfor p in os.listdir('.'):\n    with open(p) as f:\n        print(f'{p}: {len(f.read())}')\n"
	b.ReportAllocs()
	for b.Loop() {
		Analyze(source)
	}
}
