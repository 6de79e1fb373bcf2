package nearest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// What a change costs before its length: what changes the call least comes first.
const (
	costWord    = 1 << 10
	costReplace = 2 << 10
	costCommand = 8 << 10
)

// edit is one change: of a range of the script, or of another part of the call.
type edit struct {
	what     string
	cost     int
	gain     int // reasons that it takes away
	from, to int // of the script; to is 0 for another part
	put      string
	change   func(args map[string]any, c *Call)
}

// overlap tells whether two changes are of the same part of the script.
func overlap(edits []edit) bool {
	for i, a := range edits {
		for _, b := range edits[:i] {
			if a.to > 0 && b.to > 0 && a.from < b.to && b.from < a.to {
				return true
			}
		}
	}
	return false
}

func (s *search) args() map[string]any {
	args := map[string]any{}
	if err := json.Unmarshal(s.call.Args, &args); err != nil {
		return map[string]any{}
	}
	return args
}

// apply makes the changed call.
func (s *search) apply(edits []edit) (Call, string, error) {
	call := Call{Cwd: s.call.Cwd, Env: maps.Clone(s.call.Env)}
	args := s.args()
	script, scripted := args[s.opts.ScriptArg].(string)
	ranges := slices.SortedFunc(slices.Values(edits), func(a, b edit) int { return cmp.Compare(b.from, a.from) })
	for _, e := range ranges {
		if e.to > 0 {
			script = script[:e.from] + e.put + script[e.to:]
		}
	}
	if scripted {
		script = strings.TrimRight(strings.TrimSpace(script), "; \t\n")
		args[s.opts.ScriptArg] = script
	}
	for _, e := range edits {
		if e.change != nil {
			e.change(args, &call)
		}
	}
	raw, err := json.Marshal(args)
	call.Args = raw
	return call, script, err
}

// edits are all single changes that are tried.
func (s *search) edits() []edit {
	var edits []edit
	args := s.args()
	if script, ok := args[s.opts.ScriptArg].(string); ok && s.opts.ScriptArg != "" {
		edits = append(edits, scriptEdits(script)...)
	}
	for _, name := range slices.Sorted(maps.Keys(args)) {
		if name == s.opts.ScriptArg {
			continue
		}
		edits = append(edits, edit{
			what: fmt.Sprintf("without the argument %s", name), cost: costWord,
			change: func(args map[string]any, _ *Call) { delete(args, name) },
		})
		if text, ok := args[name].(string); ok && slices.Contains(s.opts.PathArgs, name) && isOutside(text) {
			inside := path.Base(text)
			edits = append(edits, edit{
				what: fmt.Sprintf("with the path %q in the workspace instead of %q", inside, text), cost: costReplace,
				change: func(args map[string]any, _ *Call) { args[name] = inside },
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.call.Env)) {
		edits = append(edits, edit{
			what: fmt.Sprintf("without the variable %s", name), cost: costWord,
			change: func(_ map[string]any, c *Call) { delete(c.Env, name) },
		})
	}
	if s.call.Cwd != "" && s.call.Cwd != workspace {
		edits = append(edits, edit{
			what: "in the workspace itself instead of " + s.call.Cwd, cost: costReplace,
			change: func(_ map[string]any, c *Call) { c.Cwd = workspace },
		})
	}
	return edits
}

const workspace = "/workspace"

// isOutside tells whether a path may lead out of the workspace.
func isOutside(text string) bool {
	if text == workspace || strings.HasPrefix(text, workspace+"/") && !strings.Contains(text, "..") {
		return false
	}
	base := path.Base(text)
	return strings.ContainsRune(text, '/') && base != "/" && base != "." && base != ".."
}

// scriptEdits are the changes of a script; none of one that cannot be parsed.
func scriptEdits(script string) []edit {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(script), "")
	if err != nil {
		return nil
	}
	c := &cutter{script: script}
	c.list(file.Stmts)
	syntax.Walk(file, func(node syntax.Node) bool {
		c.node(node)
		return true
	})
	return c.edits
}

type cutter struct {
	script string
	edits  []edit
}

func offset(p syntax.Pos) int { return int(p.Offset()) } // #nosec G115 -- within a script of at most some megabytes

func (c *cutter) text(node syntax.Node) string {
	text := strings.TrimRight(c.script[offset(node.Pos()):offset(node.End())], " \t\n;&")
	if len(text) > 80 {
		text = strings.ToValidUTF8(text[:80], "") + "…"
	}
	return text
}

func (c *cutter) cut(what string, cost, from, to int) {
	if from < to && to <= len(c.script) {
		c.edits = append(c.edits, edit{what: what, cost: cost + to - from, from: from, to: to})
	}
}

// list drops each statement of a list, with what separates it from the next.
func (c *cutter) list(stmts []*syntax.Stmt) {
	for i, stmt := range stmts {
		if len(stmts) < 2 {
			return
		}
		from, to := offset(stmt.Pos()), offset(stmt.End())
		if i+1 < len(stmts) {
			to = offset(stmts[i+1].Pos())
		}
		c.cut(fmt.Sprintf("without the command %s", c.text(stmt)), costCommand, from, to)
	}
}

func (c *cutter) node(node syntax.Node) {
	switch n := node.(type) {
	case *syntax.Block:
		c.list(n.Stmts)
	case *syntax.Subshell:
		c.list(n.Stmts)
	case *syntax.BinaryCmd:
		c.cut(fmt.Sprintf("without the command %s", c.text(n.X)), costCommand, offset(n.X.Pos()), offset(n.Y.Pos()))
		c.cut(fmt.Sprintf("without the command %s", c.text(n.Y)), costCommand, offset(n.X.End()), offset(n.Y.End()))
	case *syntax.Stmt:
		for _, r := range n.Redirs {
			if r.Hdoc == nil {
				c.cut(fmt.Sprintf("without the redirect %s", c.text(r)), costWord, offset(r.Pos()), offset(r.End()))
				c.inside(r.Word)
			}
		}
	case *syntax.CallExpr:
		for _, a := range n.Assigns {
			if len(n.Args) > 0 {
				c.cut(fmt.Sprintf("without the assignment %s", c.text(a)), costWord, offset(a.Pos()), offset(a.End()))
			}
		}
		for i, word := range n.Args {
			if i == 0 {
				continue
			}
			c.cut(fmt.Sprintf("without the argument %s", c.text(word)), costWord, offset(n.Args[i-1].End()), offset(word.End()))
			c.inside(word)
		}
	}
}

// inside puts a path of the workspace in the place of one outside.
func (c *cutter) inside(word *syntax.Word) {
	if word == nil {
		return
	}
	text := word.Lit()
	if !isOutside(text) || strings.HasPrefix(text, "-") {
		return
	}
	base := path.Base(text)
	c.edits = append(c.edits, edit{
		what: fmt.Sprintf("with the path %s in the workspace instead of %s", base, text),
		cost: costReplace + len(text), from: offset(word.Pos()), to: offset(word.End()), put: base,
	})
}
