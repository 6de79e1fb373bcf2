package gate

import (
	"fmt"
	"maps"
	"regexp"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/sandbox"
)

// Terminals of which nothing is said.
const (
	defaultTerm = "xterm"
	defaultRows = 24
	defaultCols = 80
)

var termForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+._-]{0,63}$`)

// checkTerminal checks what the host says of its terminal and puts its kind into the
// environment, where policy sees it.
func checkTerminal(call *Call, tool catalog.Tool) error {
	if call.Terminal == nil {
		return nil
	}
	t := *call.Terminal
	if !tool.TakesStdin() {
		return &FieldError{"terminal", fmt.Sprintf("is given, but the tool %s takes no stdin", tool.Name), "no terminal"}
	}
	if t.Term == "" {
		t.Term = defaultTerm
	}
	if !termForm.MatchString(t.Term) {
		return &FieldError{"terminal.term", "is no kind of terminal", `a name such as "xterm-256color", at most 64 characters`}
	}
	if (t.Size.Rows == 0) != (t.Size.Cols == 0) {
		return &FieldError{"terminal", "has only one of rows and cols", "both, or none for 24 by 80"}
	}
	if t.Size == (sandbox.TerminalSize{}) {
		t.Size = sandbox.TerminalSize{Rows: defaultRows, Cols: defaultCols}
	}
	call.Terminal = &t
	if _, given := call.Env["TERM"]; !given {
		env := maps.Clone(call.Env)
		if env == nil {
			env = make(map[string]string, 1)
		}
		env["TERM"] = t.Term
		call.Env = env
	}
	return nil
}

// interactive puts into the sandbox's terms what else reaches the program than its stdin.
// Whoever sits at a terminal wants to see all of its output.
func (w *way) interactive(call *sandbox.Call) {
	call.Control = w.call.Inputs
	if t := w.call.Terminal; t != nil {
		size := t.Size
		call.Terminal, call.Live = &size, true
	}
}
