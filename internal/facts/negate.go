package facts

import (
	"errors"
	"regexp"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// maxSalvaged bounds how many lines are tried one by one after a syntax error.
const maxSalvaged = 500

var (
	errNegation = errors.New("an unusual negation or time")
	timeDashes  = regexp.MustCompile(`\btime[ \t]+(?:-p[ \t]+)?(--)[ \t\n]`)
)

// withoutNegation returns src without the ! that the parser refuses and bash takes: a second one, one after time,
// and one alone, which is a command that does nothing.
func withoutNegation(src string, err error) (fixed string, ok bool) {
	var perr syntax.ParseError
	if !errors.As(err, &perr) || !strings.Contains(perr.Text, "negate a command") && !strings.HasPrefix(perr.Text, "`!` can") {
		return src, false
	}
	at := int(perr.Pos.Offset())
	if at >= len(src) || src[at] != '!' {
		return src, false
	}
	with := " "
	if strings.Contains(perr.Text, "alone") {
		with = ":"
	}
	return src[:at] + with + src[at+1:], true
}

// withoutDashes returns src without the -- after the keyword time, which the parser takes for a command.
func withoutDashes(src string, stmts []*syntax.Stmt, err error) (fixed string, ok bool) {
	if !timeDashes.MatchString(src) {
		return src, false
	}
	at := -1
	for _, s := range stmts {
		syntax.Walk(s, func(n syntax.Node) bool {
			t, ok := n.(*syntax.TimeClause)
			if !ok || t.Stmt == nil {
				return true
			}
			if call, ok := t.Stmt.Cmd.(*syntax.CallExpr); ok && len(call.Args) > 0 && call.Args[0].Lit() == "--" {
				at = int(call.Args[0].Pos().Offset())
			}
			return true
		})
	}
	if at < 0 && err != nil {
		at = timeDashes.FindStringSubmatchIndex(src)[2]
	}
	if at < 0 || !strings.HasPrefix(src[at:], "--") {
		return src, false
	}
	return src[:at] + "  " + src[at+2:], true
}

// salvaged returns what can be read of the lines after stmts when the script as a whole cannot be parsed. Bash may run
// none of it, but what is refused by its name shall be refused whether the rest is understood or not.
func salvaged(src string, stmts []*syntax.Stmt) []*syntax.Stmt {
	from := 0
	if len(stmts) > 0 {
		from = int(stmts[len(stmts)-1].End().Offset())
	}
	var out []*syntax.Stmt
	lines := 0
	for line := range strings.Lines(src[min(from, len(src)):]) {
		if lines++; lines > maxSalvaged {
			break
		}
		parser := syntax.NewParser(syntax.Variant(syntax.LangBash))
		for stmt, err := range parser.StmtsSeq(strings.NewReader(line)) {
			if err != nil {
				break
			}
			out = append(out, stmt)
		}
	}
	return out
}
