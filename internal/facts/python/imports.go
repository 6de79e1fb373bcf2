package python

import "strings"

// dotted reads a.b.c.
func (p *parser) dotted() (string, error) {
	var name strings.Builder
	for {
		if p.tok.kind != tokName {
			return "", p.unexpected()
		}
		name.WriteString(p.tok.text)
		if err := p.advance(); err != nil {
			return "", err
		}
		if !p.isOp(".") {
			return name.String(), nil
		}
		name.WriteByte('.')
		if err := p.advance(); err != nil {
			return "", err
		}
	}
}

// alias reads an optional `as name`.
func (p *parser) alias() (string, error) {
	if !p.isKey("as") {
		return "", nil
	}
	if err := p.advance(); err != nil {
		return "", err
	}
	if p.tok.kind != tokName {
		return "", p.unexpected()
	}
	name := p.tok.text
	return name, p.advance()
}

func (p *parser) importStmt() error {
	for {
		if err := p.advance(); err != nil {
			return err
		}
		module, err := p.dotted()
		if err != nil {
			return err
		}
		as, err := p.alias()
		if err != nil {
			return err
		}
		p.imports[module] = true
		if as == "" {
			as, _, _ = strings.Cut(module, ".")
			module = as
		}
		p.bind(as, &node{kind: isModule, name: module})
		if !p.isOp(",") {
			return nil
		}
	}
}

func (p *parser) fromStmt() error {
	if err := p.advance(); err != nil {
		return err
	}
	var dots strings.Builder
	for p.isOp(".") || p.isOp("...") {
		dots.WriteString(p.tok.text)
		if err := p.advance(); err != nil {
			return err
		}
	}
	module := dots.String()
	if p.tok.kind == tokName {
		name, err := p.dotted()
		if err != nil {
			return err
		}
		module += name
	}
	if module == "" || !p.isKey("import") {
		return p.unexpected()
	}
	p.imports[module] = true
	if err := p.advance(); err != nil {
		return err
	}
	if p.isOp("*") {
		p.dynamic["star_import"] = true
		return p.advance()
	}
	if !p.isOp("(") {
		return p.fromNames(module, false)
	}
	if err := p.advance(); err != nil {
		return err
	}
	if err := p.fromNames(module, true); err != nil {
		return err
	}
	return p.expectOp(")")
}

func (p *parser) fromNames(module string, parens bool) error {
	for {
		if p.tok.kind != tokName {
			return p.unexpected()
		}
		name := p.tok.text
		if err := p.advance(); err != nil {
			return err
		}
		as, err := p.alias()
		if err != nil {
			return err
		}
		if as == "" {
			as = name
		}
		full := &node{kind: isModule, name: strings.TrimSuffix(module, ".") + "." + name}
		p.bind(as, full)
		p.refs = append(p.refs, full)
		if !p.isOp(",") {
			return nil
		}
		if err := p.advance(); err != nil {
			return err
		}
		if parens && p.isOp(")") {
			return nil
		}
	}
}
