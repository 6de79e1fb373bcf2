package python

// file reads the whole program.
func (p *parser) file() error {
	p.lex.bol = true
	if err := p.advance(); err != nil {
		return err
	}
	for p.tok.kind != tokEnd {
		if err := p.stmt(); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) stmt() error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.leave()
	switch {
	case p.tok.kind == tokNewline:
		return p.advance()
	case p.isOp("@"):
		return p.decorator()
	case p.tok.kind == tokKeyword:
		switch p.tok.text {
		case "async":
			return p.advance() // the def, for or with after it is a statement like any other
		case "if", "while", "elif":
			return p.headed(true)
		case "else", "try", "finally":
			return p.headed(false)
		case "except":
			return p.except()
		case "for":
			return p.forStmt()
		case "with":
			return p.with()
		case "def":
			return p.def()
		case "class":
			return p.class()
		}
	case p.tok.kind == tokName && (p.tok.text == "match" || p.tok.text == "case" || p.tok.text == "type"):
		if done, err := p.soft(); done || err != nil {
			return err
		}
	}
	return p.simple()
}

// headed reads a keyword, an expression if there is one, and a block.
func (p *parser) headed(cond bool) error {
	if err := p.advance(); err != nil {
		return err
	}
	if cond {
		if _, err := p.exprList(); err != nil {
			return err
		}
	}
	return p.block()
}

// block reads a colon and what follows it: a suite, or statements on the same line.
func (p *parser) block() error {
	if err := p.expectOp(":"); err != nil {
		return err
	}
	if p.tok.kind != tokNewline {
		return p.simple()
	}
	if err := p.advance(); err != nil {
		return err
	}
	if p.tok.kind != tokIndent {
		return p.unexpected()
	}
	if err := p.advance(); err != nil {
		return err
	}
	for p.tok.kind != tokDedent {
		if p.tok.kind == tokEnd {
			return p.unexpected()
		}
		if err := p.stmt(); err != nil {
			return err
		}
	}
	return p.advance()
}

func (p *parser) decorator() error {
	if err := p.advance(); err != nil {
		return err
	}
	n, err := p.expr()
	if err != nil {
		return err
	}
	p.calls = append(p.calls, &node{kind: isCall, x: n}) // with what it decorates
	if p.tok.kind != tokNewline {
		return p.unexpected()
	}
	return p.advance()
}

func (p *parser) except() error {
	if err := p.advance(); err != nil {
		return err
	}
	if p.isOp("*") {
		if err := p.advance(); err != nil {
			return err
		}
	}
	if p.startsExpr() {
		if _, err := p.exprList(); err != nil {
			return err
		}
	}
	if err := p.as(); err != nil {
		return err
	}
	return p.block()
}

// as reads an optional `as target`.
func (p *parser) as() error {
	if !p.isKey("as") {
		return nil
	}
	if err := p.advance(); err != nil {
		return err
	}
	_, err := p.target()
	return err
}

func (p *parser) forStmt() error {
	if err := p.advance(); err != nil {
		return err
	}
	// The targets and the word in read as one expression.
	from := len(p.refs)
	if _, err := p.exprList(); err != nil {
		return err
	}
	for _, r := range p.refs[from:] {
		if r.kind == isName {
			p.maybe(r.name)
		}
	}
	return p.block()
}

// maybe records that a name can be bound to something else too.
func (p *parser) maybe(name string) {
	if len(p.binds[name]) > 0 {
		p.locals[name] = true
	}
}

func (p *parser) with() error {
	if err := p.advance(); err != nil {
		return err
	}
	for {
		if _, err := p.expr(); err != nil {
			return err
		}
		if err := p.as(); err != nil {
			return err
		}
		if !p.isOp(",") {
			break
		}
		if err := p.advance(); err != nil {
			return err
		}
	}
	return p.block()
}

func (p *parser) def() error {
	if err := p.named(); err != nil {
		return err
	}
	if !p.isOp("(") {
		return p.unexpected()
	}
	if err := p.advance(); err != nil {
		return err
	}
	if err := p.params(")", true); err != nil {
		return err
	}
	if err := p.advance(); err != nil {
		return err
	}
	if p.isOp("->") {
		if err := p.advance(); err != nil {
			return err
		}
		if _, err := p.exprList(); err != nil {
			return err
		}
	}
	return p.block()
}

func (p *parser) class() error {
	if err := p.named(); err != nil {
		return err
	}
	if p.isOp("(") {
		if _, err := p.items(")", true); err != nil {
			return err
		}
	}
	return p.block()
}

// named reads the name that def or class gives, and its type parameters.
func (p *parser) named() error {
	if err := p.advance(); err != nil {
		return err
	}
	if p.tok.kind != tokName {
		return p.unexpected()
	}
	p.locals[p.tok.text] = true
	if err := p.advance(); err != nil {
		return err
	}
	return p.typeParams()
}

func (p *parser) typeParams() error {
	if !p.isOp("[") {
		return nil
	}
	if err := p.advance(); err != nil {
		return err
	}
	if err := p.params("]", true); err != nil {
		return err
	}
	return p.advance()
}

// soft reads match, case and type where they are keywords. Whether they are is only known further on.
func (p *parser) soft() (done bool, err error) {
	word, saved := p.tok.text, *p
	calls, refs := len(p.calls), len(p.refs)
	back := func() {
		*p = saved
		p.calls, p.refs = p.calls[:calls], p.refs[:refs]
	}
	if err := p.advance(); err != nil {
		return false, err
	}
	if word == "type" {
		if p.tok.kind != tokName {
			back()
			return false, nil
		}
		p.locals[p.tok.text] = true
		if err := p.advance(); err != nil {
			return false, err
		}
		if err := p.typeParams(); err != nil {
			return false, err
		}
		if err := p.expectOp("="); err != nil {
			return false, err
		}
		return false, nil // what follows is an expression
	}
	if !p.startsExpr() {
		back()
		return false, nil
	}
	if word == "case" {
		err = p.casePattern()
	} else {
		_, err = p.exprList()
	}
	if err != nil || !p.isOp(":") {
		back()
		return false, nil
	}
	colon := *p
	if err := p.advance(); err != nil {
		return false, err
	}
	if word == "match" && p.tok.kind != tokNewline {
		back() // match[x]: int = 1
		return false, nil
	}
	*p = colon
	return true, p.block()
}

// casePattern reads what stands between case and its colon.
func (p *parser) casePattern() error {
	p.pattern = true
	defer func() { p.pattern = false }()
	for p.startsExpr() {
		if _, err := p.exprList(); err != nil {
			return err
		}
		if err := p.as(); err != nil {
			return err
		}
		if !p.isOp(",") {
			break
		}
		if err := p.advance(); err != nil {
			return err
		}
	}
	if !p.isKey("if") {
		return nil
	}
	p.pattern = false
	if err := p.advance(); err != nil {
		return err
	}
	_, err := p.exprList()
	return err
}

// simple reads the simple statements of a line.
func (p *parser) simple() error {
	for {
		if err := p.small(); err != nil {
			return err
		}
		if !p.isOp(";") {
			break
		}
		if err := p.advance(); err != nil {
			return err
		}
		if p.tok.kind == tokNewline {
			break
		}
	}
	if p.tok.kind != tokNewline {
		return p.unexpected()
	}
	return p.advance()
}

func (p *parser) small() error {
	if p.tok.kind == tokKeyword {
		switch word := p.tok.text; word {
		case "pass", "break", "continue":
			return p.advance()
		case "import":
			return p.importStmt()
		case "from":
			return p.fromStmt()
		case "return", "raise", "del", "assert", "global", "nonlocal":
			if err := p.advance(); err != nil {
				return err
			}
			if !p.startsExpr() {
				return nil
			}
			if _, err := p.exprList(); err != nil {
				return err
			}
			if word == "raise" && p.isKey("from") {
				if err := p.advance(); err != nil {
					return err
				}
				_, err := p.exprList()
				return err
			}
			return nil
		}
	}
	return p.assignment()
}

// assignment reads an expression, and what is assigned to it.
func (p *parser) assignment() error {
	targets := []*node{}
	n, err := p.exprList()
	if err != nil {
		return err
	}
	if p.isOp(":") { // an annotation
		targets = append(targets, n)
		if err := p.advance(); err != nil {
			return err
		}
		if _, err := p.exprList(); err != nil {
			return err
		}
		n = other
	}
	for p.tok.kind == tokOp && (p.tok.text == "=" || len(p.tok.text) > 1 && p.tok.text[len(p.tok.text)-1] == '=') {
		if n != other || len(targets) == 0 {
			targets = append(targets, n)
		}
		if err := p.advance(); err != nil {
			return err
		}
		if n, err = p.exprList(); err != nil {
			return err
		}
	}
	for _, t := range targets {
		p.assign(t, n)
	}
	return nil
}

// assign records what a target means from here on.
func (p *parser) assign(target, value *node) {
	if target.kind == isName {
		p.bind(target.name, value)
		return
	}
	if target.kind == isList && value.kind == isList && len(target.args) == len(value.args) {
		for i := range target.args {
			p.assign(target.args[i].value, value.args[i].value)
		}
		return
	}
	p.bound(target)
}
