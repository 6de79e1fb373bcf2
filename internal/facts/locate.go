package facts

import (
	"path"
	"strings"
)

// locate fills in the path facts of a command, read in the working directories that are possible there.
func (a *analyzer) locate(c *Command) {
	if c.other {
		return
	}
	argBases, from := c.bases, 0
	if c.Git != nil {
		argBases, from = a.gitBases(c), c.Git.At
	}
	for i, g := range c.Args {
		if i < from {
			a.locateArg(g, c.bases)
			continue
		}
		a.locateArg(g, argBases)
	}
	if len(c.Files) > 0 {
		a.locateUses(c)
	}
	for _, r := range c.Redirects {
		file := r.Class == "read" || r.Class == "write" || r.Class == "append" || r.Class == "read_write"
		if file && r.Static && r.Target != nil && !r.Network {
			r.PathFacts = a.pathFacts(*r.Target, c.bases)
		}
		if file && !r.Static {
			r.May = a.possible(r.raw, c.bases)
		}
	}
}

// gitBases fills in the path facts of git's own options, each as git reads it, and returns where its arguments are
// read: every -C moves there.
func (a *analyzer) gitBases(c *Command) []string {
	bases := c.bases
	for i := range c.Git.Options {
		o := &c.Git.Options[i]
		if o.Value != nil {
			o.PathFacts = a.pathFacts(*o.Value, bases)
		}
		if o.Name != "-C" {
			continue
		}
		if o.Real == "" {
			return nil
		}
		bases = []string{o.Real}
	}
	return bases
}

func (a *analyzer) locateArg(g *Arg, bases []string) {
	switch {
	case g.Value == nil:
		g.May = a.possible(g.raw, bases)
		return
	case g.Glob:
		g.PathFacts = a.globFacts(g, bases)
		return
	}
	g.PathFacts = a.pathFacts(*g.Value, bases)
	if name, value, ok := strings.Cut(*g.Value, "="); ok && name != "" {
		g.Eq = &Eq{Name: name, Value: value, PathFacts: a.pathFacts(value, bases)}
	}
}

// pathFacts resolves name in every possible base. With several of them only what holds in each is told.
func (a *analyzer) pathFacts(name string, bases []string) PathFacts {
	if path.IsAbs(name) {
		return a.res.facts("/", name)
	}
	if len(bases) == 0 {
		return PathFacts{}
	}
	first := a.res.facts(bases[0], name)
	for _, b := range bases[1:] {
		f := a.res.facts(b, name)
		if first.InWorkspace == nil || f.InWorkspace == nil || *f.InWorkspace != *first.InWorkspace {
			return PathFacts{}
		}
	}
	if len(bases) > 1 {
		return PathFacts{InWorkspace: first.InWorkspace}
	}
	return first
}

// globFacts tells whether all matches are inside; only for a pattern whose directory part is static.
func (a *analyzer) globFacts(g *Arg, bases []string) PathFacts {
	dir, ok := staticDir(g.raw)
	if !ok || len(bases) != 1 && !path.IsAbs(dir) {
		return PathFacts{}
	}
	base := "/"
	if !path.IsAbs(dir) {
		base = bases[0]
	}
	if dir == "" {
		dir = "."
	}
	// Every name of the directory counts as a match, unless the literal ends of the pattern exclude it.
	_, last := path.Split(*g.Value)
	prefix, suffix := literalEnds(last)
	f, none := a.res.glob(base, dir, func(name string) bool {
		if name == ".." && !strings.HasPrefix(last, ".") {
			return false
		}
		return strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix)
	})
	g.NoMatch = none
	if strings.HasPrefix(*g.Value, "-") {
		return PathFacts{} // it may be an option
	}
	return f
}

// literalEnds returns the text before the first and after the last character that could belong to a pattern.
func literalEnds(pattern string) (prefix, suffix string) {
	const special = "*?[]\\!^()|+@"
	first := strings.IndexAny(pattern, special)
	if first < 0 {
		return "", ""
	}
	return pattern[:first], pattern[strings.LastIndexAny(pattern, special)+1:]
}

// staticDir returns what is before the last slash of the field, if that holds no pattern.
func staticDir(fs []frag) (dir string, ok bool) {
	var b strings.Builder
	for _, f := range fs {
		if f.extglob || f.dynamic {
			return "", false
		}
		b.WriteString(f.text)
	}
	all := b.String()
	cut := strings.LastIndexByte(all, '/') + 1
	var head []frag
	left := cut
	for _, f := range fs {
		if left <= 0 {
			break
		}
		n := min(left, len(f.text))
		head = append(head, frag{text: f.text[:n], quoted: f.quoted})
		left -= n
	}
	if strings.ContainsAny(unquotedText(head), "*?[") {
		return "", false
	}
	return all[:cut], true
}

func unquotedText(fs []frag) string {
	var b strings.Builder
	for _, f := range fs {
		if !f.quoted {
			b.WriteString(f.text)
		}
	}
	return b.String()
}
