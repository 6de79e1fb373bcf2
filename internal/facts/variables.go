package facts

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// scriptVariables hold what a program gives to a shell. Those that are true run in bash itself.
var scriptVariables = set("GIT_SSH_COMMAND", "GIT_SSH", "GIT_PAGER", "GIT_EDITOR", "GIT_SEQUENCE_EDITOR", "GIT_EXTERNAL_DIFF", "GIT_ASKPASS", "GIT_PROXY_COMMAND",
	"SSH_ASKPASS", "PAGER", "MANPAGER", "EDITOR", "VISUAL", "FCEDIT", "BROWSER", "LESSOPEN", "LESSCLOSE", "PROMPT_COMMAND", "RSYNC_RSH", "TAR_OPTIONS", "MAKEFLAGS", "CARGO_BUILD_RUSTC_WRAPPER",
	"RUSTC_WRAPPER", "SUDO_ASKPASS", "SYSTEMD_PAGER", "SYSTEMD_EDITOR", "KUBE_EDITOR", "KUBECTL_EXTERNAL_DIFF", "PSQL_PAGER", "PSQL_EDITOR", "DELTA_PAGER", "BAT_PAGER", "HGEDITOR", "SVN_EDITOR", "SVN_SSH", "CVS_RSH")

// promptVariables are expanded by bash like a here-document.
var promptVariables = set("PS0", "PS1", "PS2", "PS3", "PS4")

// codeVariables make programs load code that is not known.
var codeVariables = set("BASH_ENV", "ENV", "LD_PRELOAD", "LD_AUDIT", "DYLD_INSERT_LIBRARIES", "PERL5OPT", "PERL5DB", "RUBYOPT", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONHOME", "PYTHONPATH",
	"PERL5LIB", "PERLLIB", "RUBYLIB", "NODE_PATH", "GIT_EXEC_PATH", "GIT_TEMPLATE_DIR", "GIT_CONFIG", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_DIR", "GCONV_PATH", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS",
	"LUA_INIT", "VIMINIT", "EXINIT", "INPUTRC", "BASHOPTS", "SHELLOPTS", "SHELL", "LESSKEY", "LESSKEYIN", "OPENSSL_CONF", "LD_LIBRARY_PATH", "PATH", "RIPGREP_CONFIG_PATH", "CURL_HOME", "WGETRC", "ZDOTDIR", "KUBECONFIG")

// SaysWhatRuns reports whether a variable tells programs what to run or to load, such as
// PATH, LD_PRELOAD or GIT_PAGER. No list of these is complete.
func SaysWhatRuns(name string) bool {
	return codeVariables[name] || scriptVariables[name] || name == "NODE_OPTIONS" || name == "MAKEFILES" ||
		strings.HasPrefix(name, "GIT_CONFIG_") || strings.HasPrefix(name, "BASH_FUNC_") || strings.HasPrefix(name, "LD_")
}

// influence looks at the variables that c sets: some hold commands, some make programs load code.
func (a *analyzer) influence(c *Command, env []*Assign, sc scope) {
	for _, e := range env {
		a.variable(e.Name)
		if e.Value != nil && (strings.Contains(*e.Value, "$(") || strings.Contains(*e.Value, "`")) {
			a.values = append(a.values, value{*e.Value, sc})
		}
		a.influenced(c, e.Name, e.Value, sc)
	}
}

func (a *analyzer) influenced(c *Command, name string, text *string, sc scope) {
	switch {
	case scriptVariables[name]:
		if text == nil {
			c.opaque(name + " holds a command that is not static")
		} else if *text != "" {
			late := sc.by(name)
			late.late = true
			a.text(c, *text, true, late)
		}
	case promptVariables[name]:
		if text == nil {
			c.opaque(name + " is expanded, and is not static")
		} else {
			a.substituted(*text, sc.by(name))
		}
	case strings.HasPrefix(name, "BASH_FUNC_") && text != nil && strings.HasPrefix(*text, "()"):
		c.opaque(name + " makes programs load code")
		a.functions[strings.TrimSuffix(strings.TrimPrefix(name, "BASH_FUNC_"), "%%")] = true
		late := sc.by(name)
		late.late = true
		a.text(c, "f"+*text, true, late)
	case codeVariables[name], strings.HasPrefix(name, "BASH_FUNC_"), strings.HasPrefix(name, "GIT_CONFIG_"):
		if text == nil || *text != "" {
			c.opaque(name + " makes programs load code")
		}
	case name == "NODE_OPTIONS":
		if text == nil || strings.Contains(*text, "-r") || strings.Contains(*text, "--import") || strings.Contains(*text, "loader") || strings.Contains(*text, "--eval") {
			c.opaque(name + " makes programs load code")
		}
	}
}

// value is the value of a variable that holds what would be a command substitution.
type value struct {
	text string
	sc   scope
}

// variable records a name that the script sets.
func (a *analyzer) variable(name string) {
	if name == "" {
		return
	}
	if a.variables == nil {
		a.variables = map[string]bool{}
	}
	a.variables[name] = true
}

// reevaluated walks the values of variables that hold a substitution, if the script does something that would expand
// them once more: arithmetic, a subscript, ${x@P}.
func (a *analyzer) reevaluated() {
	if len(a.values) == 0 || !a.evaluates && !a.has(FeatureArithmetic) && !a.has(FeatureLet) && !a.has(FeatureTestClause) {
		return
	}
	for _, v := range a.values {
		sc := v.sc.by("variable")
		sc.late = true
		a.substituted(v.text, sc)
	}
}

// substituted walks the commands that are substituted in text.
func (a *analyzer) substituted(text string, sc scope) {
	if !strings.Contains(text, "$(") && !strings.Contains(text, "`") {
		return
	}
	a.feature(FeatureNestedScript)
	if isDocument(text) { // bash cannot expand it otherwise
		a.opaquePattern(&syntax.Lit{Value: text}, sc)
	}
}

// setters are the builtins that set the variables that are named by their operands, with the options that take a value.
var setters = map[string]string{
	"read": "adinNptu", "mapfile": "dnOsuCc", "readarray": "dnOsuCc", "getopts": "", "unset": "", "export": "", "readonly": "", "declare": "", "typeset": "", "local": "",
}

// sets records the variables that a builtin sets.
func (a *analyzer) sets(c *Command) {
	values, ok := setters[c.Base]
	if c.Base == "printf" || c.Base == "wait" {
		for i, g := range c.Args {
			if (g.approx == "-v" || g.approx == "-p") && i+1 < len(c.Args) {
				a.variable(plainName(c.Args[i+1]))
			} else if name, found := strings.CutPrefix(g.approx, "-v"); found {
				a.variable(name)
			}
		}
	}
	if !ok {
		return
	}
	args := c.Args
	if c.Base == "getopts" {
		args = args[min(1, len(args)):]
		args = args[:min(1, len(args))]
	}
	for i := 0; i < len(args); i++ {
		v := args[i].approx
		if strings.HasPrefix(v, "-") && len(v) > 1 {
			last := v[len(v)-1:]
			if strings.Contains(values, last) && i+1 < len(args) {
				i++
				if last == "a" {
					a.variable(plainName(args[i]))
				}
			}
			continue
		}
		a.variable(plainName(args[i]))
	}
	if len(c.Args) > 0 && (c.Base == "declare" || c.Base == "typeset" || c.Base == "local") && strings.ContainsAny(c.Args[0].approx, "in") {
		a.evaluates = true
	}
}

// plainName is the name in a word NAME, NAME=VALUE or NAME[…]; "?" when it is not static.
func plainName(g *Arg) string {
	name := g.approx
	if i := strings.IndexAny(name, "=["); i >= 0 {
		name = name[:i]
	}
	if !isName(name) {
		return "?"
	}
	return name
}

// paramExp notes what an expansion does besides being replaced.
func (a *analyzer) paramExp(p *syntax.ParamExp) {
	a.evaluates = a.evaluates || p.Index != nil || p.Excl
	if p.Exp == nil {
		return
	}
	switch p.Exp.Op {
	case syntax.AssignUnset, syntax.AssignUnsetOrNull:
		if p.Param != nil {
			a.variable(p.Param.Value)
		}
	case syntax.OtherParamOps:
		if p.Exp.Word != nil && strings.ContainsAny(p.Exp.Word.Lit(), "P") || p.Exp.Word == nil {
			a.evaluates = true
			if a.owner != nil {
				a.owner.opaque("it expands the value of a variable once more")
			}
			a.out.Opaque = true
		}
	}
}

// assignsIn records the variable that an arithmetic operator sets.
func (a *analyzer) assignsIn(op string, x syntax.ArithmExpr) {
	switch op {
	case "=", "+=", "-=", "*=", "/=", "%=", "<<=", ">>=", "&=", "^=", "|=", "++", "--":
		if w, ok := x.(*syntax.Word); ok {
			name, _, _ := strings.Cut(w.Lit(), "[")
			if isName(name) {
				a.variable(name)
			}
		}
	}
}
