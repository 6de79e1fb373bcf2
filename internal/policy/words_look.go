package policy

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// looks tells whether evaluating the expression itself may look at words; what it
// asks for has expressions of its own.
func (r *ruleWords) looks(expr *ast.Expr) look {
	if len(expr.With) > 0 {
		return looksByIndex
	}
	switch terms := expr.Terms.(type) {
	case *ast.Term:
		p, l := r.part(terms)
		if p == somePart {
			return looksByIndex
		}
		return l // a part is there or not, which is no word of it
	case []*ast.Term:
		return r.looksAt(expr, terms)
	case *ast.Every:
		p, l := r.part(terms.Domain)
		if p != noWords && p.item() == noWords {
			return looksByIndex
		}
		return l
	}
	return looksByIndex // what a later version of the language has
}

func (r *ruleWords) looksAt(expr *ast.Expr, terms []*ast.Term) look {
	var most look
	parts := make([]part, len(terms))
	for i, term := range terms[1:] {
		var l look
		parts[i+1], l = r.part(term)
		most = max(most, l)
	}
	if expr.IsEquality() && len(terms) == 3 {
		if (parts[1] != noWords || parts[2] != noWords) && !r.onlyNames(terms[1]) && !r.onlyNames(terms[2]) {
			return looksByIndex
		}
		return most
	}
	operator, ok := terms[0].Value.(ast.Ref)
	if !ok {
		return looksByIndex
	}
	if f := r.finder.functions[operator.String()]; f != nil {
		for i := len(f.args) + 1; i < len(parts); i++ { // the result is compared with it
			if parts[i] != noWords {
				return looksByIndex
			}
		}
		if r.finder.isIndexed(operator) {
			most = max(most, looksWhenEvaluated)
		}
		return most
	}
	if l, ok := r.looksInside(operator, terms, parts); ok {
		return max(most, l)
	}
	for _, p := range parts {
		if p != noWords {
			return looksByIndex
		}
	}
	return most
}

// looksInside tells of the built-in functions of which it is known what of a part
// they look at: how many items there are, and one member by its name.
func (r *ruleWords) looksInside(operator ast.Ref, terms []*ast.Term, parts []part) (look, bool) {
	for i := range parts {
		if i != 1 && parts[i] != noWords {
			return looksNowhere, false
		}
	}
	switch {
	case operator.Equal(ast.Count.Ref()) && len(terms) > 1:
		return looksNowhere, parts[1].item() != noWords
	case operator.Equal(ast.ObjectGet.Ref()) && len(terms) > 3 && parts[1].item() == noWords:
		if _, ok := keyOf(terms[2]); !ok {
			return looksNowhere, false
		}
		next, l := r.step(parts[1], terms[2])
		return l, next == noWords
	}
	return looksNowhere, false
}

// onlyNames tells of a side of an equality that it is a variable which gets its
// value there and nowhere else, so that nothing is compared.
func (r *ruleWords) onlyNames(side *ast.Term) bool {
	v, ok := side.Value.(ast.Var)
	return ok && !isInput(v) && r.bound[v] == 1
}

// headLooks tells whether making what the rule says looks at words: what goes
// into a document is compared with what is there.
func (r *ruleWords) headLooks() bool {
	terms := []*ast.Term{r.rule.Head.Key, r.rule.Head.Value}
	for _, term := range r.rule.Head.Ref()[1:] {
		terms = append(terms, term)
	}
	for _, term := range terms {
		if term == nil {
			continue
		}
		if p, l := r.part(term); p != noWords || l != looksNowhere {
			return true
		}
	}
	return false
}

// part tells what a term is of the input, and whether to come to it looks at
// words.
func (r *ruleWords) part(term *ast.Term) (part, look) {
	switch v := term.Value.(type) {
	case ast.Null, ast.Boolean, ast.Number, ast.String:
		return noWords, looksNowhere
	case ast.Var:
		if isInput(v) {
			return inputPart, looksNowhere
		}
		return r.parts[v], looksNowhere
	case ast.Ref:
		return r.reference(v)
	}
	return noWords, r.within(term.Value)
}

// within tells of a value that is made of others whether one of those is a part
// that holds words, or looks at them. A comprehension's expressions are looked at
// by themselves, but what it collects is not.
func (r *ruleWords) within(value ast.Value) look {
	var most look
	item := func(term *ast.Term) {
		p, l := r.part(term)
		if p != noWords {
			l = looksByIndex
		}
		most = max(most, l)
	}
	switch v := value.(type) {
	case *ast.Array:
		v.Foreach(item)
	case ast.Set:
		v.Foreach(item)
	case ast.Object:
		v.Foreach(func(key, member *ast.Term) {
			item(key)
			item(member)
		})
	case *ast.ArrayComprehension:
		item(v.Term)
	case *ast.SetComprehension:
		item(v.Term)
	case *ast.ObjectComprehension:
		item(v.Key)
		item(v.Value)
	default: // a call within a term, or what a later version of the language has
		return looksByIndex
	}
	return most
}

// reference follows a reference key by key.
func (r *ruleWords) reference(ref ast.Ref) (part, look) {
	at, most := r.part(ref[0])
	if ref[0].Equal(ast.DefaultRootDocument) && r.finder.isIndexed(ref) {
		most = looksWhenEvaluated
	}
	for _, key := range ref[1:] {
		if p, l := r.part(key); p != noWords || l != looksNowhere { // it is looked for
			return noWords, looksByIndex
		}
		var l look
		at, l = r.step(at, key)
		most = max(most, l)
	}
	return at, most
}

// step goes from a part to its member or item. That a look at an item of a list is none
// by OPA's index rests on what that reads: references from the input whose keys are all
// written down, of which none can name an item of no known place (OPA's ast/index.go,
// to be read again with each new version; TestWordsOfGeneratedPolicies is the guard).
func (r *ruleWords) step(at part, key *ast.Term) (part, look) {
	switch at {
	case noWords:
		return noWords, looksNowhere
	case commandsPart, filesPart:
		// A key that the index may know makes one item of the list known to it.
		if v, ok := key.Value.(ast.Var); ok && !r.equal[v] {
			return at.item(), looksNowhere
		}
	case commandPart, filePart: // of some item, which the index knows none of
		if name, ok := keyOf(key); ok {
			if next, words := at.member(name); !words {
				return next, looksNowhere
			}
		}
		return noWords, looksWhenEvaluated
	case inputPart, callPart, shellPart:
		if name, ok := keyOf(key); ok {
			if next, words := at.member(name); !words {
				return next, looksNowhere
			}
		}
	}
	return noWords, looksByIndex
}
