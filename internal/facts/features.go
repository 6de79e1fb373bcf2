package facts

import (
	"unicode"
	"unicode/utf8"
)

// The features of a script, as they stand in Shell.Features.
const (
	FeaturePipeline       = "pipeline"
	FeatureAndList        = "and_list"
	FeatureOrList         = "or_list"
	FeatureSequence       = "sequence" // several statements
	FeatureBackground     = "background"
	FeatureNegation       = "negation"
	FeatureSubshell       = "subshell"
	FeatureBlock          = "block"
	FeatureIf             = "if"
	FeatureFor            = "for"
	FeatureSelect         = "select"
	FeatureWhile          = "while"
	FeatureCase           = "case"
	FeatureFunction       = "function"
	FeatureCommandSubst   = "command_substitution"
	FeatureProcessSubst   = "process_substitution"
	FeatureArithmetic     = "arithmetic"
	FeatureTestClause     = "test_clause"
	FeatureLet            = "let"
	FeatureDeclare        = "declare"
	FeatureCoproc         = "coproc"
	FeatureTime           = "time"
	FeatureHeredoc        = "heredoc"
	FeatureHerestring     = "herestring"
	FeatureRedirect       = "redirect"
	FeatureParameter      = "parameter_expansion"
	FeatureBraceExpansion = "brace_expansion"
	FeatureGlob           = "glob"
	FeatureExtGlob        = "extglob"
	FeatureTilde          = "tilde"
	FeatureANSIQuote      = "ansi_c_quoting"
	FeatureLocaleQuote    = "locale_quoting"
	FeatureAssignment     = "assignment"
	FeatureNestedScript   = "nested_script"
	FeatureComment        = "comment"

	// What a reviewer does not see, or a tokenizer reads differently.
	FeatureControlChars  = "control_chars"
	FeatureNul           = "nul"
	FeatureBidi          = "bidi"
	FeatureNonASCIISpace = "non_ascii_space"
	FeatureInvisible     = "invisible_chars"
	FeatureInvalidUTF8   = "invalid_utf8"
	FeatureNonASCII      = "non_ascii"
)

// scanText records what stands out in the raw text.
func (a *analyzer) scanText(s string) {
	if !utf8.ValidString(s) {
		a.feature(FeatureInvalidUTF8)
	}
	for _, r := range s {
		if r >= ' ' && r < 0x7f || r == '\n' || r == '\t' {
			continue
		}
		a.scanRune(r)
	}
}

func (a *analyzer) scanRune(r rune) {
	switch {
	case r == 0:
		a.feature(FeatureNul)
	case unicode.IsControl(r):
		a.feature(FeatureControlChars)
	case unicode.Is(unicode.Bidi_Control, r):
		a.feature(FeatureBidi)
	case unicode.IsSpace(r) || unicode.Is(unicode.Z, r):
		a.feature(FeatureNonASCIISpace)
	case unicode.Is(unicode.Cf, r), unicode.Is(unicode.Variation_Selector, r),
		unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r):
		a.feature(FeatureInvisible)
	}
	if r > 0x7f {
		a.feature(FeatureNonASCII)
	}
}
