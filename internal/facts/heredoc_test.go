package facts

import (
	"strings"
	"testing"
)

// TestHeredocEndsWhereBashEndsIt guards against the places where the parser sees another delimiter, or another end,
// than bash: what follows the end runs.
func TestHeredocEndsWhereBashEndsIt(t *testing.T) {
	const cat = "cat redirect:heredoc"
	tests := map[string]string{
		// Continued lines are joined before the delimiter is looked for.
		"cat <<EOF\n\\\nEOF\nrm x\nEOF":           cat + " | rm x | EOF",
		"cat <<EOF\nE\\\nOF\nrm x\nEOF":           cat + " | rm x | EOF",
		"cat <<EOF\nEOF\\\n\nrm x\nEOF":           cat + " | rm x | EOF",
		"cat <<-EOF\n\tE\\\nOF\nrm x\nEOF":        cat + " | rm x | EOF",
		"cat <<EOF | tac\nE\\\nOF\nrm x\nEOF":     cat + " in | | tac in | | rm x | EOF",
		"cat <<A <<B\nA\\\n\n\\\nB\nrm x\nB":      "cat redirect:heredoc redirect:heredoc | rm x | B",
		"cat <<A <<B\nx\\\nA\n$y\nA\nB\nB\nrm x":  "cat redirect:heredoc redirect:heredoc | B | rm x",
		"if ls; then cat <<E\n\\\nE\nrm x\nfi":    "ls in if | " + cat + " in if | rm x in if",
		"cat <<EOF\na\\\nb\nEOF":                  cat,
		"cat <<EOF\na\\\nEOF\nrm x\nEOF\nls":      cat + " | ls",
		"cat <<EOF\n\\\\\nEOF\nrm x":              cat + " | rm x",
		"cat <<'EOF'\nE\\\nOF\nrm x\nEOF":         cat,
		"cat <<E \\\n-\nE\nrm x":                  "cat - redirect:heredoc | rm x",
		"cat <<E\\\nF\nrm x\nEF\nls":              cat + " | ls",
		"ls # \\\ncat <<E\"\"\nE\nrm x":           "ls | " + cat + " | rm x",
		"cat <<E\n${x}E\nE\nls":                   cat + " | ls",
		"cat <<E\n$(ls)\\\nE\nrm x\nE":            cat + " | ls in cmdsubst",
		"echo $(cat <<E\nx\nE)\nrm x":             "echo ? | " + cat + " in cmdsubst | rm x",
		"echo $(cat <<E\nx\nE\n)\nrm x":           "echo ? | " + cat + " in cmdsubst | rm x",
		"cat <<-\"\\\\\" '\n'\n$\n\\\nrm x\n\\\\": "cat \n redirect:heredoc | rm x | \\",
		"cat <<\\E 'a\nb' \"c\n\"\nE\nrm x":       "cat a\nb c\n redirect:heredoc | rm x",
		"cat <<E $(ls\nls)\nE\nrm x":              "cat ? redirect:heredoc | ls in cmdsubst | ls in cmdsubst | rm x",
		// Quotes are removed from the delimiter.
		"cat <<\"E\\$\"\na\nE$\nrm x\nE\\$":          cat + " | rm x | E$",
		"cat <<\"E\\\\\"\na\nE\\\nrm x\nE\\\\":       cat + ` | rm x | E\`,
		"cat <<E\"F\\\"G\"\na\nEF\"G\nrm x\nEF\\\"G": cat + ` | rm x | EF"G`,
		"cat <<$'\\x45'\n$(rm x)\nE\nls":             cat + " | ls",
		"cat <<''\n\nrm x\n":                         cat + " | rm x",
		"cat <<E\"O\"F\n$(rm x)\nEOF":                cat,
		"cat <<E'O'F\n$(rm x)\nEOF":                  cat,
		"cat <<\"\"EOF\n$(rm x)\nEOF":                cat,
		"cat <<E\"O\"F\n${\nEOF\nls":                 cat + " | ls",
		// A delimiter outside of ASCII.
		"cat <<é\né\nrm x\né":    cat + " | rm x | é",
		"cat <<éa\néa\nrm x\néa": cat + " | rm x | éa",
		"cat <<éé\néé\nrm x":     cat + " | rm x",
		"cat <<-é\né\nrm x\né":   cat + " | rm x | é",
		"cat <<'é'\nx\né\nrm x":  cat + " | rm x",
	}
	for script, want := range tests {
		sh := AnalyzeShell(script, Options{})
		if got := strings.Join(summary(sh), " | "); got != want || !sh.Parsed {
			t.Errorf("%q: got %q, want %q; %s", script, got, want, sh.Error)
		}
	}
}

// TestUnclearHeredocIsNotParsed: bash goes on where the parser gives up, so the commands are listed, but not vouched
// for.
func TestUnclearHeredocIsNotParsed(t *testing.T) {
	const cat = "cat redirect:heredoc"
	tests := map[string]string{
		"rm x <<EOF\nfoo":                    "rm x redirect:heredoc",
		"cat <<EOF; rm x\nfoo":               cat + " | rm x",
		"cat <<EOF; rm x":                    cat + " | rm x",
		"cat <<EOF; rm x\nfoo\\":             cat + " | rm x",
		"bash <<EOF\nrm x":                   "bash redirect:heredoc | rm x via bash",
		"cat <<A <<B; rm x\nA":               "cat redirect:heredoc redirect:heredoc | rm x",
		"cat <<EOF\n${\nEOF\nrm x":           cat + " | rm x",
		"cat <<EOF\na `b\nEOF\nrm x":         cat + " | rm x",
		"cat <<EOF\n$(rm x) ${\nEOF\nls":     cat + " | rm x in cmdsubst | ls",
		"cat <<EOF\n$(cat <<é\n)\nEOF\nrm x": cat + " | rm x",
	}
	for script, want := range tests {
		sh := AnalyzeShell(script, Options{})
		if got := strings.Join(summary(sh), " | "); got != want || sh.Parsed {
			t.Errorf("%q: parsed %v: got %q, want %q", script, sh.Parsed, got, want)
		}
	}
}

// TestNegationsThatTheParserRefuses: bash takes them, so what they stand before is listed, but not vouched for.
func TestNegationsThatTheParserRefuses(t *testing.T) {
	tests := map[string]string{
		"time -- rm x":            "rm x in time",
		"time -p -- rm x":         "rm x in time",
		"time -- { rm x; }":       "rm x in time {block}",
		"time -p -- ! rm x":       "rm x in time",
		"! ! rm x":                "rm x in !",
		"time ! rm x":             "rm x in time",
		"ls && time ! rm x":       "ls in && | rm x in && time",
		"!\nrm x":                 ": | rm x",
		"! ; rm x":                ": | rm x",
		"if ! ! rm x; then :\nfi": "rm x in if ! | : in if",
	}
	for script, want := range tests {
		sh := AnalyzeShell(script, Options{})
		if got := strings.Join(summary(sh), " | "); got != want || sh.Parsed {
			t.Errorf("%q: parsed %v: got %q, want %q", script, sh.Parsed, got, want)
		}
	}
}

// TestTooManyFixesHideNothing: where the parser would have to be called too often, the script is not vouched for, and
// its last command is still seen.
func TestTooManyFixesHideNothing(t *testing.T) {
	for name, script := range map[string]string{
		"negations":      strings.Repeat("! ! ls;", 2_000) + "\nrm x",
		"comments":       strings.Repeat("ls # a \\\n", 700) + "\nrm x",
		"here-documents": strings.Repeat("cat <<é\nx\né\n", 700) + "rm x",
	} {
		sh := AnalyzeShell(script, Options{})
		last := &Command{}
		if len(sh.Commands) > 0 {
			last = sh.Commands[len(sh.Commands)-1]
		}
		if sh.Parsed || last.Name != "rm" && !sh.Overflow {
			t.Errorf("%s: parsed %v, overflow %v, last %q of %d", name, sh.Parsed, sh.Overflow, last.Name, len(sh.Commands))
		}
	}
	if sh := AnalyzeShell(strings.Repeat("cat <<'EOF'\n$x\nEOF\n", 200), Options{}); !sh.Parsed || len(sh.Commands) != 200 {
		t.Errorf("200 plain ones: %d commands, %s", len(sh.Commands), sh.Error)
	}
}
