package policy

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// hostile wraps an expression into a policy that would allow a call of the tool
// bash if the expression ever came to an end with a value.
func hostile(expr string) string {
	return `package sandgate

default decision := {"outcome": "deny", "reasons": [{"rule": "nothing-allows", "message": "nothing allows this"}]}

decision := {"outcome": "allow", "reasons": [{"rule": "hostile", "message": "allowed"}]} if {
	input.tool.name == "bash"
	input.session.profile == "hostile"
	x0 := input.call.args.command
	is_string(x0)
	` + expr + `
}

visible := set()
`
}

func hostileInput(command string) Input {
	in := Input{Session: SessionInput{Profile: "hostile"}}
	in.Call.ID, in.Call.Tool, in.Call.Args = "1", "bash", []byte(fmt.Sprintf(`{"command": %q}`, command))
	in.Tool.Name = "bash"
	return in
}

func doublings(n int, step string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, strings.ReplaceAll(step, "{i}", fmt.Sprint(i+1))+"\n\t", i, i)
	}
	return b.String()
}

// TestHostilePoliciesAreDenied runs rules that would take for ever or more
// memory than there is: each is refused when it is loaded, or denies the call
// within the decision's budget, and leaves the engine and the heap well.
func TestHostilePoliciesAreDenied(t *testing.T) {
	long := strings.Repeat("a", 20_000)
	for name, c := range map[string]struct{ expr, command string }{
		"a range of a thousand million": {"count(numbers.range(1, 1000000000)) > 0", ""},
		"nested comprehensions":         {"count([1 | some a in numbers.range(1, 20000); some b in numbers.range(1, 20000); a * b > 0]) > 0", ""},
		"a set of pairs":                {"count({[a, b] | some a in numbers.range(1, 5000); some b in numbers.range(1, 5000)}) > 0", ""},
		"doubled text":                  {doublings(40, "x{i} := concat(\"\", [x%d, x%d])") + "count(x40) > 0", long},
		"text doubled by sprintf":       {doublings(40, "x{i} := sprintf(\"%%s%%s\", [x%d, x%d])") + "count(x40) > 0", long},
		"doubled lists":                 {"x1 := [x0, x0]\n\ty1 := array.concat(x1, x1)\n\ty2 := [y1 | some i in numbers.range(1, 1000)]\n\tcount(json.marshal([y2 | some i in numbers.range(1, 100000)])) > 0", long},
		"a wide verb":                   {"f := concat(\"\", [\"%999999d\" | some i in numbers.range(1, 9000)])\n\tcount(sprintf(f, numbers.range(1, 9000))) > 0", ""},
		"a verb many times":             {"f := concat(\"\", [\"%[1]s\" | some i in numbers.range(1, 9000)])\n\tcount(sprintf(f, [x0])) > 0", long},
		"a replacement":                 {"count(replace(x0, \"a\", x0)) > 0", long},
		"replacements":                  {"count(strings.replace_n({\"a\": x0}, x0)) > 0", long},
		"a replacement by pattern":      {"count(regex.replace(x0, \"a\", x0)) > 0", long},
		"a pattern of many states":      {"regex.match(\"^(([a-z]{1,30}){1,30})+!$\", concat(\"\", [x0, x0, x0, x0, x0, x0]))", long},
		"a glob of many wildcards":      {"glob.match(\"*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b\", [], x0)", long},
		"a huge number":                 {"to_number(\"1e999999999\") + 1 > 0", ""},
		"a huge literal":                {"1e999999999 + 1 > 0", ""},
		"a huge number compared":        {"1e999999999 > to_number(\"1e999999998\")", ""},
		"a huge unit":                   {"units.parse(\"1e999999999G\") > 0", ""},
		"squares":                       {"s0 := 99999999999999\n\t" + strings.ReplaceAll(doublings(40, "x{i} := x%d * x%d"), "x", "s") + "s40 > 0", ""},
		"pieces of text":                {"count(split(replace(x0, \"a\", \"bbbbbbbbbbbbbbbbbbbb\"), \"\")) > 0", long},
		"a walk over what was made":     {"d := [x | some i in numbers.range(1, 3000); x := numbers.range(1, 1000)]\n\tcount([1 | walk(d, [_, v]); v == -1]) > 0", ""},
		"marshalled ten times":          {"d := [x0 | some i in numbers.range(1, 100000)]\n\tcount(json.marshal(d)) > 0", long},
	} {
		t.Run(name, func(t *testing.T) { denied(t, hostile(c.expr), c.command) })
	}
}

// denied loads a policy and sees that it is refused, or denies, in time.
func denied(t *testing.T, rego, command string) {
	t.Helper()
	e := emptyEngine(t)
	began := time.Now()
	err := e.Activate(t.Context(), Package{Name: "hostile", Files: map[string][]byte{"main.rego": []byte(rego)}})
	if err != nil {
		if !strings.Contains(err.Error(), "number too big") {
			t.Errorf("refused: %v", err)
		}
		t.Logf("refused after %s: %v", time.Since(began), err)
		return
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began = time.Now()
	d := e.Decide(t.Context(), hostileInput(command))
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	if d.Outcome != Deny || !strings.HasPrefix(d.Reasons[0].Rule, reservedPrefix) {
		t.Errorf("got %s by %s, want a deny of sandgate's own", d.Outcome, d.Reasons[0].Rule)
	}
	// Twice the budget, since the machine may be busy.
	if took > 2*DefaultDecisionTimeout {
		t.Errorf("denied after %s, want within %s", took, DefaultDecisionTimeout)
	}
	if made := after.TotalAlloc - before.TotalAlloc; made > 2<<30 {
		t.Errorf("made %d MiB of garbage", made>>20)
	}
	t.Logf("denied after %s with %d MiB by %s: %s", took, (after.TotalAlloc-before.TotalAlloc)>>20, d.Reasons[0].Rule, d.Reasons[0].Message)
	if d := e.Decide(t.Context(), Input{}); d.Outcome != Deny || d.Reasons[0].Rule != "nothing-allows" {
		t.Errorf("the next call: got %s by %v", d.Outcome, d.Reasons)
	}
}

// emptyEngine is an engine whose policy is still to be given.
func emptyEngine(t testing.TB) *Engine {
	t.Helper()
	e, err := New(context.Background(), Config{NoPolicy: true})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestPoliciesOutOfBoundsAreRefused(t *testing.T) {
	good := hostile(`x0 != ""`)
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"large module":    {map[string]string{"a.rego": good + strings.Repeat("# ten bytes\n", 1<<20)}, "the most of one module"},
		"large data":      {map[string]string{"a.rego": good, "data.json": `{"a": "` + strings.Repeat("x", 10<<20) + `"}`}, "bytes of data"},
		"much Rego":       {many(good), "bytes of Rego"},
		"deep data":       {map[string]string{"a.rego": good, "data.json": `{"a": ` + deep(100_000) + `}`}, "nests brackets"},
		"deep Rego":       {map[string]string{"a.rego": good + "\nx := " + deep(100_000)}, "nests brackets"},
		"recursion":       {map[string]string{"a.rego": good + "\nf(x) := f(x)\n"}, "recursi"},
		"data recursion":  {map[string]string{"a.rego": good + "\nq if data.sandgate[_]\n"}, "recursi"},
		"network":         {map[string]string{"a.rego": hostile(`http.send({"method": "get", "url": "http://127.0.0.1"})`)}, "http.send is not available"},
		"name look-up":    {map[string]string{"a.rego": hostile(`net.lookup_ip_addr("localhost")`)}, "net.lookup_ip_addr is not available"},
		"environment":     {map[string]string{"a.rego": hostile(`opa.runtime().env.HOME`)}, "opa.runtime is not available"},
		"network in mask": {map[string]string{"a.rego": good, "m.rego": "package system.log\n\nmask contains \"/input\" if http.send({})\n"}, "http.send is not available"},
		"paths in graphs": {map[string]string{"a.rego": hostile(`graph.reachable_paths({}, {})`)}, "graph.reachable_paths is not available"},
		"no default":      {map[string]string{"a.rego": "package sandgate\n\ndecision := 1 if input.tool.name\n\nvisible := set()\n"}, "has no default"},
		"half a file":     {map[string]string{"a.rego": good[:len(good)/2]}, "a.rego"},
		"allows all":      {map[string]string{"a.rego": strings.Replace(good, "input.tool.name == \"bash\"\n\tinput.session.profile == \"hostile\"\n\tx0 := input.call.args.command\n\tis_string(x0)", "x0 := \"x\"", 1)}, "the policy allows"},
	} {
		t.Run(name, func(t *testing.T) {
			e := emptyEngine(t)
			if err := e.Activate(t.Context(), Package{Name: "good", Files: map[string][]byte{"a.rego": []byte(good)}}); err != nil {
				t.Fatal(err)
			}
			before := e.Status().Revision
			files := map[string][]byte{}
			for name, body := range c.files {
				files[name] = []byte(body)
			}
			began := time.Now()
			err := e.Activate(t.Context(), Package{Name: "bad", Files: files})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got error %.300v, want one with %q", err, c.want)
			}
			if s := e.Status(); s.Revision != before || s.Error == "" || s.Source != "good" {
				t.Errorf("status: got %+v, want revision %s and an error", s, before)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("refused after %s", took)
			}
			if d := e.Decide(t.Context(), hostileInput("x")); d.Outcome != Allow || d.Revision != before {
				t.Errorf("got %s under %s, want the good policy's allow", d.Outcome, d.Revision)
			}
		})
	}
}

func many(rego string) map[string]string {
	files := map[string]string{"a.rego": rego}
	for i := range 5 {
		files[fmt.Sprintf("m%d.rego", i)] = fmt.Sprintf("package sandgate.m%d\n\nx := 1\n", i) + strings.Repeat("# ten bytes\n", 85_000)
	}
	return files
}

// TestAnswersThatAreNone gives results that are no decision.
func TestAnswersThatAreNone(t *testing.T) {
	for name, value := range map[string]string{
		"a text": `"allow"`, "a list": `[{"outcome": "allow"}]`, "no reasons": `{"outcome": "allow"}`,
		"ten MiB":      `{"outcome": "allow", "reasons": [{"rule": "r", "message": concat("", [input.call.args.command | some i in numbers.range(1, 150)])}]}`,
		"many reasons": `{"outcome": "allow", "reasons": [{"rule": "r", "message": "m"} | some i in numbers.range(1, 5000)]}`,
		"null":         `null`,
	} {
		t.Run(name, func(t *testing.T) {
			rego := strings.Replace(hostile(`x0 != ""`), `{"outcome": "allow", "reasons": [{"rule": "hostile", "message": "allowed"}]}`, value, 1)
			denied(t, rego, strings.Repeat("x", 20_000))
		})
	}
	err := errors.New("x")
	e := emptyEngine(t)
	e.Refuse("somewhere", err)
	if e.Ready() == nil || !strings.Contains(e.Ready().Error(), "x") {
		t.Errorf("Ready without a policy: got %v, want the refusal", e.Ready())
	}
}
