package facts

import "strings"

// Bare tells whether the commands are nothing but programs with plain words: no
// redirect, no variable, no directory before a name, no Python in a word, no file
// elsewhere, and no cd. Most scripts are, and policies that look closely at
// paths need not look at them: no such word leads out of the workspace or into a
// repository's own files, and none can become another word.
func Bare(commands []*Command) bool {
	for _, c := range commands {
		if c == nil || c.Dir != "" || c.Base == "cd" || len(c.Env) > 0 || len(c.Redirects) > 0 || c.Python != nil {
			return false
		}
		for i := range c.Files {
			if inside := c.Files[i].InWorkspace; inside == nil || !*inside {
				return false
			}
		}
		for _, a := range c.Args {
			if a == nil || !a.bare() {
				return false
			}
		}
	}
	return true
}

func (a *Arg) bare() bool {
	if !a.Literal || a.Value == nil || a.Dynamic || a.Glob || a.Tilde || a.Prefix != "" || len(a.May) > 0 || a.Eq != nil ||
		a.InWorkspace == nil || !*a.InWorkspace {
		return false
	}
	word := *a.Value
	if strings.Contains(word, "..") || strings.HasPrefix(word, "-") && strings.ContainsAny(word, "/~") {
		return false
	}
	return !ofRepository(word) && !ofRepository(a.Path) && !ofRepository(a.Real)
}

func ofRepository(text string) bool {
	return strings.Contains(text, ".") && strings.Contains(strings.ToLower(text), ".git")
}
