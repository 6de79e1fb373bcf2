# METADATA
# title: git
# description: >-
#   What a git command does, told from command.git. Reading is an allowlist of subcommands and of exact options;
#   an abbreviated option is not on it. Many subcommands run a program when told so by an option or by configuration.
package sandgate.lib.git

import data.sandgate.lib.names
import data.sandgate.lib.paths

# METADATA
# title: subcommand
# description: The subcommand of git, also of its helpers git-x; undefined when it is not known.
subcommand(command) := command.git.sub

subcommand(command) := substring(command.base, 4, -1) if {
	not command.git
	startswith(command.base, "git-")
}

# METADATA
# title: arguments
# description: What follows the subcommand.
arguments(command) := array.slice(command.args, command.git.at + 1, count(command.args))

arguments(command) := command.args if not command.git

# METADATA
# title: words
# description: The literal ones of the arguments.
words(command) := {arg.value | some arg in arguments(command); arg.literal == true}

# METADATA
# title: network
# description: The subcommand contacts another repository or host.
network(command) if subcommand(command) in _network

network(command) if {
	some verb in _network_verbs[subcommand(command)]
	verb in words(command)
}

network(command) if {
	subcommand(command) == "archive"
	some word in words(command)
	startswith(word, "--remote")
}

# remote show asks the remote, unless -n forbids it or there is none to ask.
network(command) if {
	subcommand(command) == "remote"
	"show" in words(command)
	not "-n" in words(command)
	count(arguments(command)) > 1
}

_network := {
	"archimport", "clone", "credential", "credential-cache", "cvsexportcommit", "cvsimport", "cvsserver", "daemon",
	"fetch", "fetch-pack", "http-backend", "http-fetch", "http-push", "imap-send", "instaweb", "ls-remote", "p4", "pull",
	"push", "quiltimport", "receive-pack", "remote-ext", "remote-fd", "remote-ftp", "remote-ftps", "remote-http",
	"remote-https", "request-pull", "send-email", "send-pack", "shell", "svn", "upload-archive", "upload-pack",
}

_network_verbs := {
	"annex": {"get", "sync", "copy", "move"},
	"lfs": {"clone", "fetch", "pull", "push"},
	"remote": {"prune", "update", "-f", "--fetch", "--auto", "-a"},
	"submodule": {"add", "init", "sync", "update"},
	"subtree": {"add", "pull", "push"},
}

# METADATA
# title: destructive
# description: The subcommand deletes or overwrites what may exist nowhere else.
destructive(command) if subcommand(command) in _destructive

destructive(command) if {
	some verb in _destructive_verbs[subcommand(command)]
	verb in words(command)
}

destructive(command) if {
	some pattern in _destructive_patterns[subcommand(command)]
	some word in words(command)
	regex.match(pattern, word)
}

# clean without a dry run, restore of the work tree, and removal of files
destructive(command) if {
	subcommand(command) == "clean"
	not _has(command, `^(-[a-zA-Z]*n[a-zA-Z]*|--dry-run)$`)
}

destructive(command) if {
	subcommand(command) == "restore"
	not _has(command, `^(-S|--staged)$`)
}

destructive(command) if {
	subcommand(command) == "restore"
	_has(command, `^(-W|--worktree|-[a-zA-Z]*W[a-zA-Z]*)$`)
}

destructive(command) if {
	subcommand(command) == "rm"
	not _has(command, `^(--cached|-n|--dry-run)$`)
}

_has(command, pattern) if {
	some word in words(command)
	regex.match(pattern, word)
}

_destructive := {"filter-branch", "filter-repo", "prune", "prune-packed", "replace", "obliterate"}

_destructive_verbs := {
	"bisect": {"reset"},
	"bundle": set(),
	"checkout": {"--", ".", "--force", "-f"},
	"gc": {"--prune=now", "--prune=all"},
	"lfs": {"prune"},
	"notes": {"prune", "remove"},
	"reflog": {"delete", "expire"},
	"remote": {"remove", "rm"},
	"reset": {"--hard", "--keep", "--merge"},
	"stash": {"clear", "drop"},
	"submodule": {"deinit"},
	"switch": {"--discard-changes", "--force", "-C", "-f", "--force-create"},
	"worktree": {"prune", "remove"},
}

_destructive_patterns := {
	"branch": {`^-[a-zA-Z]*[dD][a-zA-Z]*$`, `^--del`},
	"checkout": {`^-[a-zA-Z]*[fB][a-zA-Z]*$`},
	"gc": {`^--prune`},
	"reset": {`^--ha`},
	"symbolic-ref": {`^(-d|--delete)$`},
	"tag": {`^-[a-zA-Z]*d[a-zA-Z]*$`, `^--del`},
	"update-ref": {`^(-d|--stdin|--delete)$`},
	"worktree": {`^remove$`},
}

# METADATA
# title: read only
# description: >-
#   The command only reads the repository around the working directory, and starts no program but what the
#   repository's own configuration names.
read_only(command) if {
	_plain_git(command)
	_global_options(command)
	_reads[command.git.sub]
	every i, arg in arguments(command) {
		_reader_argument(command, i, arg)
	}
	_form(command)
}

read_only(command) if {
	_plain_git(command)
	count(command.args) == 1
	command.args[0].value in {"--version", "version"}
}

_plain_git(command) if {
	command.kind == "simple"
	command.name_static == true
	command.base == "git"
	object.get(command, "dir", "") in names.system_directories
	count(command.env) == 0
	command.opaque == false
	command.static == true
}

_global_options(command) if {
	every option in command.git.options {
		_global_option(option)
	}
}

_global_option(option) if {
	option.name in {"--no-pager", "-P", "--no-optional-locks", "--literal-pathspecs", "--no-replace-objects"}
	not option.value
}

_global_option(option) if {
	option.name == "-C"
	paths.inside(option)
}

# METADATA
# title: reader argument
# description: An operand inside the workspace, or an option of the list.
_reader_argument(_, _, arg) if {
	not startswith(arg.value, "-")
	paths.inside(arg)
}

_reader_argument(_, _, arg) if arg.value == "--"

_reader_argument(command, _, arg) if arg.value in _reads[command.git.sub].flags[_]

_reader_argument(command, _, arg) if {
	some pattern in _reads[command.git.sub].patterns[_]
	regex.match(pattern, arg.value)
	not contains(arg.value, "%G") # %G? and its like run gpg
}

# The pattern of git grep may look like a path.
_reader_argument(command, i, arg) if {
	command.git.sub == "grep"
	not startswith(arg.value, "-")
	every before in array.slice(arguments(command), 0, i) {
		startswith(before.value, "-")
		not regex.match(`^-[A-Za-z]*[eABCmf]$`, before.value)
	}
}

# METADATA
# title: form
# description: Where a subcommand both lists and changes, only the listing form.
_form(command) if _reads[command.git.sub].form == "any"

_form(command) if {
	_reads[command.git.sub].form == "list"
	every arg in arguments(command) {
		startswith(arg.value, "-")
		arg.value != "--"
	}
}

_form(command) if {
	_reads[command.git.sub].form == "list"
	some arg in arguments(command)
	arg.value in _reads[command.git.sub].listing[_]
}

_form(command) if {
	_reads[command.git.sub].form == "verb"
	arguments(command)[0].value in _reads[command.git.sub].verbs
}

_form(command) if {
	_reads[command.git.sub].form == "verb"
	_reads[command.git.sub].bare
	every arg in arguments(command) {
		startswith(arg.value, "-")
		arg.value != "--"
	}
}

# The reading subcommands: which form of them reads, and with which options, exact or by pattern. Sets are listed, not
# joined, because joining them anew for every call costs more than all else.
_reads["blame"] := {
	"form": "any",
	"flags": [_diff_flags, {
		"--incremental", "--line-porcelain", "--porcelain", "--show-email", "--show-name",
		"--show-number", "-e", "-f", "-l", "-n", "-p", "-t",
	}],
	"patterns": [{`^-L`, `^-[wMCs]+$`, `^--(date|abbrev)=[a-z0-9:-]+$`}],
}

_reads["branch"] := {
	"form": "list",
	"flags": [_listing, _list_flags, {
		"--all", "--list", "--remotes", "--show-current", "--verbose", "-a", "-i", "-l", "-r", "-v",
		"-vv", "-av", "-avv", "-rv", "-va", "-vva",
	}],
	"patterns": [_list_patterns],
	"listing": [_listing],
}

_reads["cat-file"] := {
	"form": "any",
	"flags": [{"-e", "-p", "-s", "-t"}],
	"patterns": [set()],
}

_reads["cherry"] := {
	"form": "any",
	"flags": [{"-v"}],
	"patterns": [{`^--abbrev=[0-9]+$`}],
}

_reads["config"] := {
	"form": "verb",
	"verbs": {"--get"},
	"bare": false,
	"flags": [{"--get", "--local"}],
	"patterns": [set()],
}

_reads["count-objects"] := {
	"form": "any",
	"flags": [{"--human-readable", "--verbose", "-H", "-v", "-vH"}],
	"patterns": [set()],
}

_reads["describe"] := {
	"form": "any",
	"flags": [{
		"--all", "--always", "--contains", "--dirty", "--exact-match", "--first-parent", "--long",
		"--tags",
	}],
	"patterns": [{`^--(abbrev|candidates)=[0-9]+$`, `^--(match|exclude)=`}],
}

_reads["diff"] := {
	"form": "any",
	"flags": [_diff_flags],
	"patterns": [_diff_patterns],
}

_reads["diff-files"] := {
	"form": "any",
	"flags": [_diff_flags],
	"patterns": [_diff_patterns],
}

_reads["diff-index"] := {
	"form": "any",
	"flags": [_diff_flags],
	"patterns": [_diff_patterns],
}

_reads["diff-tree"] := {
	"form": "any",
	"flags": [_diff_flags, {"--no-commit-id", "--root", "-m", "-r", "-t", "-v"}],
	"patterns": [_diff_patterns],
}

_reads["for-each-ref"] := {
	"form": "any",
	"flags": [_listing, _list_flags],
	"patterns": [_list_patterns],
}

_reads["grep"] := {
	"form": "any",
	"flags": [{
		"--all-match", "--and", "--break", "--cached", "--count", "--extended-regexp",
		"--files-with-matches", "--fixed-strings", "--full-name", "--function-context", "--heading",
		"--ignore-case", "--invert-match", "--line-number", "--name-only", "--no-color", "--not",
		"--only-matching", "--or", "--perl-regexp", "--show-function", "--untracked", "--word-regexp",
		"-e",
	}],
	"patterns": [{
		`^-[iwvhHnlLcopEFGPzqaIW0-9]+$`, `^-[ABC][0-9]+$`, `^--color(=[a-z]+)?$`,
		`^--(context|after-context|before-context|max-depth|threads)=[0-9]+$`,
	}],
}

_reads["log"] := {
	"form": "any",
	"flags": [_diff_flags, _log_flags],
	"patterns": [_diff_patterns, _log_patterns],
}

_reads["ls-files"] := {
	"form": "any",
	"flags": [{
		"--cached", "--deduplicate", "--deleted", "--directory", "--eol", "--error-unmatch",
		"--exclude-standard", "--full-name", "--ignored", "--killed", "--modified",
		"--no-empty-directory", "--others", "--stage", "--unmerged",
	}],
	"patterns": [{`^-[cdmoisukztvf]+$`, `^--(exclude|abbrev|format)=`}],
}

_reads["ls-tree"] := {
	"form": "any",
	"flags": [{"--full-name", "--full-tree", "--long", "--name-only", "--name-status", "--object-only"}],
	"patterns": [{`^-[drtlz]+$`, `^--(abbrev|format)=`}],
}

_reads["merge-base"] := {
	"form": "any",
	"flags": [{"--all", "--fork-point", "--independent", "--is-ancestor", "--octopus", "-a"}],
	"patterns": [set()],
}

_reads["name-rev"] := {
	"form": "any",
	"flags": [{"--all", "--always", "--name-only", "--tags", "--no-undefined"}],
	"patterns": [{`^--(refs|exclude)=`}],
}

_reads["reflog"] := {
	"form": "verb",
	"verbs": {"show", "list", "exists"},
	"bare": true,
	"flags": [_diff_flags, _log_flags],
	"patterns": [_diff_patterns, _log_patterns],
}

_reads["remote"] := {
	"form": "verb",
	"verbs": {"get-url"},
	"bare": true,
	"flags": [{"--all", "--push", "--verbose", "-v"}],
	"patterns": [set()],
}

_reads["rev-list"] := {
	"form": "any",
	"flags": [_diff_flags, _log_flags, {"--count", "--objects", "--header", "--timestamp"}],
	"patterns": [_diff_patterns, _log_patterns],
}

_reads["rev-parse"] := {
	"form": "any",
	"flags": [{
		"--abbrev-ref", "--absolute-git-dir", "--all", "--branches", "--git-common-dir", "--git-dir",
		"--is-bare-repository", "--is-inside-git-dir", "--is-inside-work-tree",
		"--is-shallow-repository", "--no-flags", "--no-revs", "--quiet", "--revs-only", "--short",
		"--show-cdup", "--show-prefix", "--show-superproject-working-tree", "--show-toplevel",
		"--symbolic", "--symbolic-full-name", "--tags", "--verify", "-q",
	}],
	"patterns": [{`^--short=[0-9]+$`, `^--abbrev-ref=[a-z]+$`}],
}

_reads["shortlog"] := {
	"form": "any",
	"flags": [_diff_flags, _log_flags, {"--email", "--numbered", "--summary"}],
	"patterns": [_diff_patterns, _log_patterns, {`^-[snec]+$`, `^--group=`}],
}

_reads["show"] := {
	"form": "any",
	"flags": [_diff_flags, _log_flags],
	"patterns": [_diff_patterns, _log_patterns],
}

_reads["show-branch"] := {
	"form": "any",
	"flags": [{"--all", "--current", "--list", "--remotes", "-a", "-r"}],
	"patterns": [set()],
}

_reads["show-ref"] := {
	"form": "any",
	"flags": [{
		"--dereference", "--hash", "--head", "--heads", "--branches", "--tags", "--quiet", "--verify",
		"-d", "-q", "-s",
	}],
	"patterns": [{`^--(abbrev|hash)=[0-9]+$`}],
}

_reads["stash"] := {
	"form": "verb",
	"verbs": {"list", "show"},
	"bare": false,
	"flags": [_diff_flags, _log_flags],
	"patterns": [_diff_patterns, _log_patterns],
}

_reads["status"] := {
	"form": "any",
	"flags": [{
		"--ahead-behind", "--branch", "--ignored", "--long", "--no-ahead-behind", "--no-renames",
		"--porcelain", "--renames", "--short", "--show-stash", "--verbose",
	}],
	"patterns": [{
		`^-[sbvz]+$`, `^-u(no|normal|all)?$`,
		`^--(porcelain|untracked-files|ignored|ignore-submodules|column|find-renames)(=[A-Za-z0-9,]+)?$`,
	}],
}

_reads["tag"] := {
	"form": "list",
	"flags": [_listing, _list_flags, {"--list", "-l"}],
	"patterns": [_list_patterns, {`^-n[0-9]*$`}],
	"listing": [_listing, {"-l"}],
}

_reads["whatchanged"] := {
	"form": "any",
	"flags": [_diff_flags, _log_flags],
	"patterns": [_diff_patterns, _log_patterns],
}

_reads["worktree"] := {
	"form": "verb",
	"verbs": {"list"},
	"bare": false,
	"flags": [{"--porcelain", "--verbose", "-v", "-z"}],
	"patterns": [set()],
}

_listing := {"--contains", "--list", "--merged", "--no-contains", "--no-merged", "--points-at"}

_list_flags := {"--color", "--column", "--ignore-case", "--no-color", "--no-column", "--omit-empty"}

_list_patterns := {`^--(sort|format|color|column|count|contains|merged|no-merged|no-contains|points-at)=`}

_diff_flags := {
	"--abbrev", "--binary", "--cached", "--cc", "--check", "--color", "--color-words", "--compact-summary",
	"--dirstat", "--exit-code", "--find-copies", "--find-copies-harder", "--find-renames", "--full-index",
	"--function-context", "--histogram", "--ignore-all-space", "--ignore-blank-lines", "--ignore-cr-at-eol",
	"--ignore-space-at-eol", "--ignore-space-change", "--ignore-submodules", "--merge-base", "--minimal", "--name-only",
	"--name-status", "--no-color", "--no-ext-diff", "--no-patch", "--no-prefix", "--no-renames", "--no-textconv",
	"--numstat", "--patch", "--patch-with-stat", "--patience", "--pickaxe-all", "--pickaxe-regex", "--quiet", "--raw",
	"--shortstat", "--staged", "--stat", "--submodule", "--summary", "--text", "--word-diff",
}

_diff_patterns := {
	`^-[pubwszRaW]+$`, `^-U[0-9]+$`, `^-[MCBD][0-9]*%?$`, `^-[SG].+`,
	`^--(abbrev|unified|inter-hunk-context|stat|stat-width|stat-count|stat-name-width)=[0-9,]+$`,
	`^--(color|color-moved|diff-filter|diff-algorithm|dirstat|submodule|ignore-submodules|word-diff)=[A-Za-z0-9,-]+$`,
	`^--(color-words|word-diff-regex|src-prefix|dst-prefix)=`,
	`^--(find-renames|find-copies)=[0-9]+%?$`,
}

# The options with a value in the next word stand here too: the value is judged like any other word.
_log_flags := {
	"-S", "-G", "-L", "--author", "--committer", "--grep", "--since", "--until", "--after", "--before",
	"--date", "--max-count", "--skip",
	"--abbrev-commit", "--all", "--all-match", "--ancestry-path", "--author-date-order", "--basic-regexp", "--bisect",
	"--boundary", "--branches", "--cherry", "--cherry-mark", "--cherry-pick", "--children", "--clear-decorations",
	"--date-order", "--decorate", "--dense", "--extended-regexp", "--first-parent", "--fixed-strings", "--follow",
	"--full-history", "--graph", "--invert-grep", "--left-only", "--left-right", "--log-size", "--merge", "--merges",
	"--no-abbrev-commit", "--no-decorate", "--no-merges", "--no-notes", "--no-walk", "--not", "--oneline", "--parents",
	"--perl-regexp", "--regexp-ignore-case", "--relative-date", "--remotes", "--reverse", "--right-only",
	"--simplify-by-decoration", "--simplify-merges", "--source", "--sparse", "--tags", "--topo-order", "--walk-reflogs",
	"-c", "-i", "-m", "-n", "-r", "-t", "-E", "-F", "-P", "-g",
}

_log_patterns := {
	`^-[0-9]+$`, `^-n[0-9]+$`, `^-L.+`,
	`^--(max-count|skip|min-parents|max-parents)=[0-9]+$`,
	`^--(author|committer|grep|grep-reflog|since|after|until|before|since-as-filter)=`,
	`^--(format|pretty|date|decorate|encoding|diff-merges|no-walk)=`,
	`^--(decorate-refs|decorate-refs-exclude|branches|tags|remotes|glob|exclude)=`,
}
