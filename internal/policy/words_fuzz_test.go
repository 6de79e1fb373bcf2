package policy

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sandgate/sandgate/internal/facts"
)

// wordsRounds names how many policies TestWordsOfGeneratedPolicies makes, and
// wordsSeed from which seed, for a longer run.
const (
	wordsRounds = "SANDGATE_WORDS_ROUNDS"
	wordsSeed   = "SANDGATE_WORDS_SEED"
)

// policyMaker writes policies by chance: rules, functions, sets and objects that
// walk the input every way that the language has.
type policyMaker struct {
	r     *rand.Rand
	rules int // of the policy; each asks only for later ones
	at    int // the rule that is being written
	names int
	calm  int // of a hundred: how often words are left alone
}

// scope is what is known within a body: names of variables by what they stand for.
type scope struct {
	vars  map[string][]string
	lines []string
	made  []string // variables that have to be used
}

func (s *scope) inner() *scope {
	vars := map[string][]string{}
	for kind, names := range s.vars {
		vars[kind] = slices.Clone(names)
	}
	return &scope{vars: vars}
}

func (m *policyMaker) one(of ...string) string { return of[m.r.IntN(len(of))] }

func (m *policyMaker) name(s *scope, kind string) string {
	m.names++
	name := fmt.Sprintf("v%d", m.names)
	s.vars[kind] = append(s.vars[kind], name)
	s.made = append(s.made, name)
	return name
}

func (m *policyMaker) text() string {
	return m.one(`"rm"`, `"cat"`, `"1"`, `"/"`, `"rm 1"`, `"bash"`, `"read"`, `"write"`, `"x y"`, `"args"`, `"base"`, `"command"`, `"a"`)
}

// equal compares a term with a text that it may well be.
func (m *policyMaker) equal(s *scope) string {
	term := m.term(s, "string", 2)
	text := m.one(`"rm"`, `"cat"`, `"bash"`, `"read"`)
	switch {
	case strings.Contains(term, "args.command"), strings.Contains(term, `["args"].command`):
		text = m.one(`"rm 1"`, `"rm /"`, `"cat x"`, `"cat 1 | rm x"`)
	case strings.Contains(term, "value"), strings.Contains(term, "path"), strings.Contains(term, "real"):
		text = m.one(`"1"`, `"/"`, `"x"`, `"rm"`)
	}
	return m.one(term+" == "+text, term+" == "+text, text+" == "+term, term+" in {"+text+`, "y"}`, term+" != "+text, "startswith("+term+", "+text+")")
}

// kinds are what a term may be, and how it is come by from others.
var kinds = map[string][]string{
	"input":    {"input"},
	"call":     {"input.call", "input.call", "%input.call", `%input["call"]`, `object.get(input, "call", {})`},
	"shell":    {"input.call.shell", "%call.shell", "%call.shell", `object.get(%call, "shell", {})`, `%call["shell"]`},
	"commands": {"input.call.shell.commands", "input.call.shell.commands", "%shell.commands", "%call.shell.commands", `object.get(%shell, "commands", [])`},
	"command":  {"%commands[_]", "%commands[0]", "%commands[1]", "%commands[%number]", "input.call.shell.commands[_]"},
	"files":    {"input.call.files", "input.call.files", "%call.files", `object.get(%call, "files", [])`},
	"file":     {"%files[_]", "%files[0]", "%files[%number]", "input.call.files[_]"},
	"args":     {"%command.args", "%command.files", `object.get(%command, "args", [])`, `%command["args"]`, `%command[%inside]`},
	"string": {
		"input.call.tool", "%call.tool", "%command.base", "%command.base", "%file.op", "%file.op", "input.session.profile", "%text", "lower(%command.base)",
		"input.call.args.command", "%call.args.command", "%command.args[_].value", "%command.args[0].value", "%command.args[0].value", "%file.path", "%file.real", `%call["args"].command`,
		`object.get(%file, "path", "")`, `object.get(%call.args, "command", "")`, `object.get(%command, ["args", 0, "value"], "")`, `%command[%inside]`,
		"input.call.shell.programs[_]", "concat(\"\", [%string, %string])",
	},
	"calm call":     {"input.call", "%input.call", `input["call"]`},
	"calm shell":    {"input.call.shell", "%call.shell", `%call["shell"]`},
	"calm commands": {"input.call.shell.commands", "%shell.commands", "%call.shell.commands"},
	"calm files":    {"input.call.files", "%call.files"},
	"calm args":     {"%command.env", "%command.via", "%shell.programs", "%command.context"},
	"calm command":  {"%commands[_]", "%commands[_]", "input.call.shell.commands[_]"},
	"calm file":     {"%files[_]", "input.call.files[_]"},
	"calm number":   {"count(%commands)", "count(%files)", "1"},
	"calm string": {
		"input.call.tool", "%command.base", "input.call.tool", "%file.op", "%command.base", `%call["tool"]`, "lower(%command.base)",
		`object.get(%command, "base", "")`, `object.get(%file, "op", "")`, "input.call.shell.programs[_]",
	},
	"number": {"0", "1", "count(%commands)", "count(%files)", "%shell.bytes", "count(%command.args)", "count(%shell.programs)"},
	"inside": {`"args"`, `"args"`, `"base"`, "%string"},
}

// term is an expression of the kind.
func (m *policyMaker) term(s *scope, kind string, depth int) string {
	if kind == "text" {
		return m.text()
	}
	if known := s.vars[kind]; len(known) > 0 && (depth <= 0 || m.r.IntN(2) == 0) {
		return known[m.r.IntN(len(known))]
	}
	calm := m.r.IntN(100) < m.calm
	shapes := kinds[kind]
	if quiet := kinds["calm "+kind]; calm && quiet != nil {
		shapes = quiet
	}
	if depth <= 0 && !calm {
		shapes = shapes[:1]
	}
	shape := shapes[m.r.IntN(len(shapes))]
	var out strings.Builder
	for i := 0; i < len(shape); {
		if shape[i] != '%' {
			out.WriteByte(shape[i])
			i++
			continue
		}
		end := i + 1
		for end < len(shape) && shape[end] >= 'a' && shape[end] <= 'z' {
			end++
		}
		out.WriteString(m.term(s, shape[i+1:end], depth-1))
		i = end
	}
	return out.String()
}

func (m *policyMaker) anything() string {
	return m.one("input", "call", "call", "shell", "commands", "command", "command", "files", "file", "args", "string", "string", "number")
}

// later is the number of a rule that may be asked for; -1: none.
func (m *policyMaker) later() int {
	if m.at+1 >= m.rules {
		return -1
	}
	return m.at + 1 + m.r.IntN(m.rules-m.at-1)
}

func (m *policyMaker) condition(s *scope) string {
	text := func() string { return m.term(s, "string", 2) }
	some := func() string { return m.term(s, m.anything(), 2) }
	kind := m.anything()
	same := func() string { return m.term(s, kind, 2) }
	n := m.later()
	if n >= 0 && m.r.IntN(3) == 0 {
		switch n % 6 {
		case 0:
			return m.one(fmt.Sprintf("_r%d", n), fmt.Sprintf("_r%d == %s", n, m.text()), fmt.Sprintf("data.sandgate[%q]", fmt.Sprint("_r", n)), fmt.Sprintf("_r%d != %s", n, text()))
		case 1:
			arg := m.term(s, argumentOf(n, 0), 2)
			return m.one(fmt.Sprintf("_r%d(%s)", n, arg), fmt.Sprintf("_r%d(%s) == %s", n, arg, m.text()))
		case 2:
			return m.one(fmt.Sprintf("_r%d[%s]", n, text()), fmt.Sprintf("%s in _r%d", text(), n), fmt.Sprintf("count(_r%d) == %s", n, m.one("0", "1", "2")))
		case 3:
			return m.one(fmt.Sprintf("_r%d[%s]", n, text()), fmt.Sprintf("_r%d[_] == %s", n, text()), fmt.Sprintf("_r%d.a", n), fmt.Sprintf("%s in _r%d", text(), n))
		case 4:
			return fmt.Sprintf("_r%d(%s, %s)", n, m.term(s, argumentOf(n, 0), 2), m.term(s, argumentOf(n, 1), 2))
		case 5:
			return m.one(fmt.Sprintf("_r%d.a.b", n), fmt.Sprintf("_r%d.a[%s]", n, text()), fmt.Sprintf("_r%d[%s].b", n, text()), fmt.Sprintf("count(_r%d) > 0", n), fmt.Sprintf("_r%d.c", n))
		}
	}
	if known := s.vars[kind]; len(known) > 1 && m.r.IntN(3) == 0 {
		return known[m.r.IntN(len(known))] + " == " + known[m.r.IntN(len(known))]
	}
	if m.r.IntN(100) < m.calm {
		return m.one(
			m.equal(s), m.equal(s), m.equal(s), m.equal(s), some(), "count("+m.term(s, m.one("commands", "files"), 2)+") > "+m.one("0", "1"),
			m.text()+" in "+m.term(s, "shell", 1)+".programs", m.term(s, "number", 2)+" == 1",
		)
	}
	return m.one(
		m.equal(s), m.equal(s), m.equal(s), m.equal(s), m.equal(s), m.equal(s), text()+" = "+text(),
		"startswith("+text()+", "+m.text()+")", "endswith("+text()+", "+m.text()+")", "contains("+text()+", "+m.text()+")",
		text()+" in {"+m.text()+", "+m.text()+"}", m.text()+" in "+m.term(s, m.one("call", "command", "file", "shell"), 1), text()+" in "+m.term(s, "shell", 1)+".programs", same()+" in ["+same()+"]",
		some(), some(), m.term(s, "number", 2)+" == "+m.one("0", "1", "2"), m.term(s, "number", 2)+" > "+m.term(s, "number", 2),
		"glob.match("+m.one(`"r*"`, `"*"`, `"/*"`)+`, ["/"], `+text()+")", same()+" == "+same(),
		"count("+m.term(s, m.one("commands", "files", "command", "call", "args"), 2)+") == "+m.one("0", "1", "2", "3"), fmt.Sprintf("{%q: 1}[%s]", "rm", text()), "strings.any_prefix_match("+text()+`, ["r", "/"])`,
	)
}

// statement adds one to a body.
func (m *policyMaker) statement(s *scope, depth int) {
	add := func(format string, args ...any) { s.lines = append(s.lines, fmt.Sprintf(format, args...)) }
	list := m.one("commands", "files", "commands", "args")
	item := map[string]string{"commands": "command", "files": "file", "args": "other"}[list]
	choice := m.r.IntN(14)
	if (choice == 9 || choice == 10) && m.r.IntN(100) < m.calm {
		choice = 11
	}
	switch kind := m.anything(); choice {
	case 0, 1:
		value := m.term(s, kind, 2)
		add("%s := %s", m.name(s, kind), value)
	case 2, 3:
		in := m.term(s, list, 2)
		add("some %s in %s", m.name(s, item), in)
	case 4:
		in := m.term(s, list, 2)
		add("some %s, %s in %s", m.name(s, "number"), m.name(s, item), in)
	case 5:
		if depth > 0 {
			in, body := m.term(s, list, 2), s.inner()
			name := m.name(body, item)
			add("every %s in %s {\n%s\n}", name, in, m.body(body, depth-1))
		}
	case 6, 7:
		add("not %s", strings.ReplaceAll(m.condition(s.inner()), "[_]", "[any]"))
		if strings.Contains(s.lines[len(s.lines)-1], "[any]") {
			s.lines = slices.Insert(s.lines, len(s.lines)-1, "some any, _ in "+m.one("[0, 1]", "[0]", "input.call.shell.commands"))
		}
	case 8:
		if depth > 0 {
			body := s.inner()
			text := m.body(body, depth-1)
			value := m.name(body, "other")
			text += "\n" + value + " := " + m.term(body, kind, 1)
			open, end := m.one("[ ]", "{ }", "{ : 1 }", "count([ ])"), ""
			open, end, _ = strings.Cut(open, " ")
			if key, rest, ok := strings.Cut(end, " "); ok {
				value, end = value+key+" "+strings.TrimSuffix(rest, " }"), "}"
			}
			add("%s := %s%s |\n%s\n%s", m.name(s, "other"), open, value, text, end)
		}
	case 9:
		left, right := m.term(s, kind, 2), m.term(s, m.anything(), 2)
		add("[%s, %s] = [%s, %s]", m.name(s, kind), m.name(s, "other"), left, right)
	case 10:
		add("%s = %s", m.term(s, kind, 1), m.term(s, kind, 1))
	default:
		add("%s", m.condition(s))
	}
}

func (m *policyMaker) body(s *scope, depth int) string {
	for range 1 + m.r.IntN(3) {
		m.statement(s, depth)
	}
	for _, name := range s.made { // what is not used is an error; this is no look
		s.lines = append(s.lines, "_used("+name+")")
	}
	return strings.Join(s.lines, "\n")
}

// rule writes the rule of the number, of which it follows what kind it is.
func (m *policyMaker) rule(n int) string {
	m.at = n
	m.calm = []int{100, 100, 97, 80, 40}[m.r.IntN(5)]
	var out strings.Builder
	name := fmt.Sprintf("_r%d", n)
	value := m.one(`"a"`, `"b"`)
	if n%6 == 0 && m.r.IntN(3) == 0 {
		fmt.Fprintf(&out, "default %s := \"none\"\n\n", name)
	}
	for range 1 + m.r.IntN(2) {
		s := &scope{vars: map[string][]string{}}
		head := ""
		switch n % 6 {
		case 0:
			head = name + " := " + value
		case 1:
			head = name + "(" + m.argument(s, argumentOf(n, 0)) + ")" + m.one("", " := "+value)
		case 4:
			head = name + "(" + m.argument(s, argumentOf(n, 0)) + ", " + m.argument(s, argumentOf(n, 1)) + ")" + m.one("", " := "+value)
		}
		body := m.body(s, 2)
		text := m.text()
		if m.r.IntN(2) == 0 {
			body += "\nhead := " + m.term(s, m.one("string", "string", "string", m.anything()), 1)
			text = "head"
		}
		switch n % 6 {
		case 2:
			head = name + " contains " + text
		case 3:
			head = m.one(name+"["+text+"] := "+value, name+".a := "+value, name+"["+m.text()+"] := "+text)
		case 5:
			head = m.one(name+".a["+text+"] := "+value, name+".a.b := "+value, name+".c := "+value, name+"["+text+"].b := "+value)
		case 0:
			head = m.one(head, name+" := "+text)
		case 1:
			head = m.one(head, head, strings.SplitN(head, ")", 2)[0]+") := "+text)
		}
		if text == "head" && !strings.Contains(head, text) {
			body += "\n_used(head)"
		}
		fmt.Fprintf(&out, "%s if {\n%s\n}", head, body)
		if n%6 == 0 && m.r.IntN(3) == 0 {
			fmt.Fprintf(&out, " else := %s if {\n%s\n}", m.one(`"c"`, "input.call.tool", "input.call.args.command"), m.body(&scope{vars: map[string][]string{}}, 1))
		}
		out.WriteString("\n\n")
	}
	return out.String()
}

// argumentOf is the kind of an argument of the function of the number.
func argumentOf(n, i int) string {
	return []string{"command", "call", "shell", "string", "file", "commands", "input"}[(n/3+4*i)%7]
}

func (m *policyMaker) argument(s *scope, kind string) string {
	if kind == "string" && m.r.IntN(3) == 0 {
		return m.text()
	}
	return m.name(s, kind)
}

func (m *policyMaker) policy() string {
	m.calm = 100
	m.rules = 2 + m.r.IntN(6)
	var said []string
	for n := range m.rules {
		ask := map[int]string{1: "(%s)", 4: "(%s, %s)"}[n%6]
		s := &scope{vars: map[string][]string{}}
		if ask != "" {
			ask = strings.Replace(ask, "%s", m.term(s, argumentOf(n, 0), 2), 1)
			ask = strings.Replace(ask, "%s", m.term(s, argumentOf(n, 1), 2), 1)
		}
		said = append(said, fmt.Sprintf("_said contains [\"%d\", x] if x := _r%d%s", n, n, ask))
	}
	m.r.Shuffle(len(said), func(i, j int) { said[i], said[j] = said[j], said[i] })
	text := strings.Join(said[:1+m.r.IntN(min(3, len(said)))], "\n\n") + "\n\n_used(_)\n\n"
	for n := range m.rules {
		text += m.rule(n)
	}
	return fmt.Sprintf(wordsPolicy, text)
}

// wordsInputs are calls of few shapes that differ in their words.
func wordsInputs() []Input {
	var list []Input
	for _, shape := range []string{"rm %s", "cat %s", "cat %s | rm %s", "bash; rm %s", "rm %s %s && cat %s"} {
		words := []string{"1", "/", "x", "rm", "2 a"}
		for i := range words {
			script := shape
			for j := 0; strings.Contains(script, "%s"); j++ {
				script = strings.Replace(script, "%s", words[(i*(j+1)+j)%len(words)], 1)
			}
			in := benchInput("workspace", script)
			in.DecisionID, in.Time = "1", "2026-11-23T00:00:00Z"
			if len(shape) > 6 {
				path := words[i]
				in.Call.Files = []facts.File{{Op: "read", Path: path, Abs: path, Real: path}, {Op: "write", Path: "1", Abs: "/", Real: path}}
			}
			list = append(list, in)
		}
	}
	return list
}

// TestWordsOfGeneratedPolicies: whatever a policy is made of, Decide says what an
// evaluation without memo says, and inputs of one shape are decided alike where
// nothing has looked at words.
func TestWordsOfGeneratedPolicies(t *testing.T) {
	rounds, seed := 120, rand.Uint64() //nolint:gosec // no secret
	if n, err := strconv.Atoi(os.Getenv(wordsRounds)); err == nil {
		rounds = n
	}
	if n, err := strconv.ParseUint(os.Getenv(wordsSeed), 10, 64); err == nil {
		seed = n
	}
	inputs := wordsInputs()
	made, blind, seeing := 0, 0, 0
	dir := t.TempDir()
	for i := range rounds {
		m := &policyMaker{r: rand.New(rand.NewPCG(seed, uint64(i)))} //nolint:gosec // no secret
		text := m.policy()
		writePolicy(t, dir, map[string]string{"sandgate/main.rego": text})
		e := newEngine(t, Config{Dir: dir})
		if e.Ready() != nil {
			continue // not every text is a policy
		}
		made++
		b, s, hole := wordsHole(t, e, inputs, m.r)
		blind, seeing = blind+b, seeing+s
		if hole != "" {
			t.Fatalf("seed %d, policy %d: %s\n%s", seed, i, hole, text)
		}
	}
	t.Logf("seed %d: %d policies, %d decisions that looked at no words, %d that did", seed, made, blind, seeing)
}

// wordsHole finds an input of which the memo would say something else than the policy.
func wordsHole(t *testing.T, e *Engine, inputs []Input, r *rand.Rand) (blind, seeing int, hole string) {
	t.Helper()
	rev := e.current.Load()
	said, first := map[string]string{}, map[string]string{} // by shape: without a look, of any
	truth := make([]string, len(inputs))
	for i, in := range inputs {
		in = e.Complete(in)
		value, err := in.valueOf(rev.needs, rev.constants)
		w := newKeyWriter()
		if err != nil || !w.of(value) {
			t.Fatal("no key", err)
		}
		shape := string(w.shape())
		got, looked := watched(t, e, value)
		truth[i] = got
		failed := strings.Contains(got, RuleEvaluationError)
		if looked || failed {
			seeing++
		} else {
			blind++
			said[shape] = got
		}
		if first[shape] == "" {
			first[shape] = got
		}
		if want, ok := said[shape]; ok && (want != got || want != first[shape]) {
			return blind, seeing, fmt.Sprintf("%s: got %s and %s, want %s", in.Call.Args, got, first[shape], want)
		}
		first[shape] = got
	}
	if rev.memo == nil { // the policy reads what is never the same
		return blind, seeing, ""
	}
	for range 2 * len(inputs) {
		i := r.IntN(len(inputs))
		in := inputs[i]
		d := e.Decide(t.Context(), in)
		d.ID, d.Profile, d.Revision = "", "", "" // as evaluate leaves them
		if got := asJSON(t, d); got != truth[i] {
			return blind, seeing, fmt.Sprintf("%s: decided %s, want %s", in.Call.Args, got, truth[i])
		}
	}
	return blind, seeing, ""
}
