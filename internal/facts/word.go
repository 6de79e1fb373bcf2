package facts

import (
	"slices"
	"strings"
	"unicode/utf8"

	"mvdan.cc/sh/v3/syntax"
)

// frag is a piece of a word after brace expansion and quote removal.
type frag struct {
	text    string
	quoted  bool
	dynamic bool // text is not known
	many    bool // dynamic, and can become several words or none
	extglob bool
	hint    *hint // of a dynamic one, if something is known
}

// placeholder stands for a dynamic part where a script is analysed although part of it is not known.
const placeholder = `${__unknown__}`

// Private-use runes that stand for control characters which the parser would drop.
const (
	crStandIn  = '\uf70d'
	nulStandIn = '\uf700'
)

// hidden replaces the characters that the parser drops or cuts at by stand-ins, which are ordinary characters to
// it as CR is to bash. ok is false if the script already holds a stand-in.
func hidden(script string) (s string, ok bool) {
	if strings.ContainsRune(script, crStandIn) || strings.ContainsRune(script, nulStandIn) {
		return script, false
	}
	if !strings.ContainsAny(script, "\r\x00") {
		return script, true
	}
	return strings.NewReplacer("\r", string(crStandIn), "\x00", string(nulStandIn)).Replace(script), true
}

func unhidden(s string) string {
	if !strings.ContainsRune(s, crStandIn) && !strings.ContainsRune(s, nulStandIn) {
		return s
	}
	return strings.NewReplacer(string(crStandIn), "\r", string(nulStandIn), "\x00").Replace(s)
}

// words expands the braces of w and removes the quotes: one Arg per resulting field, without path facts.
func (a *analyzer) words(w *syntax.Word) []*Arg {
	if w == nil {
		return nil
	}
	fields := [][]frag{a.frags(w.Parts)}
	braced := false
	if hasBrace(fields[0]) {
		fields, braced = a.braces(fields[0])
	}
	out := make([]*Arg, 0, len(fields))
	for _, f := range fields {
		if braced && len(f) == 0 {
			continue // an empty unquoted field vanishes
		}
		if a.fields++; a.fields > hardFields {
			a.overflow()
			break
		}
		out = append(out, a.arg(f, braced))
	}
	return out
}

func hasBrace(fs []frag) bool {
	for _, f := range fs {
		if !f.quoted && !f.dynamic && strings.Contains(f.text, "{") {
			return true
		}
	}
	return false
}

// braces expands the brace expressions of a field; braced tells whether there were any.
func (a *analyzer) braces(f []frag) (fields [][]frag, braced bool) {
	text := atoms(f)
	b := &bracer{left: hardBraces, steps: hardSteps}
	expanded := b.expand(text)
	if b.overflow {
		a.overflow()
	}
	if len(expanded) == 1 && len(expanded[0]) == len(text) {
		return [][]frag{f}, false
	}
	a.feature(FeatureBraceExpansion)
	for _, e := range expanded {
		if slices.ContainsFunc(e, func(t atom) bool { return t.is('$') }) {
			// What was text may have become an expansion or a quote: {,$}0 makes $0.
			fields = append(fields, []frag{{dynamic: true, many: true}})
			continue
		}
		fields = append(fields, joinAtoms(e))
	}
	return fields, true
}

// word reads w as one field that is not brace expanded: a redirect target, an assigned value.
func (a *analyzer) word(w *syntax.Word) *Arg {
	if w == nil {
		empty := ""
		return &Arg{Value: &empty, Literal: true}
	}
	return a.arg(a.frags(w.Parts), false)
}

// arg puts the pieces of one field together.
func (a *analyzer) arg(fs []frag, braced bool) *Arg {
	g := &Arg{Brace: braced, raw: fs}
	var value, approx strings.Builder
	seen := false
	for _, f := range fs {
		g.Quoted = g.Quoted || f.quoted
		if f.dynamic {
			if !seen {
				g.Prefix, seen = value.String(), true
			}
			g.Dynamic = true
			g.Splits = g.Splits || f.many
			approx.WriteString(placeholder)
			continue
		}
		value.WriteString(f.text)
		approx.WriteString(f.text)
	}
	g.approx = approx.String()
	g.Tilde = tilde(fs)
	g.Glob = glob(fs)
	if g.Glob {
		a.feature(FeatureGlob)
	}
	if g.Tilde {
		a.feature(FeatureTilde)
		g.Prefix = ""
		g.approx = placeholder
	}
	if !g.Dynamic && !g.Tilde {
		v := value.String()
		g.Value = &v
		g.Literal = !g.Glob
	}
	return g
}

// glob reports whether pathname expansion applies to the field.
func glob(fs []frag) bool {
	open := false
	for _, f := range fs {
		if f.extglob {
			return true
		}
		if f.dynamic {
			continue
		}
		if f.quoted {
			if open && strings.Contains(f.text, "]") {
				return true // quoted, so not certain; but never call it literal
			}
			continue
		}
		for _, c := range f.text {
			switch c {
			case '*', '?':
				return true
			case '[':
				open = true
			case ']':
				if open {
					return true
				}
			}
		}
	}
	return false
}

// tilde reports whether tilde expansion applies: at the start of the field, or, where it looks like an assignment,
// after its first = and any later colon.
func tilde(fs []frag) bool {
	if len(fs) == 0 || fs[0].quoted || fs[0].dynamic {
		return false
	}
	if strings.HasPrefix(fs[0].text, "~") {
		return true
	}
	name, rest, ok := strings.Cut(fs[0].text, "=")
	if !ok || !isName(strings.TrimSuffix(name, "+")) {
		return false
	}
	if strings.HasPrefix(rest, "~") {
		return true
	}
	for _, f := range fs {
		if !f.quoted && !f.dynamic && (strings.Contains(f.text, ":~") || strings.Contains(f.text, "=~")) {
			return true
		}
	}
	return false
}

func isName(s string) bool {
	if s == "" {
		return false
	}
	for i, c := range []byte(s) {
		alpha := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alpha && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// frags removes the quotes of the parts of a word.
func (a *analyzer) frags(parts []syntax.WordPart) []frag {
	var out []frag
	for _, p := range parts {
		out = append(out, a.frag(p)...)
	}
	return out
}

func (a *analyzer) frag(part syntax.WordPart) []frag {
	switch p := part.(type) {
	case *syntax.Lit:
		return unescape(p.Value)
	case *syntax.SglQuoted:
		text := unhidden(p.Value)
		if p.Dollar {
			a.feature(FeatureANSIQuote)
			if strings.ContainsAny(text, "\x01\x7f") {
				return []frag{{dynamic: true, quoted: true}} // bash marks quoting with them, and trips over them here
			}
			if text = ansiC(text); !utf8.ValidString(text) {
				return []frag{{dynamic: true, quoted: true}} // JSON could not hold it
			}
		}
		return []frag{{text: text, quoted: true}}
	case *syntax.DblQuoted:
		if p.Dollar {
			a.feature(FeatureLocaleQuote)
		}
		return a.dblQuoted(p.Parts)
	case *syntax.ExtGlob:
		a.feature(FeatureExtGlob)
		return []frag{{dynamic: true, many: true, extglob: true}}
	case *syntax.ParamExp:
		return []frag{{dynamic: true, many: true, hint: a.expansion(p)}}
	case *syntax.CmdSubst:
		return []frag{{dynamic: true, many: true, hint: substitution(p)}}
	case *syntax.ProcSubst:
		return []frag{{dynamic: true}}
	}
	return []frag{{dynamic: true, many: true}}
}

// dblQuoted removes the quotes of the inside of "…". An empty one is still a piece.
func (a *analyzer) dblQuoted(parts []syntax.WordPart) []frag {
	out := []frag{{quoted: true}}
	for _, part := range parts {
		switch p := part.(type) {
		case *syntax.Lit:
			out = append(out, frag{text: unescapeIn(p.Value, "$`\"\\"), quoted: true})
		case *syntax.ParamExp:
			out = append(out, frag{quoted: true, dynamic: true, many: manyWords(p), hint: a.expansion(p)})
		case *syntax.CmdSubst:
			out = append(out, frag{quoted: true, dynamic: true, hint: substitution(p)})
		default:
			out = append(out, frag{quoted: true, dynamic: true})
		}
	}
	return out
}

// manyWords reports whether "$p" can be several words or none: "$@", "${a[@]}", "${!x@}" and their like.
func manyWords(p *syntax.ParamExp) bool {
	if p.Names != 0 || p.Excl {
		return true
	}
	if p.Param != nil && p.Param.Value == "@" {
		return true
	}
	return p.Index != nil
}

// unescape removes the backslashes of an unquoted literal; each escaped character is a quoted piece.
func unescape(s string) []frag {
	s = unhidden(s)
	if s == "" {
		return nil
	}
	if !strings.Contains(s, `\`) {
		return []frag{{text: s}}
	}
	var out []frag
	start := 0
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		if i > start {
			out = append(out, frag{text: s[start:i]})
		}
		if i++; i >= len(s) {
			return append(out, frag{dynamic: true}) // at the very end of a script: bash keeps it at times only
		}
		end := i + 1
		for end < len(s) && s[end]&0xc0 == 0x80 {
			end++ // the rest of a multi-byte character
		}
		if s[i] != '\n' {
			out = append(out, frag{text: s[i:end], quoted: true})
		}
		start = end
		i = end - 1
	}
	if start < len(s) {
		out = append(out, frag{text: s[start:]})
	}
	return out
}

// unescapeIn removes the backslashes before a newline and before the characters of set.
func unescapeIn(s, set string) string {
	s = unhidden(s)
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			if s[i+1] == '\n' {
				i++
				continue
			}
			if strings.IndexByte(set, s[i+1]) >= 0 {
				i++
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
