package policy

import (
	"encoding/json"

	"github.com/open-policy-agent/opa/v1/ast"
)

// GrantInput is a grant as a policy sees it: what approvers have allowed beforehand,
// told over facts. One that is revoked, used up or over is not in the input. How
// long it still lives and how often it was used is not told, so that calls which
// are the same to the policy stay the same.
type GrantInput struct {
	ID    string `json:"id"`
	Scope string `json:"scope"` // session or caller
	Tool  string `json:"tool"`
	Cwd   string `json:"cwd"` // of the call
	// Rules are the ids of the rules whose questions it answers, and of no others.
	Rules []string `json:"rules"`
	// Summary is the grant in one sentence, for people.
	Summary string `json:"summary"`
	// Exact: Args are the whole call's whose code is not known, but for those of Free, which
	// change nothing of what runs. Files that decide what it does are as they were when it
	// was granted: sandgate shows no grant for which they are not.
	Exact bool `json:"exact,omitempty"`
	// Commands are what each command of a script has to be; absent for other tools.
	Commands []GrantCommand `json:"commands,omitempty"`
	// Args are what the arguments of another tool have to be, but for those that Free
	// names; Under are the directories in which all its files have to be.
	Args  json.RawMessage `json:"args,omitempty"`
	Free  []string        `json:"free,omitempty"`
	Under []string        `json:"under,omitempty"`
}

// GrantCommand is a class of commands. Every word of a command has to be in one of
// its lists.
type GrantCommand struct {
	Name string `json:"name"`          // of the system's program
	Sub  string `json:"sub,omitempty"` // its first word
	// Argv are all its words where they have to be these; then the other lists are empty.
	Argv []string `json:"argv,omitzero"`
	// Options are words that begin with "-", Words others, both as they are written.
	Options []string `json:"options"`
	Words   []string `json:"words"`
	// Texts are those of Options whose next word, or value after "=", is any text.
	Texts []string `json:"texts"`
	// Under are directories of the workspace: a word that names something in one fits.
	Under []string `json:"under"`
}

var keyExact = ast.StringTerm("exact")

func (b *valueBuilder) grant(g *GrantInput) *ast.Term {
	mark := len(b.items)
	b.putText(keyID, g.ID)
	b.putText(keyScope, g.Scope)
	b.putText(keyTool, g.Tool)
	b.putText(keyCwd, g.Cwd)
	b.put(keyRules, b.texts(g.Rules))
	b.putText(keySummary, g.Summary)
	if g.Exact {
		b.putBool(keyExact, true)
	}
	if len(g.Commands) > 0 {
		b.put(keyCommands, list(b, g.Commands, b.grantCommand))
	}
	if len(g.Args) > 0 {
		b.put(keyArgs, b.args(g.Args))
	}
	if len(g.Free) > 0 {
		b.put(keyFree, b.texts(g.Free))
	}
	if len(g.Under) > 0 {
		b.put(keyUnder, b.texts(g.Under))
	}
	return b.object(mark)
}

func (b *valueBuilder) grantCommand(c *GrantCommand) *ast.Term {
	mark := len(b.items)
	b.putText(keyName, c.Name)
	b.putTextIf(keySub, c.Sub)
	if c.Argv != nil {
		b.put(keyArgv, b.texts(c.Argv))
	}
	b.put(keyOptions, b.texts(c.Options))
	b.put(keyWords, b.texts(c.Words))
	b.put(keyTexts, b.texts(c.Texts))
	b.put(keyUnder, b.texts(c.Under))
	return b.object(mark)
}
