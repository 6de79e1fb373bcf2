package facts

// The soft limits are facts for the policy; the analysis goes on beyond them, so that no limit turns a deny into an
// ask. Beyond a hard one the analysis stops and Shell.Overflow is set.
const (
	softBytes    = 10_000
	softCommands = 50

	hardBytes    = 64 << 10 // one script; bounds the recursion of the parser too
	hardParsed   = 512 << 10
	hardCommands = 2_000
	hardFields   = 20_000
	hardBraces   = 4_096 // words from one word
	hardDepth    = 12    // scripts in scripts, wrappers in wrappers
	hardLookups  = 20_000
	hardEntries  = 10_000 // names in one directory of a glob
	hardBases    = 8      // working directories that are possible at one place
)
