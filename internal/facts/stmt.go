package facts

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

func (a *analyzer) stmts(list []*syntax.Stmt, sc scope) {
	if len(list) > 1 {
		a.feature(FeatureSequence)
	}
	for _, s := range list {
		a.stmt(s, sc)
	}
}

func (a *analyzer) stmt(s *syntax.Stmt, sc scope) {
	if s == nil || a.out.Overflow {
		return
	}
	if s.Negated {
		a.feature(FeatureNegation)
		sc = sc.in("!")
	}
	if s.Background || s.Coprocess || s.Disown {
		a.feature(FeatureBackground)
		sc = sc.in("&")
	}
	var redirs []*Redirect
	redirs, sc.stdin = a.redirects(s.Redirs, sc.stdin)
	switch c := s.Cmd.(type) {
	case *syntax.CallExpr:
		a.callExpr(c, redirs, sc)
	case *syntax.DeclClause:
		a.declClause(c, redirs, sc)
	default:
		if len(redirs) > 0 {
			a.add(&Command{Kind: "redirect", Redirects: redirs}, sc)
		}
		if c != nil {
			a.compound(c, sc)
		}
	}
	for _, r := range s.Redirs {
		a.substIn(r.Word, sc)
		a.substIn(r.Hdoc, sc)
	}
}

// callExpr is a simple command, or assignments alone.
func (a *analyzer) callExpr(c *syntax.CallExpr, redirs []*Redirect, sc scope) {
	env := a.assigns(c.Assigns)
	var argv []*Arg
	for _, w := range c.Args {
		argv = append(argv, a.words(w)...)
		if len(w.Parts) == 1 && len(argv) > 0 {
			argv[len(argv)-1].feeds = a.fed(w.Parts[0])
		}
	}
	if len(argv) == 0 {
		cmd := &Command{Kind: "assign", Env: env, Redirects: redirs}
		a.add(cmd, sc)
		a.influence(cmd, env, sc)
		a.owner = cmd
	} else {
		a.owner = a.run(argv, env, redirs, sc)
	}
	for _, as := range c.Assigns {
		a.substIn(as, sc)
	}
	for _, w := range c.Args {
		a.substIn(w, sc)
	}
}

// declClause is declare, local, export, readonly, typeset or nameref.
func (a *analyzer) declClause(d *syntax.DeclClause, redirs []*Redirect, sc scope) {
	a.feature(FeatureDeclare)
	cmd := &Command{Kind: "declare", Name: d.Variant.Value, Base: d.Variant.Value, NameStatic: true, Redirects: redirs}
	for _, as := range d.Args {
		if as.Naked && as.Name == nil {
			cmd.Args = append(cmd.Args, a.words(as.Value)...)
			continue
		}
		cmd.Env = append(cmd.Env, a.assigns([]*syntax.Assign{as})...)
	}
	cmd.Static = allLiteral(cmd.Args)
	for _, e := range cmd.Env {
		cmd.Static = cmd.Static && e.Static
	}
	a.add(cmd, sc)
	a.influence(cmd, cmd.Env, sc)
	a.sets(cmd)
	a.owner = cmd
	a.subscripts(cmd, sc.by(cmd.Base))
	a.substIn(d, sc)
}

func (a *analyzer) assigns(list []*syntax.Assign) []*Assign {
	var out []*Assign
	for _, as := range list {
		if as.Name == nil {
			continue
		}
		a.feature(FeatureAssignment)
		e := &Assign{Name: as.Name.Value}
		a.noteAssign(as)
		if e.Name == "CDPATH" || e.Name == "HOME" || e.Name == "OLDPWD" {
			a.cdSearch = true
		}
		if as.Array == nil && as.Index == nil && !as.Append && !as.Naked {
			v := a.word(as.Value)
			// No pathname expansion in an assignment; a tilde may also stand after a colon.
			if v.Value != nil && !strings.Contains(*v.Value, "~") {
				e.Value, e.Static = v.Value, true
			}
		}
		out = append(out, e)
	}
	return out
}

// compound walks a compound command.
func (a *analyzer) compound(cmd syntax.Command, sc scope) {
	switch c := cmd.(type) {
	case *syntax.BinaryCmd:
		a.binary(c, sc)
	case *syntax.Subshell:
		a.feature(FeatureSubshell)
		a.stmts(c.Stmts, sc.in("(subshell)"))
	case *syntax.Block:
		a.feature(FeatureBlock)
		a.stmts(c.Stmts, sc.in("{block}"))
	case *syntax.IfClause:
		a.feature(FeatureIf)
		for ; c != nil; c = c.Else {
			a.stmts(c.Cond, sc.in("if"))
			a.stmts(c.Then, sc.in("if"))
		}
	case *syntax.WhileClause:
		a.feature(FeatureWhile)
		sc.late = true
		a.stmts(c.Cond, sc.in("while"))
		a.stmts(c.Do, sc.in("while"))
	case *syntax.ForClause:
		a.forClause(c, sc)
	case *syntax.CaseClause:
		a.feature(FeatureCase)
		a.substIn(c.Word, sc)
		for _, item := range c.Items {
			for _, p := range item.Patterns {
				a.substIn(p, sc)
			}
			a.stmts(item.Stmts, sc.in("case"))
		}
	case *syntax.FuncDecl:
		a.funcDecl(c, sc)
	case *syntax.TimeClause:
		a.feature(FeatureTime)
		a.stmt(c.Stmt, sc.in("time"))
	case *syntax.CoprocClause:
		a.feature(FeatureCoproc)
		a.substIn(c.Name, sc)
		if c.Name != nil {
			a.variable(unhidden(c.Name.Lit()))
		}
		a.stmt(c.Stmt, sc.in("coproc"))
	case *syntax.TestClause:
		a.feature(FeatureTestClause)
		a.latentIn(c, "[[", sc)
		a.substIn(c, sc)
	case *syntax.ArithmCmd:
		a.feature(FeatureArithmetic)
		a.latentIn(c, "((", sc)
		a.substIn(c, sc)
	case *syntax.LetClause:
		a.feature(FeatureLet)
		a.latentIn(c, "let", sc)
		a.substIn(c, sc)
	default:
		// A node of a newer parser: nothing is known, so nothing may be allowed.
		a.overflow()
	}
}

func (a *analyzer) binary(c *syntax.BinaryCmd, sc scope) {
	switch c.Op {
	case syntax.AndStmt:
		a.feature(FeatureAndList)
		a.stmt(c.X, sc.in("&&"))
		a.stmt(c.Y, sc.in("&&"))
	case syntax.OrStmt:
		a.feature(FeatureOrList)
		a.stmt(c.X, sc.in("||"))
		a.stmt(c.Y, sc.in("||"))
	default:
		a.feature(FeaturePipeline)
		a.stmt(c.X, sc.in("|"))
		right := sc.in("|")
		right.stdin = a.echoed(c.X)
		a.stmt(c.Y, right)
	}
}

func (a *analyzer) forClause(c *syntax.ForClause, sc scope) {
	name := "for"
	a.feature(FeatureFor)
	if c.Select {
		name = "select"
		a.feature(FeatureSelect)
	}
	a.substIn(c.Loop, sc)
	if w, ok := c.Loop.(*syntax.WordIter); ok && w.Name != nil {
		a.variable(unhidden(w.Name.Value))
		a.noteWords(w.Name.Value, w.Items)
	}
	sc.late = true
	a.stmts(c.Do, sc.in(name))
}

func (a *analyzer) funcDecl(c *syntax.FuncDecl, sc scope) {
	a.feature(FeatureFunction)
	name := ""
	if c.Name != nil {
		name = unhidden(c.Name.Value)
		a.functions[name] = true
	}
	sc.late = true
	a.stmt(c.Body, sc.in("function:"+name))
}

// substIn walks the commands that are substituted somewhere inside node.
func (a *analyzer) substIn(node syntax.Node, sc scope) {
	if isNilNode(node) {
		return
	}
	syntax.Walk(node, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.CmdSubst:
			a.feature(FeatureCommandSubst)
			sub := sc.in("cmdsubst")
			sub.stdin = nil
			a.stmts(n.Stmts, sub)
			return false
		case *syntax.ProcSubst:
			a.feature(FeatureProcessSubst)
			sub := sc.in("procsubst")
			sub.stdin = nil
			a.stmts(n.Stmts, sub)
			return false
		case *syntax.ExtGlob:
			a.feature(FeatureExtGlob)
			a.opaquePattern(n.Pattern, sc)
		case *syntax.ParamExp:
			a.feature(FeatureParameter)
			a.paramExp(n)
		case *syntax.BinaryArithm:
			a.assignsIn(n.Op.String(), n.X)
		case *syntax.UnaryArithm:
			a.assignsIn(n.Op.String(), n.X)
		case *syntax.ArithmExp:
			a.feature(FeatureArithmetic)
		}
		return true
	})
}

func isNilNode(node syntax.Node) bool {
	switch n := node.(type) {
	case nil:
		return true
	case *syntax.Word:
		return n == nil
	}
	return false
}

// opaquePattern walks the substitutions in the text of an extended glob, which the parser leaves alone.
func (a *analyzer) opaquePattern(lit *syntax.Lit, sc scope) {
	if lit == nil || !strings.ContainsAny(lit.Value, "$`<>") {
		return
	}
	sc.depth++
	a.parsed += len(lit.Value)
	if sc.depth > hardDepth || a.parsed > hardParsed {
		a.overflow()
		return
	}
	if strings.Contains(lit.Value, "<(") || strings.Contains(lit.Value, ">(") {
		a.overflow() // code that may run and cannot be read
		return
	}
	parser := syntax.NewParser(syntax.Variant(syntax.LangBash))
	word, err := parser.Document(strings.NewReader(lit.Value))
	if err != nil {
		a.overflow()
		return
	}
	a.substIn(word, sc)
}
