package facts

import (
	"reflect"
	"testing"

	"mvdan.cc/sh/v3/syntax"
)

// TestAParserKeepsNothingOfItsLastScript: what one caller's script leaves behind must
// not bear on how the next one is read, and a later version of the parser must not
// begin with more than is put into a blank one.
func TestAParserKeepsNothingOfItsLastScript(t *testing.T) {
	want := syntax.NewParser(syntax.Variant(syntax.LangBash), syntax.KeepComments(true))
	for _, script := range []string{
		"true", "if", "cat <<A; cat <<B\nx\nA\n", `[[ x =~ ((a) ]]`, "`echo \"`", "echo \"$(( 1 + `", "case x in (a|b", "# only", "a\x00b", "coproc { x",
	} {
		_, _ = parseOnce(script)
		for range 4 { // whichever is taken out next
			if got := freshParser(); !reflect.DeepEqual(any(got), any(want)) {
				t.Fatalf("after %q a parser is not a fresh one: %+v", script, got)
			}
		}
	}
}
