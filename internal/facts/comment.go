package facts

import (
	"errors"
	"regexp"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// maxCommentFixes bounds how often a script is parsed anew.
const maxCommentFixes = 32

// hashLine is a line that could end in a comment whose last character is a backslash.
var hashLine = regexp.MustCompile("(?m)(?:^|[ \\t;&|()<>`])(#).*\\\\$")

// parse parses src. For bash a comment ends with its line; the parser takes a backslash before the newline for a line
// continuation even there, so that `ls # \` would swallow the command on the next line. Such comments lose their
// backslash here, first to last, since each of them changes how the rest is read.
func parse(src string) ([]*syntax.Stmt, error) {
	var doubt error
	for range maxCommentFixes {
		stmts, perr := parseOnce(src)
		at := -1
		if hashLine.MatchString(src) {
			at = continuedComment(src, stmts)
		}
		if at < 0 {
			return stmts, errors.Join(doubt, perr)
		}
		if perr != nil && doubt == nil {
			doubt = errors.New("a comment that may end in a backslash") // or text in quotes that were not closed
		}
		src = src[:at] + " " + src[at+1:]
	}
	return nil, errors.New("too many comments that end in a backslash")
}

func parseOnce(src string) (stmts []*syntax.Stmt, perr error) {
	parser := syntax.NewParser(syntax.Variant(syntax.LangBash), syntax.KeepComments(true))
	for stmt, err := range parser.StmtsSeq(strings.NewReader(src)) {
		if err != nil {
			return linesBefore(stmts, err), err
		}
		stmts = append(stmts, stmt)
	}
	return stmts, nil
}

// continuedComment returns where the backslash of the first continued comment is, or -1. A hash at the beginning of
// a word that belongs to no word begins a comment.
func continuedComment(src string, stmts []*syntax.Stmt) int {
	inWord := make([]bool, len(src)+1)
	for _, s := range stmts {
		syntax.Walk(s, func(n syntax.Node) bool {
			switch n.(type) {
			case *syntax.Lit, *syntax.SglQuoted:
				for i := n.Pos().Offset(); i < min(n.End().Offset(), uint(len(src))); i++ {
					inWord[i] = true
				}
			}
			return true
		})
	}
	for _, line := range hashLine.FindAllStringIndex(src, -1) {
		for i := line[0]; i < line[1]; i++ {
			starts := i == 0 || strings.IndexByte(" \t\n;&|()<>`", src[i-1]) >= 0
			if src[i] == '#' && starts && !inWord[i] {
				return line[1] - 1
			}
		}
	}
	return -1
}
