package grant

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/policy"
)

// What a call does with a file.
const (
	OpRun   = "run" // it is executed, or read as a program
	OpRead  = "read"
	OpWrite = "write"
	// OpDir: it is a directory that the call works in or on. It is held by where it
	// leads to, not by what is in it.
	OpDir = "dir"
)

// File is a file of the workspace as it was when a call was asked about.
type File struct {
	Path   string `json:"path"` // absolute in the cell, as the call names it
	Real   string `json:"real"` // the same without symbolic links
	Op     string `json:"op"`
	SHA256 string `json:"sha256"` // of its content, in hex; empty: there is none, or it is a directory
	Bytes  int64  `json:"bytes"`
}

// Held reports whether the file is what the call runs, so that it runs these very
// bytes.
func (f *File) Held() bool { return f.Op == OpRun && f.SHA256 != "" }

// Exact is what the class of a call is held to whose code is not known beforehand, such
// as make or npm test: its words are the arguments of the class, all of them.
type Exact struct {
	// WorkspaceDir is the directory of the machine that the call named; empty: none.
	WorkspaceDir string `json:"workspace_dir,omitempty"`
	// Files decide what it does, as far as that can be told: each has to be as it was.
	Files []File `json:"files,omitempty"`
	// Unfrozen tells, a phrase each, what else may decide it.
	Unfrozen []string `json:"unfrozen,omitempty"`
}

// maxShown bounds the words in the summary of an exact class.
const maxShown = 512

// SuggestExact is Suggest for a call whose code is not known beforehand. Its class is of
// this very call in this workspace: the same words, the same directory, neither variables
// nor standard input nor a terminal, and the files that decide what it does as they are.
// files and unfrozen are what an approval of it is bound to.
func SuggestExact(in *policy.Input, reasons []policy.Reason, workspaceDir string, files []File, unfrozen []string) (Class, error) {
	c, err := begin(in, reasons)
	switch {
	case err != nil:
		return Class{}, err
	case in.Session.ID == "" && workspaceDir == "":
		return Class{}, errors.New("the call has no workspace that stays")
	case len(in.Call.Args) > maxArgs:
		return Class{}, errors.New("the arguments are too long")
	}
	text := ""
	switch {
	case in.Call.Shell != nil:
		if text, err = wordsOf(in.Call.Shell); err != nil {
			return Class{}, err
		}
	case in.Call.Python != nil:
		text = "the program that was shown"
	default:
		return Class{}, errors.New("what the tool runs is not told by its arguments")
	}
	// What a model says of a call, and a deadline, change nothing of what runs.
	if in.Tool.Source == "builtin" {
		c.Free = []string{"description", "timeout_ms"}
	}
	if c.Args, err = without(in.Call.Args, c.Free); err != nil {
		return Class{}, err
	}
	exact := &Exact{WorkspaceDir: workspaceDir, Unfrozen: slices.Clone(unfrozen)}
	names := 0
	for _, f := range files {
		if f.Op == OpWrite {
			continue
		}
		if exact.Files = append(exact.Files, f); f.SHA256 != "" {
			names++
		}
	}
	c.Exact, c.Summary = exact, "exactly "+text+", run by code that was not reviewed"
	switch {
	case names == 1:
		c.Summary += ", as long as the file it was shown with stays as it is"
	case names > 1:
		c.Summary += fmt.Sprintf(", as long as the %d files it was shown with stay as they are", names)
	}
	return c, nil
}

// wordsOf are the words of a script that is known but for what its programs do.
func wordsOf(s *facts.Shell) (string, error) {
	switch {
	case !s.Parsed || s.Overflow:
		return "", errors.New("the script could not be read as a whole")
	case s.Truncated:
		return "", errors.New("the script is longer than a person reviews")
	case s.ChangesDirectory || len(s.Functions)+len(s.Aliases) > 0:
		return "", errors.New("the script changes its directory or defines commands")
	case s.Cwd.InWorkspace == nil || !*s.Cwd.InWorkspace:
		return "", errors.New("the working directory is not known to be in the workspace")
	case len(s.Commands) == 0 || len(s.Commands) > maxCommands:
		return "", errors.New("the script has no commands, or too many")
	}
	for _, feature := range s.Features {
		if !slices.Contains(harmless, feature) {
			return "", errors.New("the script uses " + strings.ReplaceAll(feature, "_", " "))
		}
	}
	var all []string
	for _, c := range s.Commands {
		if c.Kind != "simple" || !c.NameStatic || !c.Static || len(c.Via) > 0 || c.Depth > 0 || len(c.Env) > 0 {
			return "", errors.New("what a command of the script is, is only known when it runs")
		}
		words := []string{shown(c.Name)}
		for _, a := range c.Args {
			if a.Value == nil || !a.Literal {
				return "", errors.New("a word of " + shown(c.Base) + " is only known when it runs")
			}
			words = append(words, shown(*a.Value))
		}
		for _, r := range c.Redirects {
			if r.Target == nil || !r.Static {
				return "", errors.New("a redirection of " + shown(c.Base) + " is only known when it runs")
			}
			if !quiet(r) {
				words = append(words, r.Op+shown(*r.Target))
			}
		}
		all = append(all, "`"+strings.Join(words, " ")+"`")
	}
	text := strings.Join(all, "; ")
	if len(text) > maxShown {
		return "", errors.New("the script is longer than a person reviews")
	}
	return text, nil
}

// Fits reports whether a call's arguments are those of an exact class. It is a first look,
// which spares one at the files of a grant that is for another call; policy decides.
func (c *Class) Fits(args json.RawMessage) bool {
	mine, err := membersOf(c.Args)
	theirs, terr := membersOf(args)
	if err != nil || terr != nil {
		return false
	}
	for _, name := range c.Free {
		delete(theirs, name)
	}
	return reflect.DeepEqual(mine, theirs)
}

func membersOf(args json.RawMessage) (members map[string]any, err error) {
	dec := json.NewDecoder(bytes.NewReader(args))
	dec.UseNumber()
	err = dec.Decode(&members)
	return members, err
}

// checkScope refuses what is wider than an exact class can be.
func (c *Class) checkScope(t Terms, session string) error {
	if c.Exact != nil && session != "" && t.Scope != ScopeSession {
		return fmt.Errorf("grant scope %s: code that is not known is granted to one session only: want %s: %w", t.Scope, ScopeSession, errdefs.ErrInvalidArgument)
	}
	return nil
}

// CheckTerms says what is wrong with the terms for a grant of this class; its error is
// errdefs.ErrInvalidArgument.
func (c *Class) CheckTerms(t Terms, session string) error {
	return errors.Join(t.Check(session), c.checkScope(t, session))
}
