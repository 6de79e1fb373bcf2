package facts

import (
	"slices"
	"strings"
)

// wrapper tells how a program that runs another one finds that one among its arguments.
type wrapper struct {
	short   string   // option letters that take a value
	long    []string // long options that take a value in the next word
	pairs   []string // long options that take two
	scripts string   // option letters whose value is a shell script
	skip    int      // operands before the command
	assigns bool     // NAME=VALUE may stand before the command
	join    bool     // the words are joined and given to a shell
	lookup  string   // option letters with which nothing is run
	unknown string   // why what is run is not known as a whole, if so
	builtin bool     // runs in this shell, so a cd in it counts
}

var scriptLong = set("--command", "--shell-command", "--split-string", "--session-command")

var wrappers = map[string]wrapper{
	"env":               {short: "uCa", long: []string{"--unset", "--chdir", "--argv0"}, scripts: "S", assigns: true},
	"nice":              {short: "n", long: []string{"--adjustment"}},
	"ionice":            {short: "cn", long: []string{"--class", "--classdata"}, lookup: "pPu"},
	"timeout":           {short: "sk", long: []string{"--signal", "--kill-after"}, skip: 1},
	"nohup":             {},
	"setsid":            {},
	"stdbuf":            {short: "ioe", long: []string{"--input", "--output", "--error"}},
	"time":              {short: "fo", long: []string{"--format", "--output"}},
	"command":           {lookup: "vV", builtin: true},
	"builtin":           {builtin: true},
	"exec":              {short: "a", builtin: true},
	"sudo":              {short: "ughpCTrtDRUca", long: []string{"--user", "--group", "--host", "--prompt", "--chdir", "--chroot", "--role", "--type", "--close-from", "--other-user", "--command-timeout"}, assigns: true, lookup: "lvVkK"},
	"doas":              {short: "uCa"},
	"pkexec":            {long: []string{"--user"}},
	"su":                {short: "gGswT", scripts: "c", unknown: "it starts a login shell"},
	"runuser":           {short: "gGswTu", scripts: "c"},
	"sg":                {scripts: "c", skip: 1, join: true},
	"chroot":            {long: []string{"--userspec", "--groups"}, skip: 1},
	"unshare":           {short: "SGRwl", long: []string{"--setuid", "--setgid", "--root", "--wd", "--propagation", "--setgroups"}},
	"nsenter":           {short: "tSG", long: []string{"--target", "--setuid", "--setgid"}},
	"setpriv":           {long: []string{"--ruid", "--euid", "--rgid", "--egid", "--reuid", "--regid", "--groups", "--inh-caps", "--ambient-caps", "--bounding-set", "--securebits", "--pdeathsig"}},
	"capsh":             {scripts: "c"},
	"watch":             {short: "nqs", long: []string{"--interval", "--equexit", "--shotsdir"}, join: true},
	"flock":             {short: "wE", long: []string{"--timeout", "--wait", "--conflict-exit-code"}, scripts: "c", skip: 1},
	"busybox":           {},
	"toybox":            {},
	"taskset":           {skip: 1},
	"chrt":              {short: "TPD", skip: 1},
	"prlimit":           {},
	"setarch":           {skip: 1},
	"linux32":           {},
	"linux64":           {},
	"strace":            {short: "eoEpsuaOPSXIb", long: []string{"--output", "--trace", "--env"}},
	"ltrace":            {short: "eopsulaFnwAx"},
	"valgrind":          {},
	"script":            {short: "oTIOBEmt", long: []string{"--echo", "--log-io"}, scripts: "c", unknown: "it runs a shell"},
	"unbuffer":          {},
	"fakeroot":          {short: "lsibf"},
	"eatmydata":         {},
	"faketime":          {skip: 1},
	"firejail":          {},
	"bwrap":             bwrap,
	"numactl":           {short: "iNCmpPw", long: []string{"--interleave", "--cpunodebind", "--physcpubind", "--membind", "--preferred"}},
	"cpulimit":          {short: "pePlc", long: []string{"--pid", "--exe", "--path", "--limit", "--cpu"}},
	"dbus-run-session":  {long: []string{"--config-file", "--dbus-daemon"}},
	"dbus-launch":       {long: []string{"--config-file"}},
	"gtimeout":          {short: "sk", long: []string{"--signal", "--kill-after"}, skip: 1},
	"gnice":             {short: "n", long: []string{"--adjustment"}},
	"watchexec":         {short: "efiowdsNE", long: []string{"--exts", "--filter", "--ignore", "--watch", "--shell", "--debounce", "--signal", "--workdir"}, join: true},
	"sshpass":           {short: "fdpP"},
	"proot":             {short: "rbwvkq0"},
	"torsocks":          {},
	"torify":            {},
	"proxychains":       {short: "f"},
	"proxychains4":      {short: "f"},
	"rlwrap":            {short: "fHlsbcCDeghiMpPtTwzS"},
	"systemd-run":       {short: "pEuHMt", long: []string{"--unit", "--property", "--setenv", "--uid", "--gid"}},
	"systemd-cat":       {short: "tp"},
	"xvfb-run":          {short: "efnps", long: []string{"--auth-file", "--error-file", "--server-num", "--server-args"}},
	"cgexec":            {short: "g"},
	"chpst":             {short: "ueEnlLPdmofprstc/"},
	"softlimit":         {},
	"setuidgid":         {skip: 1},
	"envdir":            {skip: 1},
	"gosu":              {skip: 1},
	"su-exec":           {skip: 1},
	"tini":              {short: "pe"},
	"dumb-init":         {short: "r"},
	"daemonize":         {short: "acoepluE"},
	"start-stop-daemon": {short: "xpnuRsagdNIPk", unknown: "it starts a program"},
	"caffeinate":        {short: "tw"},
	"catchsegv":         {},
	"hyperfine":         {short: "wrmMpcsiun", join: true, unknown: "every operand is a command"},
	"entr":              {unknown: "its input picks the words"},
	"xdg-open":          {unknown: "it starts a program"},
	"dtach":             {unknown: "it starts a program"},
	"expect":            {scripts: "c", unknown: "a program of its own language"},
	"chronic":           {},
	"ifne":              {},
	"logsave":           {skip: 1},
	"pee":               {join: true},
	"parallel":          {short: "jInNLSaPCEdswxX", join: true, unknown: "its input adds words"},
	"xargs":             {short: "InPLdsEa", long: []string{"--max-args", "--max-procs", "--max-lines", "--delimiter", "--max-chars", "--arg-file", "--process-slot-var", "--replace", "--eof"}},
	"at":                {short: "fqt", unknown: "it reads commands and runs them later"},
	"batch":             {unknown: "it reads commands and runs them later"},
	"ssh-agent":         {short: "aEtO"},
}

var bwrap = wrapper{
	unknown: "a sandbox with arguments of its own",
	long: []string{
		"--args", "--argv0", "--userns", "--userns2", "--pidns", "--uid", "--gid", "--hostname", "--chdir", "--unsetenv", "--lock-file",
		"--sync-fd", "--exec-label", "--file-label", "--proc", "--dev", "--tmpfs", "--mqueue", "--dir", "--seccomp", "--add-seccomp-fd",
		"--block-fd", "--userns-block-fd", "--info-fd", "--json-status-fd", "--cap-add", "--cap-drop", "--perms", "--size",
		"--remount-ro", "--overlay-src", "--tmp-overlay", "--ro-overlay",
	},
	pairs: []string{
		"--bind", "--bind-try", "--dev-bind", "--dev-bind-try", "--ro-bind", "--ro-bind-try", "--bind-fd", "--ro-bind-fd", "--symlink",
		"--setenv", "--file", "--bind-data", "--ro-bind-data", "--chmod",
	},
}

// scan reads the options of a wrapper. rest begins with the command; scripts are option values that a shell will run.
func (w wrapper) scan(args []*Arg) (rest, scripts []*Arg, lookup, doubtful bool) {
	long := set(w.long...)
	skip := w.skip
	for len(args) > 0 {
		g := args[0]
		v := g.approx
		switch {
		case v == "--" && g.Literal:
			return args[1:][min(skip, len(args)-1):], scripts, lookup, doubtful
		case v == "-" && g.Literal: // env -, su -
			args = args[1:]
			continue
		case strings.HasPrefix(v, "--"):
			name, value, has := strings.Cut(v, "=")
			args = args[1:]
			if slices.Contains(w.pairs, name) {
				args = args[min(2, len(args)):]
				continue
			}
			if !has && (long[name] || scriptLong[name]) && len(args) > 0 {
				value, has = args[0].approx, true
				g, args = args[0], args[1:]
			}
			if has && scriptLong[name] {
				scripts = append(scripts, &Arg{approx: value, Literal: g.Literal})
			}
			continue
		case len(v) > 1 && v[0] == '-' && g.Value != nil:
			var s []*Arg
			var l bool
			args, s, l = w.cluster(args)
			scripts, lookup = append(scripts, s...), lookup || l
			continue
		case w.assigns && g.Value != nil && isAssignment(v):
			args = args[1:]
			continue
		case skip > 0:
			doubtful = doubtful || !g.Literal
			args, skip = args[1:], skip-1
			continue
		}
		return args, scripts, lookup, doubtful || !g.Literal
	}
	return nil, scripts, lookup, doubtful
}

// cluster reads one word of short options.
func (w wrapper) cluster(args []*Arg) (rest, scripts []*Arg, lookup bool) {
	g := args[0]
	v := *g.Value
	rest = args[1:]
	for i := 1; i < len(v); i++ {
		letter := string(v[i])
		lookup = lookup || strings.Contains(w.lookup, letter)
		takes := strings.Contains(w.short, letter)
		script := strings.Contains(w.scripts, letter)
		if !takes && !script {
			continue
		}
		value := &Arg{approx: v[i+1:], Literal: g.Literal}
		if i+1 == len(v) && len(rest) > 0 {
			value, rest = rest[0], rest[1:]
		}
		if script {
			scripts = append(scripts, value)
		}
		break
	}
	return rest, scripts, lookup
}

func isAssignment(s string) bool {
	name, _, ok := strings.Cut(s, "=")
	return ok && name != ""
}

// wrapped analyses the command that the wrapper c runs.
func (a *analyzer) wrapped(c *Command, w wrapper, sc scope) {
	rest, scripts, lookup, doubtful := w.scan(c.Args)
	if lookup {
		return
	}
	if w.unknown != "" {
		c.opaque(w.unknown)
	}
	if c.Base == "strace" {
		for _, g := range c.Args {
			if text, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimPrefix(g.approx, "--output="), "-o"), "|"); ok {
				a.seen(c, strings.TrimPrefix(text, "!"), sc)
			}
		}
	}
	if w.assigns {
		a.assignedBefore(c, len(c.Args)-len(rest), sc)
	}
	if doubtful {
		c.opaque("where its own arguments end is not static")
	}
	sc.other = sc.other || c.Base == "chroot" || c.Base == "nsenter"
	if !w.builtin {
		saved := a.bases
		defer func() { a.bases = saved }()
		if movesDir(c) {
			a.bases = nil
		}
	}
	for _, s := range scripts {
		a.text(c, s.approx, s.Literal, sc)
		if c.Base == "env" {
			c.opaque("env -S splits by rules of its own")
			rest = nil
		}
	}
	switch {
	case c.Base == "at" || c.Base == "batch":
		a.stdinScript(c, sc)
	case c.Base == "parallel" && len(beforeInputs(rest)) == 0:
		a.parallelInputs(c, rest, sc)
	case len(rest) == 0:
		a.ownShell(c, sc)
	case c.Base == "xargs":
		a.xargs(c, rest, sc)
	case w.scripts == "c" && a.lateScript(c, rest, sc):
	case w.join:
		text, known := joined(beforeInputs(rest))
		a.text(c, text, known, sc)
	default:
		a.command(c, rest, sc)
	}
}

// ownShell is the shell that some wrappers start when they are given no command.
func (a *analyzer) ownShell(c *Command, sc scope) {
	switch c.Base {
	case "sudo", "doas":
		for _, g := range c.Args {
			v := g.approx
			if v == "--shell" || v == "--login" || len(v) > 1 && v[0] == '-' && v[1] != '-' && strings.ContainsAny(v, "si") {
				a.stdinScript(c, sc)
				return
			}
		}
	case "su", "runuser", "chroot", "unshare", "nsenter", "script", "fakeroot", "newgrp", "sg":
		if !c.Opaque || sc.stdin != nil {
			a.stdinScript(c, sc)
		}
	}
}

// assignedBefore looks at the variables that env and its like set: NAME=VALUE among the first n words.
func (a *analyzer) assignedBefore(c *Command, n int, sc scope) {
	for _, g := range c.Args[:min(n, len(c.Args))] {
		name, text, ok := strings.Cut(g.approx, "=")
		if !ok || strings.HasPrefix(name, "-") {
			continue
		}
		if g.Literal {
			a.influenced(c, name, &text, sc)
		} else {
			a.influenced(c, name, nil, sc)
		}
	}
}

// lateScript runs the script after a -c that follows the operands, as su and flock take it.
func (a *analyzer) lateScript(c *Command, rest []*Arg, sc scope) bool {
	for i, g := range rest {
		if value, ok := strings.CutPrefix(g.approx, "--command="); ok {
			a.text(c, value, g.Literal, sc)
			return true
		}
		if g.Literal && (*g.Value == "-c" || *g.Value == "--command") && i+1 < len(rest) {
			a.text(c, rest[i+1].approx, rest[i+1].Literal, sc)
			return true
		}
	}
	return false
}

// movesDir reports whether the wrapper runs its command in another directory.
func movesDir(c *Command) bool {
	switch c.Base {
	case "env", "sudo", "unshare", "nsenter", "systemd-run", "proot", "su", "runuser", "bwrap", "chroot", "chpst", "daemonize":
		return len(c.Args) > 0 && strings.HasPrefix(c.Args[0].approx, "-") || c.Base == "chroot"
	}
	return false
}

// parallelInputs is GNU parallel without a command of its own: every input is one.
func (a *analyzer) parallelInputs(c *Command, inputs []*Arg, sc scope) {
	if len(inputs) == 0 {
		a.stdinScript(c, sc)
		return
	}
	for _, g := range inputs {
		if !strings.HasPrefix(g.approx, ":::") {
			a.text(c, g.approx, g.Literal, sc)
		}
	}
}

// beforeInputs cuts GNU parallel's ::: and what follows, which only adds words.
func beforeInputs(args []*Arg) []*Arg {
	for i, g := range args {
		if g.Literal && strings.HasPrefix(*g.Value, ":::") {
			return args[:i]
		}
	}
	return args
}

// xargs runs its command with words from its input: appended, or in the place of the replacement string.
func (a *analyzer) xargs(c *Command, argv []*Arg, sc scope) {
	replace := ""
	for i, g := range c.Args {
		v := g.approx
		switch {
		case v == "-I" && i+1 < len(c.Args):
			replace = c.Args[i+1].approx
		case strings.HasPrefix(v, "-I") && len(v) > 2:
			replace = v[2:]
		case v == "-i" || v == "--replace":
			replace = "{}"
		case strings.HasPrefix(v, "--replace="):
			replace = v[len("--replace="):]
		}
	}
	a.command(c, filledIn(argv, replace, replace == "", inputWords(sc.stdin)), sc)
}

// filledIn makes every word that holds the mark dynamic, and adds a dynamic word if more is appended.
func filledIn(argv []*Arg, mark string, more bool, known *hint) []*Arg {
	out := make([]*Arg, 0, len(argv)+1)
	for _, g := range argv {
		if mark != "" && strings.Contains(g.approx, mark) {
			prefix, rest, _ := strings.Cut(g.approx, mark)
			raw := []frag{{text: prefix}, {dynamic: true, hint: known}, {text: rest}}
			g = &Arg{Dynamic: true, Quoted: g.Quoted, Prefix: prefix, approx: strings.ReplaceAll(g.approx, mark, placeholder), raw: raw}
		}
		out = append(out, g)
	}
	if more {
		out = append(out, &Arg{Dynamic: true, Splits: true, approx: placeholder, raw: []frag{{dynamic: true, hint: known}}})
	}
	return out
}

// inputWords is the hint for the words of an input that is known.
func inputWords(in *input) *hint {
	if in == nil || !in.known {
		return nil
	}
	words := strings.Fields(in.text)
	return &hint{texts: words[:min(len(words), maxPossible)]}
}
