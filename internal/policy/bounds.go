package policy

import (
	"fmt"
	"math/bits"
	"regexp/syntax"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// OPA stops an evaluation between its steps. One step, the call of one built-in,
// it cannot stop: a policy of five lines can make text of terabytes with
// sprintf, or a number of a thousand million digits. What such built-ins would
// make is reckoned beforehand and refused above these bounds; those for which
// that cannot be reckoned are not available at all (see forbiddenBuiltins).
const (
	maxBuiltinBytes  = 4 << 20   // of text that one call makes
	maxBuiltinItems  = 1 << 16   // of a list that one call makes
	maxNumberDigits  = 1_000     // of a number that is reckoned with
	maxDecisionBytes = 64 << 20  // of text that all calls of one decision make
	maxHeapGrowth    = 192 << 20 // of the whole heap while one decision is made
	maxRegexSteps    = 50 << 20  // instructions of a pattern times bytes of text
	// heapEvery is after how many steps the heap is looked at: some 2 ms.
	heapEvery = 8192
)

// boundOnce guards OPA's table of built-ins, which is one for the process.
var boundOnce sync.Once

// boundBuiltins puts the bounds before OPA's built-ins, for the whole process.
func boundBuiltins() {
	boundOnce.Do(func() {
		for name, reckon := range reckoners() {
			if original := topdown.GetBuiltin(name); original != nil {
				topdown.RegisterBuiltinFunc(name, bounded(name, original, reckon))
			}
		}
	})
}

// reckoner tells how many bytes a call makes at most.
type reckoner func(operands []*ast.Term) (int, error)

func bounded(name string, original topdown.BuiltinFunc, reckon reckoner) topdown.BuiltinFunc {
	return func(bctx topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
		n, err := reckon(operands)
		if err == nil && n > maxBuiltinBytes {
			err = fmt.Errorf("would make more than %d bytes", maxBuiltinBytes)
		}
		if limit, ok := bctx.Cancel.(*budget); ok && err == nil {
			if limit.bytes += n; limit.bytes > maxDecisionBytes {
				err = fmt.Errorf("the decision made more than %d bytes of text", maxDecisionBytes)
			}
		}
		if err != nil {
			return topdown.Halt{Err: &topdown.Error{
				Code: topdown.BuiltinErr, Message: name + ": " + err.Error(), Location: bctx.Location,
			}}
		}
		return original(bctx, operands, iter)
	}
}

func reckoners() map[string]reckoner {
	text := func(ops []*ast.Term) (int, error) { return sizes(ops), nil }
	list := map[string]reckoner{
		"sprintf": sprintfBytes, "concat": concatBytes, "replace": replaceBytes, "strings.replace_n": replaceNBytes,
		"regex.replace": regexReplaceBytes, "split": splitItems, "units.parse": numberText, "units.parse_bytes": numberText,
		"to_number": numberText, "regex.split": regexCost(0, 1), "regex.find_n": regexCost(0, 1),
		"regex.match": regexCost(0, 1), "regex.find_all_string_submatch_n": regexCost(0, 1),
		"glob.match": globCost, "array.concat": itemsBound, "object.union_n": itemsBound,
	}
	for _, name := range []string{
		"json.marshal", "json.marshal_with_options", "yaml.marshal", "json.unmarshal", "yaml.unmarshal", "base64.encode",
		"base64url.encode", "base64url.encode_no_pad", "hex.encode", "urlquery.encode", "urlquery.encode_object", "format_int",
		"json.patch", "json.filter", "json.remove", "strings.reverse", "indexof_n", "strings.any_prefix_match", "strings.any_suffix_match",
	} {
		list[name] = text
	}
	for _, name := range []string{
		"plus", "minus", "mul", "div", "rem", "abs", "round", "ceil", "floor", "sum", "product",
		"numbers.range", "numbers.range_step", // which ask between their items whether to go on
		"bits.or", "bits.and", "bits.negate", "bits.xor", "bits.rsh",
	} {
		list[name] = numbers
	}
	return list
}

// sizes is at least how much text the operands are as JSON, reckoned no further
// than the bound.
func sizes(operands []*ast.Term) int {
	left := maxBuiltinBytes + 1
	for _, op := range operands {
		spendValue(op.Value, &left)
	}
	return maxBuiltinBytes + 1 - max(left, 0)
}

// spendValue takes the size of a value from left. A value that shares its parts
// counts them each time, as text has them.
func spendValue(value ast.Value, left *int) {
	*left -= 4
	if *left <= 0 {
		return
	}
	each := func(t *ast.Term) bool {
		spendValue(t.Value, left)
		return *left <= 0
	}
	switch v := value.(type) {
	case ast.String:
		*left -= len(v)
	case ast.Number:
		*left -= len(v)
	case *ast.Array:
		v.Until(each)
	case ast.Set:
		v.Until(each)
	case ast.Object:
		v.Until(func(key, item *ast.Term) bool { return each(key) || each(item) })
	}
}

func textOf(ops []*ast.Term, at int) string {
	if at >= len(ops) {
		return ""
	}
	s, _ := ops[at].Value.(ast.String)
	return string(s)
}

// times multiplies what is not negative and stops at what no bound allows.
func times(a, b int) int {
	high, low := bits.Mul64(uint64(a), uint64(b)) //nolint:gosec // lengths
	if high != 0 || low > maxBuiltinBytes {
		return maxBuiltinBytes + 1
	}
	return int(low)
}

// sprintfBytes counts widths and precisions, and every argument for every verb
// where verbs name their arguments.
func sprintfBytes(ops []*ast.Term) (int, error) {
	format, verbs, widths, indexed := textOf(ops, 0), 0, 0, false
	for rest := format; ; {
		at := strings.IndexByte(rest, '%')
		if at < 0 {
			break
		}
		rest = rest[at+1:]
		flags := len(rest) - len(strings.TrimLeft(rest, "+-# 0123456789.[]*"))
		if strings.Contains(rest[:flags], "*") {
			return 0, fmt.Errorf("the format takes a width from an argument: write it down")
		}
		indexed = indexed || strings.Contains(rest[:flags], "[")
		for _, field := range strings.FieldsFunc(rest[:flags], func(r rune) bool { return r < '0' || r > '9' }) {
			width, err := strconv.Atoi(field)
			if err != nil || width > maxBuiltinBytes {
				return maxBuiltinBytes + 1, nil
			}
			widths += width
		}
		rest = rest[flags:]
		if verbs++; verbs > 1000 {
			return 0, fmt.Errorf("the format has more than 1000 verbs")
		}
	}
	each := 0
	if len(ops) > 1 {
		each = sizes(ops[1:2])
	}
	if indexed {
		each = times(each, verbs)
	}
	return len(format) + widths + each, nil
}

func concatBytes(ops []*ast.Term) (int, error) {
	items := 0
	if len(ops) > 1 {
		items = lengthOf(ops[1].Value)
	}
	return sizes(ops) + times(len(textOf(ops, 0)), items), nil
}

func lengthOf(value ast.Value) int {
	switch v := value.(type) {
	case *ast.Array:
		return v.Len()
	case ast.Set:
		return v.Len()
	case ast.Object:
		return v.Len()
	}
	return 0
}

func replaceBytes(ops []*ast.Term) (int, error) {
	s := textOf(ops, 0)
	return len(s) + times(strings.Count(s, textOf(ops, 1)), len(textOf(ops, 2))), nil
}

func replaceNBytes(ops []*ast.Term) (int, error) {
	s, longest := textOf(ops, 1), 0
	if patterns, ok := ops[0].Value.(ast.Object); ok {
		found := 0
		patterns.Foreach(func(old, to *ast.Term) {
			o, _ := old.Value.(ast.String)
			n, _ := to.Value.(ast.String)
			if found <= maxBuiltinBytes {
				found += times(strings.Count(s, string(o)), len(n))
			}
		})
		longest = found
	}
	return len(s) + longest, nil
}

func regexReplaceBytes(ops []*ast.Term) (int, error) {
	if _, err := regexCost(1, 0)(ops); err != nil {
		return 0, err
	}
	s, to := textOf(ops, 0), textOf(ops, 2)
	return len(s) + times(len(s)+1, len(to)), nil
}

func splitItems(ops []*ast.Term) (int, error) {
	s := textOf(ops, 0)
	if n := strings.Count(s, textOf(ops, 1)); n > maxBuiltinItems {
		return 0, fmt.Errorf("would make %d items, the most is %d", n, maxBuiltinItems)
	}
	return len(s), nil
}

func itemsBound(ops []*ast.Term) (int, error) {
	n := 0
	for _, op := range ops {
		n += lengthOf(op.Value)
	}
	if n > 16*maxBuiltinItems {
		return 0, fmt.Errorf("would make %d items, the most is %d", n, 16*maxBuiltinItems)
	}
	return 0, nil
}

// regexCost refuses a pattern that would be too long at its text. RE2 needs a
// step for each instruction at each byte at most.
func regexCost(pattern, subject int) reckoner {
	return func(ops []*ast.Term) (int, error) {
		p, s := textOf(ops, pattern), textOf(ops, subject)
		if len(p) > 1<<16 {
			return 0, fmt.Errorf("the pattern has %d bytes, the most is %d", len(p), 1<<16)
		}
		if len(s) < maxBuiltinItems && len(p) < 256 && !strings.Contains(p, "{") {
			return 0, nil
		}
		parsed, err := syntax.Parse(p, syntax.Perl)
		if err != nil {
			return 0, nil // the built-in itself says what is wrong with it
		}
		prog, err := syntax.Compile(parsed.Simplify())
		if err != nil {
			return 0, nil
		}
		if steps := len(prog.Inst) * len(s); steps > maxRegexSteps {
			return 0, fmt.Errorf("the pattern has %d instructions on %d bytes of text, which takes too long", len(prog.Inst), len(s))
		}
		return 0, nil
	}
}

// globCost holds wildcards down: the matcher goes back for each of them.
func globCost(ops []*ast.Term) (int, error) {
	p := textOf(ops, 0)
	stars := strings.Count(p, "*")
	if len(p) > 4096 || stars > 16 {
		return 0, fmt.Errorf("the pattern has %d bytes and %d wildcards, the most is 4096 and 16", len(p), stars)
	}
	if s := textOf(ops, 2); len(s) > maxBuiltinItems && stars > 0 {
		return 0, fmt.Errorf("the text has %d bytes, the most for wildcards is %d", len(s), maxBuiltinItems)
	}
	return 0, nil
}

// numberText refuses texts that would be enormous numbers.
func numberText(ops []*ast.Term) (int, error) {
	s := textOf(ops, 0)
	if n, ok := ops[0].Value.(ast.Number); ok {
		s = string(n)
	}
	return 0, checkNumber(s)
}

func checkNumber(s string) error {
	if len(s) > maxNumberDigits {
		return fmt.Errorf("the number has %d digits, the most is %d", len(s), maxNumberDigits)
	}
	if at := strings.IndexAny(s, "eE"); at >= 0 {
		exponent := strings.TrimLeft(s[at+1:], "+-0")
		if digits := len(exponent) - len(strings.TrimLeft(exponent, "0123456789")); digits > 3 {
			return fmt.Errorf("the number %s is too large", s)
		}
	}
	return nil
}

// numbers refuses to reckon with enormous numbers, which no step can stop.
func numbers(ops []*ast.Term) (int, error) {
	var err error
	for _, op := range ops {
		switch v := op.Value.(type) {
		case ast.Number:
			err = checkNumber(string(v))
		case *ast.Array:
			v.Until(func(t *ast.Term) bool {
				if n, ok := t.Value.(ast.Number); ok {
					err = checkNumber(string(n))
				}
				return err != nil
			})
		case ast.Set:
			v.Until(func(t *ast.Term) bool {
				if n, ok := t.Value.(ast.Number); ok {
					err = checkNumber(string(n))
				}
				return err != nil
			})
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// budget is what one evaluation may use. It stops an evaluation when its context
// ends or the heap grows too much. The evaluator asks between its steps, so that
// nobody has to watch. For one evaluation, which is one goroutine.
type budget struct {
	done  <-chan struct{}
	bytes int    // of text that built-ins made
	steps uint32 // so far
	heap  uint64 // bytes, at the first look; 0: not looked yet
	over  bool   // the heap grew too much
}

// Cancel implements [topdown.Cancel]; only the context and the heap cancel.
func (*budget) Cancel() {}

// Cancelled implements [topdown.Cancel].
func (b *budget) Cancelled() bool {
	select {
	case <-b.done:
		return true
	default:
	}
	if b.steps++; b.steps%heapEvery == 0 && !b.over {
		b.over = b.grown()
	}
	return b.over
}

// grown looks whether the heap is much larger than at the first look. Others
// use the heap too; but what makes it grow this much while one decision is made
// is no time to go on.
func (b *budget) grown() bool {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return false
	}
	now := sample[0].Value.Uint64()
	if b.heap == 0 {
		b.heap = now
	}
	return now > b.heap+maxHeapGrowth
}
