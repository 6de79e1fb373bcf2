package facts

import (
	"errors"
	"regexp"
	"strings"
	"sync"

	"mvdan.cc/sh/v3/syntax"
)

// maxReparsed bounds how many bytes are given to the parser again because a script was changed, or to find its
// here-documents.
const maxReparsed = 2 << 20

var errTooMany = errors.New("too many places that the parser reads in another way than bash")

// hashLine is a line that could end in a comment whose last character is a backslash.
var hashLine = regexp.MustCompile("(?m)(?:^|[ \\t;&|()<>`])(#).*\\\\$")

// parse parses src as bash reads it, which the parser does not in some places; there src is changed until it does.
// For bash a comment ends with its line; the parser takes a backslash before the newline for a line continuation even
// there, so that `ls # \` would swallow the command on the next line. Such comments lose their backslash, and
// here-documents get delimiters that are unmistakable: first to last, since each changes how the rest is read.
func parse(src string) ([]*syntax.Stmt, error) {
	var doubt error
	docs := &heredocs{}
	for parsed := 0; ; parsed += len(src) {
		stmts, perr := parseOnce(src)
		if parsed > maxReparsed {
			return append(stmts, salvaged(src, stmts)...), errTooMany
		}
		if fixed, ok := withoutNegation(src, perr); ok {
			src, doubt = fixed, errNegation
			continue
		}
		if fixed, ok := withoutDashes(src, stmts, perr); ok {
			src, doubt = fixed, errNegation
			continue
		}
		at := -1
		if hashLine.MatchString(src) {
			at = continuedComment(src, stmts)
		}
		if fixed, ok := docs.next(src, at); ok {
			src = fixed
			continue
		}
		if at < 0 {
			if perr != nil {
				stmts = append(stmts, salvaged(src, stmts)...)
			} else {
				docs.check(stmts)
			}
			return stmts, errors.Join(doubt, docs.doubt, perr)
		}
		if perr != nil && doubt == nil {
			doubt = errors.New("a comment that may end in a backslash") // or text in quotes that were not closed
		}
		src = src[:at] + " " + src[at+1:]
	}
}

// parsers are blank ones: each has buffers of 2 KiB, the largest single piece of
// garbage of a short script.
var parsers sync.Pool

// freshParser is what syntax.NewParser makes, in memory that was used before.
func freshParser() *syntax.Parser {
	parser, ok := parsers.Get().(*syntax.Parser)
	if !ok {
		parser = new(syntax.Parser)
	}
	syntax.Variant(syntax.LangBash)(parser)
	syntax.KeepComments(true)(parser)
	return parser
}

func parseOnce(src string) (stmts []*syntax.Stmt, perr error) {
	parser := freshParser()
	for stmt, err := range parser.StmtsSeq(strings.NewReader(src)) {
		if err != nil {
			stmts, perr = linesBefore(stmts, err), err
			break
		}
		stmts = append(stmts, stmt)
	}
	*parser = syntax.Parser{} // nothing of a script may reach the next
	parsers.Put(parser)       // not one that panicked
	return stmts, perr
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
