package facts

import (
	"regexp"
	"strings"
)

// gitOwn are the subcommands that git brings (git 2.51, `git --list-cmds=main,others`).
var gitOwn = words(`add am annotate apply archimport archive backfill bisect blame branch bugreport bundle cat-file
	check-attr check-ignore check-mailmap check-ref-format checkout checkout-index cherry cherry-pick clean clone column
	commit commit-graph commit-tree config count-objects credential credential-cache credential-store cvsexportcommit
	cvsimport cvsserver daemon describe diagnose diff diff-files diff-index diff-pairs diff-tree difftool fast-export fast-import
	fetch fetch-pack filter-branch fmt-merge-msg for-each-ref for-each-repo format-patch fsck fsck-objects
	fsmonitor--daemon gc get-tar-commit-id grep gui hash-object help hook http-backend http-fetch http-push
	imap-send index-pack init init-db instaweb interpret-trailers last-modified log ls-files ls-remote ls-tree mailinfo
	mailsplit maintenance merge merge-base merge-file merge-index merge-octopus merge-one-file merge-ours
	merge-recursive merge-resolve merge-subtree merge-tree mergetool mktag mktree multi-pack-index mv name-rev
	notes p4 pack-objects pack-redundant pack-refs patch-id prune prune-packed pull push quiltimport range-diff
	read-tree rebase receive-pack reflog refs remote remote-ext remote-fd remote-ftp remote-ftps remote-http remote-https
	repack replace replay repo request-pull rerere reset restore rev-list rev-parse revert rm send-email send-pack sh-i18n--envsubst
	shell shortlog show show-branch show-index show-ref sparse-checkout stage stash status stripspace submodule
	submodule--helper subtree svn switch symbolic-ref tag unpack-file unpack-objects update-index update-ref
	update-server-info upload-archive upload-pack var verify-commit verify-pack verify-tag version whatchanged worktree
	write-tree`)

// gitDetail fills in what the subcommand does.
func gitDetail(g *Git, args []*Arg, env []*Assign) {
	g.Own = gitOwn[g.Sub]
	for i := range g.Options {
		o := &g.Options[i]
		if o.Name != "-c" && o.Name != "--config-env" || o.Value == nil {
			continue
		}
		name, value, has := strings.Cut(*o.Value, "=")
		switch {
		case o.Name == "--config-env":
			g.setting(name, nil, false)
		case !has:
			value = "true"
			fallthrough
		default:
			g.setting(name, &value, false)
		}
	}
	g.environment(env)
	if g.Sub == "" {
		return
	}
	args = args[min(g.At+1, len(args)):]
	g.pathsIn(args)
	switch g.Sub {
	case "push":
		g.Push = gitPush(args)
		if g.Push.Remote != "" {
			g.Remotes = []string{g.Push.Remote}
		}
	case "config":
		g.configIn(args)
	case "clone", "fetch", "pull", "ls-remote":
		if words := operandsOf(args, gitRemoteValues); len(words) > 0 && words[0].Literal {
			g.Remotes = []string{*words[0].Value}
		}
	case "remote", "submodule":
		g.remotesIn(operandsOf(args, set("-t", "-m", "-b", "--branch", "--name", "--reference", "--depth")))
	}
}

var gitParameter = regexp.MustCompile(`'([^'=]+)(?:'=')?=?([^']*)'`)

// environment reads the settings that variables before git hold.
func (g *Git) environment(env []*Assign) {
	for _, e := range env {
		n, isKey := strings.CutPrefix(e.Name, "GIT_CONFIG_KEY_")
		switch {
		case isKey && e.Static:
			var value *string
			for _, v := range env {
				if v.Name == "GIT_CONFIG_VALUE_"+n {
					value = v.Value
				}
			}
			g.setting(*e.Value, value, false)
		case e.Name == "GIT_CONFIG_PARAMETERS" && e.Static:
			for _, m := range gitParameter.FindAllStringSubmatch(*e.Value, hardMatches) {
				g.setting(m[1], &m[2], false)
			}
			fallthrough
		case e.Name == "GIT_CONFIG_PARAMETERS", isKey:
			g.Settings = append(g.Settings, GitSetting{Name: "*", Runs: true})
		}
	}
}

func (g *Git) setting(name string, value *string, stored bool) {
	section, rest, ok := strings.Cut(name, ".")
	if ok {
		middle, last := "", rest
		if i := strings.LastIndexByte(rest, '.'); i >= 0 {
			middle, last = rest[:i+1], rest[i+1:]
		}
		name = strings.ToLower(section) + "." + middle + strings.ToLower(last)
	}
	g.Settings = append(g.Settings, GitSetting{Name: name, Value: value, Runs: gitRuns(name, value), Stored: stored})
}

// gitRuns reports whether git runs what a setting says, or reads more settings from there.
func gitRuns(name string, value *string) bool {
	name = strings.ToLower(name)
	section, rest, _ := strings.Cut(name, ".")
	last := rest[strings.LastIndexByte(rest, '.')+1:]
	switch section {
	case "alias":
		return value == nil || strings.HasPrefix(strings.TrimLeft(*value, " \t"), "!")
	case "core":
		switch rest {
		case "pager", "editor", "sshcommand", "askpass", "hookspath", "gitproxy", "alternaterefscommand":
			return true
		case "fsmonitor":
			return value == nil || !strings.Contains(" true false yes no on off 1 0  ", " "+strings.ToLower(*value)+" ")
		}
		return false
	case "pager", "filter", "include", "includeif", "credential", "browser", "man", "hook", "tar", "trailer":
		return true
	case "diff", "difftool", "merge", "mergetool", "guitool", "interactive", "gpg", "sequence", "sendemail", "uploadpack", "remote",
		"submodule", "protocol", "web", "instaweb", "init", "http", "rebase":
		switch last {
		case "external", "command", "textconv", "cmd", "path", "driver", "difffilter", "program", "editor", "sendmailcmd", "tocmd", "cccmd",
			"headercmd", "smtpserver", "packobjectshook", "uploadpack", "receivepack", "vcs", "proxy", "update", "allow", "browser",
			"templatedir", "httpd", "defaultkeycommand", "backend":
			return true
		}
	}
	return false
}

func (g *Git) configIn(args []*Arg) {
	for len(args) > 0 && args[0].Literal && strings.HasPrefix(*args[0].Value, "-") {
		v := *args[0].Value
		args = args[1:]
		if (v == "-f" || v == "--file" || v == "--blob" || v == "--type" || v == "-t" || v == "--default") && len(args) > 0 {
			args = args[1:]
		}
		if strings.HasPrefix(v, "--get") || v == "-l" || v == "--list" || strings.HasPrefix(v, "--unset") {
			return
		}
	}
	if len(args) > 1 && args[0].Literal {
		switch *args[0].Value {
		case "set":
			g.configIn(append([]*Arg{}, args[1:]...))
			return
		case "get", "list", "unset", "rename-section", "remove-section", "edit":
			return
		}
	}
	if len(args) < 2 || !args[0].Literal {
		return
	}
	var value *string
	if args[1].Literal {
		value = args[1].Value
	}
	g.setting(*args[0].Value, value, true)
}

func (g *Git) remotesIn(words []*Arg) {
	if len(words) < 2 || !words[0].Literal {
		return
	}
	switch *words[0].Value {
	case "add", "set-url", "update", "prune", "show":
	default:
		return
	}
	for _, w := range words[1:] {
		if w.Literal {
			g.Remotes = append(g.Remotes, *w.Value)
		}
	}
}

func (g *Git) pathsIn(args []*Arg) {
	for i, a := range args {
		if !a.Literal || *a.Value != "--" {
			continue
		}
		for _, p := range args[i+1:] {
			if p.Literal {
				g.Paths = append(g.Paths, *p.Value)
			}
		}
		return
	}
}

var gitRemoteValues = words(`-o -u -b -c -j --origin --upload-pack --branch --reference --reference-if-able --template --depth
	--shallow-since --shallow-exclude --separate-git-dir --jobs --server-option --config --filter --bundle-uri --refmap
	--negotiation-tip --deepen -s -X --strategy --strategy-option --sort --ref-format --revision`)

// operandsOf leaves out the options, and the values of those that take one in the next word.
func operandsOf(args []*Arg, values map[string]bool) []*Arg {
	var out []*Arg
	for i := 0; i < len(args); i++ {
		v := args[i].approx
		switch {
		case v == "--" && args[i].Literal:
			return append(out, args[i+1:]...)
		case args[i].Literal && len(v) > 1 && v[0] == '-':
			if values[v] {
				i++
			}
		default:
			out = append(out, args[i])
		}
	}
	return out
}

// The long options of git push. git takes any beginning that fits only one of them.
var (
	gitPushSwitches = strings.Fields(`all branches mirror tags follow-tags no-follow-tags delete prune no-prune dry-run force no-force
		force-with-lease no-force-with-lease force-if-includes no-force-if-includes atomic no-atomic set-upstream thin no-thin verbose quiet progress no-progress
		porcelain verify no-verify signed no-signed ipv4 ipv6 recurse-submodules no-recurse-submodules no-all no-mirror no-tags no-delete no-dry-run
		no-set-upstream no-verbose no-quiet`)
	gitPushValues = strings.Fields(`repo receive-pack exec push-option`)
)

// gitPush reads the words after push.
func gitPush(args []*Arg) *GitPush {
	p := &GitPush{Complete: true, Refs: []GitRef{}}
	var operands []string
	plain, lease := false, false
	for i := 0; i < len(args); i++ {
		if !args[i].Literal {
			p.Complete = false
			operands = append(operands, "")
			continue
		}
		v := *args[i].Value
		switch {
		case v == "--":
			for _, a := range args[i+1:] {
				p.Complete = p.Complete && a.Literal
				if a.Literal {
					operands = append(operands, *a.Value)
				}
			}
			i = len(args)
		case strings.HasPrefix(v, "--"):
			name, _, has := strings.Cut(v[2:], "=")
			full, takes := pushOption(name)
			if takes && !has {
				i++
			}
			p.set(full)
			plain, lease = plain || full == "force", lease || full == "force-with-lease"
		case len(v) > 1 && v[0] == '-':
			for j, letter := range v[1:] {
				if letter == 'o' {
					if j+2 == len(v) {
						i++
					}
					break
				}
				full := map[rune]string{'f': "force", 'd': "delete", 'n': "dry-run", 'u': "set-upstream", 'v': "verbose", 'q': "quiet", '4': "ipv4", '6': "ipv6"}[letter]
				p.set(full)
				plain = plain || full == "force"
			}
		default:
			operands = append(operands, v)
		}
	}
	p.refs(operands)
	for _, r := range p.Refs {
		plain, p.Delete = plain || r.Force, p.Delete || r.Delete
	}
	p.Force = plain || lease || p.Mirror
	p.Lease = lease && !plain && !p.Mirror
	return p
}

// pushOption finds the option that name begins; "" when there is none, or more than one.
func pushOption(name string) (full string, takes bool) {
	found := 0
	for i, list := range [...][]string{gitPushSwitches, gitPushValues} {
		for _, o := range list {
			if o == name {
				return o, i == 1
			}
			if name != "" && strings.HasPrefix(o, name) {
				full, takes = o, i == 1
				found++
			}
		}
	}
	if found != 1 {
		return "", false // git refuses it
	}
	return full, takes
}

func (p *GitPush) set(option string) {
	switch option {
	case "":
		p.Complete = false
	case "delete":
		p.Delete, p.deletes = true, true
	case "prune":
		p.Delete = true
	case "mirror":
		p.Mirror, p.Delete = true, true
	case "all", "branches":
		p.All = true
	case "tags", "follow-tags":
		p.Tags = true
	case "dry-run":
		p.DryRun = true
	}
}

func (p *GitPush) refs(operands []string) {
	if len(operands) == 0 {
		return
	}
	p.Remote = operands[0]
	for i := 1; i < len(operands); i++ {
		spec := operands[i]
		if spec == "" {
			continue
		}
		if spec == "tag" && i+1 < len(operands) {
			i++
			spec = "refs/tags/" + operands[i]
		}
		r := GitRef{}
		spec, r.Force = strings.CutPrefix(spec, "+")
		src, dst, has := strings.Cut(spec, ":")
		if !has {
			dst = src
		}
		r.Src, r.Dst = src, strings.TrimPrefix(dst, "refs/heads/")
		r.Delete = has && src == "" && dst != "" || p.deletes && !has
		if r.Delete {
			r.Src = ""
		}
		p.Refs = append(p.Refs, r)
	}
}
