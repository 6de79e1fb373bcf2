package facts

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// subscripted are the builtins that take the name of a variable, the subscript of which they expand once more. For
// those with options the name follows one of them.
var subscripted = map[string]string{
	"test": "-v -R", "[": "-v -R", "printf": "-v", "wait": "-p", "let": "", "read": "", "unset": "", "declare": "",
	"typeset": "", "local": "", "export": "", "readonly": "", "mapfile": "", "readarray": "", "getopts": "",
}

// subscripts walks the commands substituted in the subscripts of c's arguments.
func (a *analyzer) subscripts(c *Command, sc scope) {
	after, ok := subscripted[c.Base]
	if !ok {
		return
	}
	for i, g := range c.Args {
		text := g.approx
		if after != "" {
			before := ""
			if i > 0 {
				before = c.Args[i-1].approx
			}
			attached := c.Base == "printf" && strings.HasPrefix(text, "-v")
			if !attached && (before == "" || !strings.Contains(" "+after+" ", " "+before+" ")) {
				continue
			}
		}
		a.latent(text, sc)
	}
}

// latent walks the commands substituted in the subscript of text, which is a name or arithmetic.
func (a *analyzer) latent(text string, sc scope) {
	open := strings.IndexByte(text, '[')
	if open < 0 || !strings.Contains(text[open:], "$(") && !strings.Contains(text[open:], "`") {
		return
	}
	a.feature(FeatureNestedScript)
	if !isDocument(text[open:]) {
		return // bash cannot expand it either
	}
	a.opaquePattern(&syntax.Lit{Value: text[open:]}, sc)
}

// latentIn does the same for the words of [[, (( and let that are evaluated although they are quoted.
func (a *analyzer) latentIn(node syntax.Node, name string, sc scope) {
	sc = sc.by(name)
	evaluated := func(n syntax.Node) {
		if w, ok := n.(*syntax.Word); ok {
			a.latent(a.word(w).approx, sc)
		}
	}
	syntax.Walk(node, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.CmdSubst, *syntax.ProcSubst:
			return false // walked as what it is
		case *syntax.UnaryTest:
			if n.Op == syntax.TsVarSet || n.Op == syntax.TsRefVar {
				evaluated(n.X)
			}
		case *syntax.BinaryTest:
			switch n.Op {
			case syntax.TsEql, syntax.TsNeq, syntax.TsLeq, syntax.TsGeq, syntax.TsLss, syntax.TsGtr:
				evaluated(n.X)
				evaluated(n.Y)
			}
		case *syntax.Word:
			if name != "[[" {
				evaluated(n)
			}
		}
		return true
	})
}
