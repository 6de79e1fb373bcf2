package python

import (
	"errors"
	"fmt"
	"strings"
)

type nodeKind byte

const (
	isOther nodeKind = iota
	isName
	isAttr
	isCall
	isString
	isList // also a tuple
	isModule
)

// node is as much of an expression as is of interest.
type node struct {
	kind    nodeKind
	name    string // of a name, attribute or module; text of a string
	literal bool   // of a string: name is its value
	x       *node  // whose attribute it is, what is called
	args    []arg  // of a call; items of a list
}

type arg struct {
	name  string // of a keyword
	star  bool   // * or **
	value *node
}

var (
	other    = &node{}
	errDepth = errors.New("it nests too deeply")
)

// record is what was seen.
type record struct {
	imports map[string]bool
	binds   map[string][]*node
	locals  map[string]bool
	calls   []*node
	refs    []*node
	dynamic map[string]bool
}

// parser reads statements. It takes more than Python does, so that it can do without most of the grammar.
type parser struct {
	*record
	lex     lexer
	tok     token
	depth   int
	pattern bool // in the pattern of a case: a call there is none
}

// sub is a parser for the expression in an f-string that begins at pos.
func (p *parser) sub(src string, pos int) *parser {
	return &parser{record: p.record, lex: lexer{src: src, pos: pos, nest: 1, base: 1}, depth: p.depth + 1}
}

func (p *parser) advance() (err error) {
	p.tok, err = p.lex.next(p)
	return err
}

func (p *parser) isOp(text string) bool  { return p.tok.kind == tokOp && p.tok.text == text }
func (p *parser) isKey(text string) bool { return p.tok.kind == tokKeyword && p.tok.text == text }

func (p *parser) unexpected() error {
	what := p.tok.text
	switch p.tok.kind {
	case tokEnd, tokDedent:
		what = "the end of a block"
	case tokNewline:
		what = "the end of a line"
	case tokIndent:
		return errIndent
	case tokString:
		what = "a string"
	}
	return fmt.Errorf("%.40q stands where it may not, at byte %d", what, p.tok.pos)
}

func (p *parser) expectOp(text string) error {
	if !p.isOp(text) {
		return p.unexpected()
	}
	return p.advance()
}

func (p *parser) enter() error {
	if p.depth++; p.depth > maxDepth {
		return errDepth
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

// exprList reads expressions with commas between them. One alone is returned as it is, several as a list.
func (p *parser) exprList() (*node, error) {
	first, err := p.expr()
	if err != nil || !p.isOp(",") {
		return first, err
	}
	list := &node{kind: isList, args: []arg{{value: first}}}
	for p.isOp(",") {
		if err := p.advance(); err != nil {
			return nil, err
		}
		if p.isKey("in") { // for x, in y
			if err := p.advance(); err != nil {
				return nil, err
			}
		}
		if !p.startsExpr() {
			break
		}
		item, err := p.expr()
		if err != nil {
			return nil, err
		}
		list.args = append(list.args, arg{value: item})
	}
	return list, nil
}

// startsExpr reports whether the token can begin an expression.
func (p *parser) startsExpr() bool {
	switch p.tok.kind {
	case tokName, tokNumber, tokString:
		return true
	case tokKeyword:
		switch p.tok.text {
		case "False", "None", "True", "await", "lambda", "not", "yield":
			return true
		}
	case tokOp:
		switch p.tok.text {
		case "(", "[", "{", "+", "-", "~", "*", "**", "...":
			return true
		}
	}
	return false
}

// expr reads operands with operators between them, whatever their precedence.
func (p *parser) expr() (*node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	n, err := p.operand()
	if err != nil {
		return nil, err
	}
	for {
		if p.isOp(":=") && n.kind == isName {
			target := n.name
			if err := p.advance(); err != nil {
				return nil, err
			}
			if n, err = p.expr(); err != nil {
				return nil, err
			}
			p.bind(target, n)
			continue
		}
		more, err := p.operator()
		if err != nil || !more {
			return n, err
		}
		n = other
		if _, err := p.operand(); err != nil {
			return nil, err
		}
	}
}

// operator passes over one operator between operands, those of comprehensions and conditions among them.
func (p *parser) operator() (more bool, err error) {
	switch p.tok.kind {
	case tokOp:
		switch p.tok.text {
		case "+", "-", "*", "/", "//", "%", "@", "**", "<<", ">>", "&", "|", "^", "<", ">", "<=", ">=", "==", "!=":
			return true, p.advance()
		}
	case tokKeyword:
		switch p.tok.text {
		case "if":
			p.pattern = false // the guard of a case
			return true, p.advance()
		case "and", "or", "in", "else":
			return true, p.advance()
		case "for", "async":
			if p.lex.nest == 0 {
				return false, nil
			}
			if p.isKey("async") {
				if err := p.advance(); err != nil {
					return false, err
				}
				if !p.isKey("for") {
					return false, p.unexpected()
				}
			}
			return true, p.advance()
		case "is", "not":
			first := p.tok.text
			if err := p.advance(); err != nil {
				return false, err
			}
			switch {
			case first == "not" && p.isKey("in"), first == "is" && p.isKey("not"):
				return true, p.advance()
			case first == "not":
				return false, p.unexpected()
			}
			return true, nil
		}
	}
	return false, nil
}

// operand reads prefix operators and a primary.
func (p *parser) operand() (*node, error) {
	prefixed := false
	for {
		switch {
		case p.isOp("+"), p.isOp("-"), p.isOp("~"), p.isOp("*"), p.isOp("**"), p.isKey("not"):
			prefixed = true
		case p.isKey("await"):
		case p.isKey("yield"):
			return other, p.yield()
		case p.isKey("lambda"):
			return other, p.lambda()
		default:
			n, err := p.primary()
			if prefixed && err == nil {
				n = other
			}
			return n, err
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
}

func (p *parser) yield() error {
	if err := p.advance(); err != nil {
		return err
	}
	if p.isKey("from") {
		if err := p.advance(); err != nil {
			return err
		}
	}
	if !p.startsExpr() {
		return nil
	}
	_, err := p.exprList()
	return err
}

func (p *parser) lambda() error {
	if err := p.advance(); err != nil {
		return err
	}
	if err := p.params(":", false); err != nil {
		return err
	}
	if err := p.expectOp(":"); err != nil {
		return err
	}
	_, err := p.expr()
	return err
}

// params reads parameters up to the operator end.
func (p *parser) params(end string, annotated bool) error {
	for !p.isOp(end) {
		switch {
		case p.isOp("*"), p.isOp("**"), p.isOp("/"), p.isOp(","):
			if err := p.advance(); err != nil {
				return err
			}
		case p.tok.kind == tokName:
			p.locals[p.tok.text] = true
			if err := p.advance(); err != nil {
				return err
			}
			if annotated && p.isOp(":") {
				if err := p.advance(); err != nil {
					return err
				}
				if _, err := p.expr(); err != nil {
					return err
				}
			}
			if p.isOp("=") {
				if err := p.advance(); err != nil {
					return err
				}
				if _, err := p.expr(); err != nil {
					return err
				}
			}
		default:
			return p.unexpected()
		}
	}
	return nil
}

// primary reads an atom and what is attached to it.
func (p *parser) primary() (*node, error) {
	n, err := p.atom()
	for err == nil {
		switch {
		case p.isOp("."):
			if err = p.advance(); err != nil {
				break
			}
			if p.tok.kind != tokName {
				return nil, p.unexpected()
			}
			n = &node{kind: isAttr, name: p.tok.text, x: n}
			err = p.advance()
		case p.isOp("("):
			call := &node{kind: isCall, x: n}
			call.args, err = p.items(")", true)
			if !p.pattern {
				p.calls = append(p.calls, call)
			}
			n = call
		case p.isOp("["):
			p.ref(n)
			_, err = p.items("]", false)
			n = other
		default:
			p.ref(n)
			return n, nil
		}
	}
	return nil, err
}

// ref records a name that is not called.
func (p *parser) ref(n *node) {
	if n.kind == isAttr || n.kind == isName {
		p.refs = append(p.refs, n)
	}
}

func (p *parser) atom() (*node, error) {
	t := p.tok
	switch t.kind {
	case tokName:
		return &node{kind: isName, name: t.text}, p.advance()
	case tokNumber:
		return other, p.advance()
	case tokString:
		n := &node{kind: isString, literal: true}
		var text strings.Builder
		defer func() { n.name = text.String() }()
		for p.tok.kind == tokString {
			text.WriteString(p.tok.str.name)
			n.literal = n.literal && p.tok.str.literal
			if err := p.advance(); err != nil {
				return nil, err
			}
		}
		return n, nil
	case tokKeyword:
		switch t.text {
		case "False", "None", "True":
			return other, p.advance()
		}
	case tokOp:
		switch t.text {
		case "(":
			items, err := p.items(")", false)
			if err == nil && len(items) == 1 && !items[0].star { // (x,) is taken for x
				return items[0].value, nil
			}
			return &node{kind: isList, args: items}, err
		case "[":
			items, err := p.items("]", false)
			return &node{kind: isList, args: items}, err
		case "{":
			_, err := p.items("}", false)
			return other, err
		case "...":
			return other, p.advance()
		}
	}
	return nil, p.unexpected()
}

// items reads what stands in brackets: expressions with commas or colons between them, keywords in a call.
func (p *parser) items(end string, call bool) ([]arg, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	if err := p.advance(); err != nil {
		return nil, err
	}
	var out []arg
	for !p.isOp(end) {
		if p.isOp(",") || p.isOp(":") && !call || p.isKey("in") && len(out) > 0 {
			if err := p.advance(); err != nil {
				return nil, err
			}
			continue
		}
		a := arg{star: p.isOp("*") || p.isOp("**")}
		var err error
		if a.value, err = p.expr(); err != nil {
			return nil, err
		}
		switch {
		case p.isOp("=") && a.value.kind == isName:
			a.name = a.value.name
			p.refs = p.refs[:len(p.refs)-1]
			if err := p.advance(); err != nil {
				return nil, err
			}
			if a.value, err = p.expr(); err != nil {
				return nil, err
			}
		case p.isKey("as"): // with (a as b), case (a as b)
			if err := p.advance(); err != nil {
				return nil, err
			}
			if _, err = p.target(); err != nil {
				return nil, err
			}
		}
		out = append(out, a)
		if !p.isOp(",") && !p.isOp(":") && !p.isOp(end) {
			return nil, p.unexpected()
		}
	}
	return out, p.advance()
}

// target reads what is assigned to, and records that its names are bound.
func (p *parser) target() (*node, error) {
	n, err := p.expr()
	if err != nil {
		return nil, err
	}
	p.bound(n)
	return n, nil
}

// bound records the names that an assignment to n binds to something that is not known.
func (p *parser) bound(n *node) {
	switch n.kind {
	case isName:
		p.locals[n.name] = true
	case isList:
		for _, a := range n.args {
			p.bound(a.value)
		}
	}
}

// bind records that name means value from somewhere on.
func (p *parser) bind(name string, value *node) {
	switch value.kind {
	case isName, isAttr, isCall, isModule, isString:
		if len(p.binds[name]) < 16 {
			p.binds[name] = append(p.binds[name], value)
		}
	default:
		p.locals[name] = true
	}
}
