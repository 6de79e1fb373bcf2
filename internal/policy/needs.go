package policy

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// needs are the parts of the input that the rules of a revision can read, out of
// those that cost much to build or to hold and that few policies look at. What
// no rule names is left out of the value that is decided: no rule can tell.
type needs struct {
	caller, daemon                              bool // more of it than the tenant, or the environment
	agent, recent, counts, annotations, sandbox bool
	ids                                         bool // of the decision or the call
	time, session, seq, digest                  bool // session: its id
	lifetime, usage                             bool // of the session
}

// allNeeds is the whole document.
var allNeeds = needs{
	caller: true, agent: true, recent: true, counts: true, annotations: true, sandbox: true, daemon: true,
	ids: true, time: true, session: true, seq: true, digest: true, lifetime: true, usage: true,
}

// needsOf finds what the rules read: every reference into the input, as far as
// its keys are written down. One that takes the input, or an object in it, as a
// whole takes everything below.
func needsOf(compiler *ast.Compiler) needs {
	u := uses{}
	for _, mod := range compiler.Modules {
		u.walk(mod)
	}
	return needs{
		caller: u.readsAny("caller", "id", "transport", "uid", "gid", "pid", "exe"), agent: u.reads("agent"),
		recent: u.reads("session", "recent"), counts: u.reads("session", "counts"),
		annotations: u.reads("tool", "annotations") || u.reads("tools"),
		sandbox:     u.reads("sandbox"), daemon: u.readsAny("daemon", "version", "policy_revision"),
		ids: u.reads("decision_id") || u.reads("call", "id"), time: u.reads("time"),
		session: u.reads("session", "id"), seq: u.reads("session", "seq"), digest: u.reads("call", "digest"),
		lifetime: u.readsAny("session", "created", "expires"), usage: u.reads("session", "usage"),
	}
}

// uses are the paths below the input that are read.
type uses struct{ paths [][]string }

func (u *uses) walk(x any) {
	ast.NewGenericVisitor(func(node any) bool {
		switch node := node.(type) {
		case ast.Ref:
			if !isInput(node[0].Value) {
				return false
			}
			u.paths = append(u.paths, pathBelow(node))
			for _, term := range node[1:] { // a key may hold another reference
				u.walk(term)
			}
			return true
		case ast.Var:
			if isInput(node) { // the document itself
				u.paths = append(u.paths, nil)
			}
		}
		return false
	}).Walk(x)
}

func isInput(value ast.Value) bool {
	v, ok := value.(ast.Var)
	return ok && v.Equal(ast.InputRootDocument.Value)
}

// pathBelow are the keys of a reference up to the first that is not written down.
func pathBelow(ref ast.Ref) []string {
	var path []string
	for _, term := range ref[1:] {
		key, ok := term.Value.(ast.String)
		if !ok {
			break
		}
		path = append(path, string(key))
	}
	return path
}

// reads tells whether a rule can come to what is at the path.
func (u *uses) reads(path ...string) bool {
	return slices.ContainsFunc(u.paths, func(used []string) bool {
		n := min(len(used), len(path))
		return slices.Equal(used[:n], path[:n])
	})
}

func (u *uses) readsAny(object string, members ...string) bool {
	return slices.ContainsFunc(members, func(member string) bool { return u.reads(object, member) })
}
