package facts

import "strings"

// The soft limits are facts for the policy; the analysis goes on beyond them, so that no limit turns a deny into an
// ask. Beyond a hard one the analysis stops and Shell.Overflow is set.
const (
	softBytes    = 10_000
	softCommands = 50

	hardBytes    = 64 << 10 // one script; bounds the recursion of the parser too
	hardParsed   = 512 << 10
	hardCommands = 2_000
	hardFields   = 20_000
	hardBraces   = 128 << 10 // bytes that the brace expansion of one word makes
	hardSteps    = 4 << 20   // bytes that it looks at
	hardNesting  = 500       // open brackets
	hardKeywords = 3_000     // keywords that can nest
	hardDepth    = 12        // scripts in scripts, wrappers in wrappers
	hardLookups  = 20_000
	hardEntries  = 10_000 // names in one directory of a glob
	hardMatches  = 500    // commands seen in one program of another language
	hardBases    = 8      // working directories that are possible at one place
)

// nestsTooDeep reports whether the parser, which is recursive, could go too deep in s. It counts brackets and keywords
// without regard to quotes, so it errs on the side of too deep.
func nestsTooDeep(s string) bool {
	depth, ticks, keywords := 0, 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '(', '{':
			depth++
		case ')', '}':
			depth = max(0, depth-1)
		case '`':
			ticks++
		case 'i', 'w', 'u', 'c', 'f', 's', 't':
			keywords += keyword(s, i)
		}
		if depth > hardNesting || keywords > hardKeywords || ticks > hardKeywords {
			return true
		}
	}
	return false
}

// keyword is 1 if a keyword that opens a construct begins at s[i], and 0 otherwise.
func keyword(s string, i int) int {
	if i > 0 && isName("a"+s[i-1:i]) {
		return 0
	}
	for _, k := range [...]string{"if", "while", "until", "case", "for", "select", "time", "coproc"} {
		if strings.HasPrefix(s[i:], k) {
			return 1
		}
	}
	return 0
}
