package facts

import "strings"

// special handles the commands with a way of their own to run others, or with an effect on later ones.
func (a *analyzer) special(c *Command, sc scope) {
	a.subscripts(c, sc)
	a.sets(c)
	if r, ok := subRunners[c.Base]; ok {
		a.subRun(c, r, sc)
		if projectRunners[c.Base] {
			c.opaque("it runs what files tell it to")
		}
		return
	}
	switch c.Base {
	case "eval":
		a.eval(c, sc)
	case "source", ".", "bind":
		a.source(c, sc)
	case "trap":
		a.trap(c, sc)
	case "alias":
		a.alias(c, sc)
	case "shopt", "set":
		a.setOption(c)
	case "enable", "hash", "fc", "history":
		a.redefined(c, sc)
	case "awk", "gawk", "mawk", "nawk", "original-awk":
		a.awk(c, sc)
	case "sed", "gsed":
		a.sed(c, sc)
	case "vi", "vim", "nvim", "ex", "view", "vimdiff", "gvim", "less", "more", "man", "ed":
		a.editor(c, sc)
	case "mapfile", "readarray", "complete", "compgen":
		a.callback(c, sc)
	case "cd", "chdir":
		a.changeDir(c, sc)
	case "pushd", "popd":
		a.lostDirectory(sc)
	case "find":
		a.findExec(c, sc)
	case "fd", "fdfind":
		a.fdExec(c, sc)
	case "tar", "gtar", "bsdtar":
		a.optionScripts(c, c.Args, sc, "--to-command", "--use-compress-program", "-I", "--info-script", "--new-volume-script",
			"-F", "--rsh-command", "--checkpoint-action=exec")
	case "git":
		a.gitExec(c, sc)
	case "ssh":
		a.remote(c, sc)
	case "scp", "sftp":
		a.optionScripts(c, c.Args, sc, "-S")
		a.sshOptions(c, sc)
	case "docker", "podman", "kubectl", "nerdctl", "crictl", "oc":
		a.inContainer(c, sc)
	case "npx", "bunx", "poetry", "pipenv", "bundle", "uv", "uvx", "pipx":
		a.runner(c, sc)
	case "nix-shell":
		a.nixShell(c, sc)
	default:
		if isPython(c.Base) {
			c.opaque("a program in a language that is not read as a whole")
			a.pythonCommand(c, sc)
		} else if !a.interpreter(c, sc) {
			a.optionCommands(c, sc)
		}
	}
}

var findActions = set("-exec", "-execdir", "-ok", "-okdir")

// findExec analyses the commands of find's actions.
func (a *analyzer) findExec(c *Command, sc scope) {
	saved := a.bases
	defer func() { a.bases = saved }()
	for i := 0; i < len(c.Args); i++ {
		v := c.Args[i].Value
		if v == nil || !findActions[*v] {
			continue
		}
		end := i + 1
		for end < len(c.Args) && c.Args[end].approx != ";" && (c.Args[end].approx != "+" || c.Args[end-1].approx != "{}") {
			end++
		}
		if strings.HasSuffix(*v, "dir") {
			a.bases = nil
		}
		a.command(c, filledIn(c.Args[i+1:end], "{}", false, nil), sc)
		i = end
	}
}

// fdExec analyses the command after fd's -x or -X.
func (a *analyzer) fdExec(c *Command, sc scope) {
	for i, g := range c.Args {
		rest := c.Args[i+1:]
		name, value, attached := strings.Cut(g.approx, "=")
		if !strings.HasPrefix(name, "--") && len(name) > 2 && g.Literal {
			name, value, attached = name[:2], g.approx[2:], true
		}
		switch name {
		case "-x", "-X", "--exec", "--exec-batch":
			if attached {
				first := Arg{Literal: g.Literal, Quoted: g.Quoted, approx: value}
				if g.Literal {
					first.Value = &value
				}
				rest = append([]*Arg{&first}, rest...)
			}
			a.command(c, filledIn(rest, "{}", true, nil), sc)
			return
		}
	}
}

// gitExec analyses the shell commands that git is told to run.
func (a *analyzer) gitExec(c *Command, sc scope) {
	for _, s := range c.Git.Settings {
		switch {
		case s.Stored:
		case s.Value != nil:
			a.gitConfig(c, s.Name, *s.Value, sc)
		case s.Runs:
			c.opaque("its configuration runs programs")
		}
		if strings.HasPrefix(s.Name, "include") {
			c.opaque("its configuration is in a file")
		}
	}
	args := c.Args[min(c.Git.At+1, len(c.Args)):]
	a.gitTransport(c, args, sc)
	switch c.Git.Sub {
	case "config":
		if args = dropFlags(args); len(args) > 2 && args[0].approx == "set" {
			args = args[1:]
		}
		if len(args) >= 2 {
			a.gitConfig(c, args[0].approx, args[1].approx, sc)
		}
	case "bisect":
		if len(args) > 1 && args[0].approx == "run" {
			a.command(c, args[1:], sc)
		}
	case "submodule":
		for i, g := range args {
			if g.approx == "foreach" {
				text, known := joined(dropFlags(args[i+1:]))
				a.text(c, text, known, sc)
			}
		}
	case "rebase":
		a.gitRebase(c, args, sc)
	case "difftool":
		a.optionScripts(c, args, sc, "-x", "--extcmd")
	case "grep":
		a.optionScripts(c, args, sc, "-O=", "--open-files-in-pager=")
	case "filter-branch":
		a.optionScripts(c, args, sc, "--setup", "--env-filter", "--tree-filter", "--index-filter", "--parent-filter", "--msg-filter",
			"--commit-filter", "--tag-name-filter")
	}
}

// gitTransport looks at the programs that git runs at the other end, and at the addresses that are commands.
func (a *analyzer) gitTransport(c *Command, args []*Arg, sc scope) {
	switch c.Git.Sub {
	case "clone", "ls-remote":
		a.optionScripts(c, args, sc, "-u", "--upload-pack")
	case "fetch", "pull", "fetch-pack":
		a.optionScripts(c, args, sc, "--upload-pack")
	case "push", "send-pack":
		a.optionScripts(c, args, sc, "--receive-pack", "--exec")
	case "archive":
		a.optionScripts(c, args, sc, "--exec")
	case "send-email":
		a.optionScripts(c, args, sc, "--sendmail-cmd", "--to-cmd", "--cc-cmd", "--header-cmd", "--smtp-server")
	}
	for _, g := range args {
		if _, text, ok := strings.Cut(g.approx, "ext::"); ok {
			a.text(c, strings.NewReplacer("% ", " ", "%S", "git", "%%", "%").Replace(text), g.Literal, sc)
		}
	}
	for _, o := range c.Git.Options {
		if o.Name == "--exec-path" && o.Value != nil {
			c.opaque("it runs programs of another directory")
		}
	}
}

func (a *analyzer) gitRebase(c *Command, args []*Arg, sc scope) {
	for i, g := range args {
		v := g.approx
		switch {
		case (v == "-x" || v == "--exec") && i+1 < len(args):
			a.text(c, args[i+1].approx, args[i+1].Literal, sc)
		case strings.HasPrefix(v, "--exec="):
			a.text(c, v[len("--exec="):], g.Literal, sc)
		case strings.HasPrefix(v, "-x") && len(v) > 2:
			a.text(c, v[2:], g.Literal, sc)
		}
	}
}

// gitConfig looks at the values of git's configuration that git gives to a shell.
func (a *analyzer) gitConfig(c *Command, name, value string, sc scope) {
	name = strings.ToLower(name)
	switch {
	case strings.HasPrefix(name, "alias."):
		if strings.HasPrefix(value, "!") {
			a.text(c, value[1:], true, sc)
		}
	case name == "core.pager", name == "core.editor", name == "core.sshcommand", name == "core.fsmonitor",
		name == "sequence.editor", name == "core.askpass", name == "diff.external",
		strings.HasPrefix(name, "pager."), strings.HasPrefix(name, "filter."), strings.HasPrefix(name, "credential."),
		strings.HasPrefix(name, "diff.") && (strings.HasSuffix(name, ".command") || strings.HasSuffix(name, ".textconv")):
		if name == "core.fsmonitor" && !gitRuns(name, &value) {
			return
		}
		a.text(c, strings.TrimPrefix(value, "!"), true, sc)
	}
}

// remote is ssh: the words after the host are a script for the shell of another machine.
func (a *analyzer) remote(c *Command, sc scope) {
	w := wrapper{short: "BbcDEeFIiJLlmOoPpQRSWw", skip: 1}
	local := sc
	sc.other = true
	rest, _, _, _ := w.scan(c.Args)
	a.sshOptions(c, local)
	if len(rest) > 0 {
		text, known := joined(rest)
		a.text(c, text, known, sc)
	} else if sc.stdin != nil {
		a.stdinScript(c, sc)
	}
	c.opaque("it runs on another machine")
}

// sshOptions looks at the values of -o that ssh gives to a shell.
func (a *analyzer) sshOptions(c *Command, sc scope) {
	for i, g := range c.Args {
		v, found := strings.CutPrefix(g.approx, "-o")
		switch {
		case !found:
			continue
		case v == "" && i+1 < len(c.Args):
			v = c.Args[i+1].approx
		}
		name, text, ok := strings.Cut(v, "=")
		if !ok {
			name, text, ok = strings.Cut(v, " ")
		}
		switch strings.ToLower(name) {
		case "proxycommand", "localcommand", "knownhostscommand", "match":
			if ok {
				a.text(c, text, true, sc)
			}
		}
	}
}

// inContainer analyses the command of docker exec/run and kubectl exec, as far as it can be told from the options:
// what follows a lone --, or the first shell among the words.
func (a *analyzer) inContainer(c *Command, sc scope) {
	if k := c.Kubectl; c.Base == "kubectl" && k.Verb != "" && !k.Known {
		c.opaque("it runs a plugin of kubectl")
	}
	sc.other = true
	for i, g := range c.Args {
		if !g.Literal {
			continue
		}
		if *g.Value == "--" {
			a.command(c, c.Args[i+1:], sc)
			return
		}
		if i > 1 && shells[(*g.Value)[strings.LastIndexByte(*g.Value, '/')+1:]] {
			a.command(c, c.Args[i:], sc)
			return
		}
	}
	if c.Kubectl == nil {
		a.containerCommand(c, sc)
	}
}

// containerSwitches are the long options of docker exec and run that take no value.
var containerSwitches = words(`--detach --interactive --tty --privileged --rm --init --read-only --publish-all --no-healthcheck --oom-kill-disable
	--sig-proxy --quiet --no-TTY --help --disable-content-trust --all --latest --no-deps --service-ports --use-aliases --build`)

// containerCommand finds the command of docker exec and run: what follows the container or image.
func (a *analyzer) containerCommand(c *Command, sc scope) {
	at := 0
	for at < len(c.Args) && c.Args[at].approx != "exec" && c.Args[at].approx != "run" {
		if at++; at > 4 {
			return
		}
	}
	for at++; at < len(c.Args); at++ {
		v := c.Args[at].approx
		if len(v) < 2 || v[0] != '-' {
			break
		}
		long := strings.HasPrefix(v, "--")
		if long && !strings.Contains(v, "=") && !containerSwitches[v] || !long && strings.Contains("aceghlmpuvwL", v[len(v)-1:]) && !strings.Contains(v, "=") {
			at++
		}
	}
	if at+1 < len(c.Args) {
		a.command(c, c.Args[at+1:], sc)
	}
}

// runner is a package manager that runs a program; npx and bunx name it at once, the others after run or exec.
func (a *analyzer) runner(c *Command, sc scope) {
	c.opaque("it runs a program of a package")
	if c.Base == "npx" {
		a.optionScripts(c, c.Args, sc, "-c", "--call")
	}
	args := dropFlags(c.Args)
	if len(args) > 0 && (args[0].approx == "run" || args[0].approx == "exec") {
		args = dropFlags(args[1:])
	}
	a.command(c, args, sc)
}

// nixShell runs the script after --run or --command.
func (a *analyzer) nixShell(c *Command, sc scope) {
	for i, g := range c.Args {
		if (g.approx == "--run" || g.approx == "--command") && i+1 < len(c.Args) {
			a.text(c, c.Args[i+1].approx, c.Args[i+1].Literal, sc)
		}
	}
}

// gitValues are git's own options that take a value in the next word.
var gitValues = set("-C", "-c", "--git-dir", "--work-tree", "--namespace", "--super-prefix", "--config-env",
	"--attr-source", "--list-cmds", "--exec-path")

// gitFacts splits git's own options from its subcommand.
func gitFacts(args []*Arg) *Git {
	g := &Git{At: len(args), Options: []GitOption{}}
	for i := 0; i < len(args); i++ {
		if !args[i].Literal {
			return g
		}
		v := *args[i].Value
		if !strings.HasPrefix(v, "-") || v == "-" {
			g.Sub, g.At = v, i
			return g
		}
		opt := GitOption{Name: v}
		if name, value, ok := strings.Cut(v, "="); ok {
			opt.Name, opt.Value = name, &value
		} else if gitValues[v] && v != "--exec-path" && i+1 < len(args) {
			i++
			opt.Value = args[i].Value
		}
		g.Options = append(g.Options, opt)
	}
	return g
}
