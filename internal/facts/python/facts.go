package python

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Facts are what is seen in a program. With Parsed false all else but Error is empty.
type Facts struct {
	Parsed bool
	Error  string // why Parsed is false
	// Imports are the modules that are imported, sorted. See [Analyze] for the names.
	Imports []string
	Calls   []string
	Names   []string
	Dynamic []string
	Opens   []Open
	Runs    []Run
}

// Open is one use of a file.
type Open struct {
	Op   string  // read, write, read_write, delete; empty when it is not known
	Path *string // nil when it is not a literal
}

// Run is one program that is started.
type Run struct {
	// Script is what a shell is given; nil when none is, or it is not a literal.
	Script *string
	// Argv are the words; an item that is not a literal is nil. Open: there may be more of them.
	Argv []*string
	Open bool
}

const maxItems = 2000 // of calls and names

var cookie = regexp.MustCompile(`^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)`)

// Analyze reads source as Python does for -c. It takes time in proportion to the length of source, keeps no state, and
// never fails: what could not be read is told in the result. It is safe for concurrent use.
//
// A name that is bound to several things in the program, at whatever place, counts as each of them.
func Analyze(source string) Facts {
	p, err := read(source)
	if errors.Is(err, errIndent) {
		if dedented := dedent(source); dedented != source { // Python 3.14 does this for -c
			p, err = read(dedented)
		}
	}
	if err != nil {
		return Facts{Error: "not a Python 3 program that can be read: " + strings.ToValidUTF8(err.Error(), "\uFFFD")}
	}
	if len(p.calls) > maxItems*5 || len(p.refs) > maxItems*10 {
		return Facts{Error: "the program is too large"}
	}
	s := &summary{record: p.record, calls: map[string]bool{}, names: map[string]bool{}}
	s.all()
	if len(s.calls) > maxItems || len(s.names) > maxItems {
		return Facts{Error: "the program is too large"}
	}
	return Facts{
		Parsed: true, Imports: sorted(p.imports), Calls: sorted(s.calls), Names: sorted(s.names), Dynamic: sorted(p.dynamic),
		Opens: s.opens, Runs: s.runs,
	}
}

func sorted(m map[string]bool) []string {
	out := slices.AppendSeq(make([]string, 0, len(m)), maps.Keys(m))
	slices.Sort(out)
	return out
}

func read(source string) (p *parser, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the parser gave up: %v", r)
		}
	}()
	if len(source) > maxBytes {
		return nil, fmt.Errorf("it has %d bytes; at most %d are read", len(source), maxBytes)
	}
	if !utf8.ValidString(source) || strings.ContainsRune(source, 0) {
		return nil, errors.New("it is not UTF-8 text")
	}
	source = strings.TrimPrefix(source, "\uFEFF")
	if strings.ContainsRune(source, '\r') {
		source = strings.ReplaceAll(strings.ReplaceAll(source, "\r\n", "\n"), "\r", "\n")
	}
	head := strings.SplitN(source, "\n", 3)
	for _, line := range head[:min(2, len(head))] {
		if m := cookie.FindStringSubmatch(line); m != nil {
			if enc := strings.ReplaceAll(strings.ToLower(m[1]), "_", "-"); enc != "utf-8" && enc != "utf8" && enc != "ascii" && enc != "us-ascii" {
				return nil, fmt.Errorf("it declares the encoding %.40q", m[1])
			}
		}
	}
	p = &parser{
		record: &record{imports: map[string]bool{}, binds: map[string][]*node{}, locals: map[string]bool{}, dynamic: map[string]bool{}},
		lex:    lexer{src: source},
	}
	return p, p.file()
}

// dedent removes the indentation that all lines with text have.
func dedent(source string) string {
	lines := strings.SplitAfter(source, "\n")
	lead := ""
	for i, l := range lines {
		text := strings.TrimLeft(l, " \t")
		if text == "" || text == "\n" {
			continue
		}
		this := l[:len(l)-len(text)]
		if lead == "" && i == 0 || lead == "" {
			lead = this
		}
		for !strings.HasPrefix(this, lead) {
			lead = lead[:len(lead)-1]
		}
		if lead == "" {
			return source
		}
	}
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(l, lead)
	}
	return strings.Join(lines, "")
}

// summary puts names together.
type summary struct {
	*record
	calls map[string]bool
	names map[string]bool
	opens []Open
	runs  []Run
	steps int
}

const (
	maxSteps   = 200_000
	maxMeaning = 16
	maxChain   = 20
)

func (s *summary) all() {
	for _, c := range s.record.calls {
		names := s.meanings(c.x, maxChain)
		for _, name := range names {
			s.calls[name] = true
			s.call(name, c)
		}
		if len(names) == 0 {
			s.calls[".()"] = true // the result of a call, an item of a list, …
		}
	}
	for _, r := range s.refs {
		for _, name := range s.meanings(r, maxChain) {
			if r.kind == isModule || s.below(name) {
				s.names[name] = true
			}
			s.mentioned(name)
		}
	}
	if s.steps > maxSteps {
		s.dynamic["too_many_meanings"] = true
	}
}

// below reports whether name stands below an imported module.
func (s *summary) below(name string) bool {
	for i, c := range name {
		if c == '.' && i > 0 && s.imports[name[:i]] {
			return true
		}
	}
	return false
}

// meanings are the dotted names that n can stand for; none when it is not known.
func (s *summary) meanings(n *node, left int) []string {
	s.steps++
	if left == 0 || s.steps > maxSteps {
		return nil
	}
	switch n.kind {
	case isModule:
		return []string{n.name}
	case isName:
		bound := s.binds[n.name]
		if len(bound) == 0 {
			return []string{n.name}
		}
		var out []string
		for _, b := range bound {
			if b.kind == isName && b.name == n.name {
				out = append(out, n.name)
				continue
			}
			out = append(out, s.meanings(b, left-1)...)
		}
		slices.Sort(out)
		out = slices.Compact(out)
		return out[:min(len(out), maxMeaning)]
	case isAttr:
		bases := s.meanings(n.x, left-1)
		if s.dark(n.x) {
			bases = nil
		}
		out := make([]string, 0, max(1, len(bases)))
		for _, b := range bases {
			if strings.HasPrefix(b, ".") {
				b = ""
			}
			out = append(out, b+"."+n.name)
		}
		if len(out) == 0 {
			out = append(out, "."+n.name)
		}
		return out
	case isCall:
		return s.imported(n, left)
	}
	return nil
}

// dark reports whether n is a variable of the program of which nothing is known.
func (s *summary) dark(n *node) bool {
	return n.kind == isName && len(s.binds[n.name]) == 0 && s.locals[n.name]
}

// imported is what __import__("os"), import_module("os") and getattr(os, "system") give.
func (s *summary) imported(call *node, left int) []string {
	for _, f := range s.meanings(call.x, left-1) {
		f = strings.TrimPrefix(f, "builtins.")
		name, known := literal(call, 0, "name")
		switch f {
		case "__import__", "importlib.__import__":
			if known {
				name, _, _ = strings.Cut(name, ".")
				return []string{name}
			}
		case "importlib.import_module", "import_module":
			if known {
				return []string{name}
			}
		case "getattr":
			attr, ok := literal(call, 1, "")
			if ok && len(call.args) > 0 {
				return s.meanings(&node{kind: isAttr, name: attr, x: call.args[0].value}, left-1)
			}
		}
	}
	return nil
}

// argument finds the argument at a position, or of a keyword.
func argument(call *node, at int, keyword string) *node {
	for i, a := range call.args {
		if a.star {
			return nil
		}
		if i == at && a.name == "" || keyword != "" && a.name == keyword {
			return a.value
		}
	}
	return nil
}

func literal(call *node, at int, keyword string) (string, bool) {
	if a := argument(call, at, keyword); a != nil && a.kind == isString && a.literal {
		return a.name, true
	}
	return "", false
}
