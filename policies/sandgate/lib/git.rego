# METADATA
# title: git
# description: >-
#   What a git command does, told from command.git. Reading is an allowlist of subcommands and of exact options;
#   an abbreviated option is not on it. Many subcommands run a program when told so by an option or by configuration.
package sandgate.lib.git

import data.sandgate.lib.options
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
network(command) if _connects(subcommand(command), command)

# By subcommand, so that OPA's index leaves out what is about others.
_connects(sub, _) if sub in {
	"archimport", "backfill", "clone", "credential", "credential-cache", "cvsexportcommit",
	"cvsimport", "cvsserver", "daemon",
	"fetch", "fetch-pack", "http-backend", "http-fetch", "http-push", "imap-send", "instaweb",
	"ls-remote", "p4", "pull",
	"push", "quiltimport", "receive-pack", "remote-ext", "remote-fd", "remote-ftp", "remote-ftps", "remote-http",
	"remote-https", "request-pull", "send-email", "send-pack", "shell", "svn", "upload-archive", "upload-pack",
}

_connects(sub, command) if {
	some verb in _network_verbs[sub]
	verb in words(command)
}

_connects("archive", command) if {
	some word in words(command)
	startswith(word, "--rem")
}

_connects("maintenance", command) if {
	some word in words(command)
	endswith(word, "prefetch")
}

# remote show asks the remote, unless -n forbids it or there is none to ask.
_connects("remote", command) if {
	"show" in words(command)
	not "-n" in words(command)
	count([arg | some arg in arguments(command); not startswith(object.get(arg, "value", "?"), "-")]) > 1
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
destructive(command) if _destroys(subcommand(command), command)

_destroys(sub, _) if sub in {"filter-branch", "filter-repo", "prune", "prune-packed", "replace", "obliterate"}

_destroys(sub, command) if {
	some verb in _destructive_verbs[sub]
	verb in words(command)
}

_destroys(sub, command) if {
	pattern := _destructive_letters[sub]
	some word in words(command)
	regex.match(pattern, word)
}

# git takes any beginning of a long option that fits only one.
_destroys(sub, command) if {
	some option in _destructive_options[sub]
	some word in words(command)
	count(word) > 2
	startswith(option, word)
}

# clean without a dry run, restore of the work tree, and removal of files
_destroys("clean", command) if not _has(command, `^(-[a-zA-Z]*n[a-zA-Z]*|--dry-run)$`)

_destroys("restore", command) if not _has(command, `^(-S|--staged)$`)

_destroys("restore", command) if _has(command, `^(-W|--worktree|-[a-zA-Z]*W[a-zA-Z]*)$`)

_destroys("rm", command) if not _has(command, `^(--cached|-n|--dry-run)$`)

_has(command, pattern) if {
	some word in words(command)
	regex.match(pattern, word)
}

_destructive_verbs := {
	"bisect": {"reset"},
	"checkout": {"--", "."},
	"lfs": {"prune"},
	"notes": {"prune", "remove"},
	"reflog": {"delete", "expire"},
	"remote": {"remove", "rm"},
	"stash": {"clear", "drop"},
	"submodule": {"deinit"},
	"worktree": {"prune", "remove"},
}

_destructive_options := {
	"branch": {"--delete"},
	"checkout": {"--force"},
	"checkout-index": {"--force"},
	"gc": {"--prune=now", "--prune=all"},
	"read-tree": {"--reset"},
	"reset": {"--hard", "--keep", "--merge"},
	"switch": {"--discard-changes", "--force-create"},
	"symbolic-ref": {"--delete"},
	"tag": {"--delete"},
	"update-ref": {"--delete", "--stdin"},
}

# The letters before are those that take no value, since what follows such a letter is its value.
_destructive_letters := {
	"branch": `^-[qvarflcCmMtki]*[dD]`,
	"checkout": `^-[lqdtmp23]*[fB]`,
	"checkout-index": `^-[aqunz]*f`,
	"gc": `^--prune`,
	"switch": `^-[qdtm]*[fC]`,
	"symbolic-ref": `^-q?d`,
	"tag": `^-[afslnv0-9]*d`,
	"update-ref": `^-z?d`,
}

# METADATA
# title: read only
# description: >-
#   The command only reads the repository around the working directory, and starts no program but what the
#   repository's own configuration names.
read_only(command) if {
	command.base == "git"
	_plain_git(command)
	_global_options(command)
	reads := _reads[command.git.sub]
	args := arguments(command)
	layout := options.layout(args, object.get(reads, "values", set()), object.get(reads, "cluster", ""))
	every i, _ in args {
		_reader_argument(reads, layout, args, i)
	}
	_form(reads, layout, args)
}

read_only(command) if {
	command.base == "git"
	count(command.args) == 1
	command.args[0].value in {"--version", "version"}
	_plain_git(command)
}

_plain_git(command) if {
	command.kind == "simple"
	command.name_static == true
	object.get(command, "dir", "") in {"", "/bin", "/usr/bin"}
	command.env == []
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
# description: An operand inside the workspace, an option of the list, or the value of one.
_reader_argument(_, layout, args, i) if {
	not startswith(args[i].value, "-")
	not i in layout.values
	paths.inside(args[i])
}

# Some subcommands hand what follows a -- on without it, so that it may name an option after all.
_reader_argument(reads, layout, args, i) if {
	reads.dashes == true
	i > layout.end
	paths.inside(args[i])
}

_reader_argument(_, _, args, i) if args[i].value == "--"

_reader_argument(reads, layout, args, i) if {
	i < layout.end
	args[i].value in reads.flags[_]
}

_reader_argument(reads, layout, args, i) if {
	i < layout.end
	startswith(args[i].value, "-")
	some pattern in reads.patterns[_]
	regex.match(pattern, args[i].value)
}

# The value in the word after its option. Only that of an option which takes any text may itself begin with a dash.
_reader_argument(_, layout, args, i) if {
	i in layout.values
	not startswith(args[i].value, "-")
	not _may_verify(args[i - 1].value, args[i].value)
}

_reader_argument(reads, layout, args, i) if {
	i in layout.values
	regex.match(reads.text, args[i - 1].value)
	not _may_verify(args[i - 1].value, args[i].value)
}

# The pattern of git grep may look like a path.
_reader_argument(reads, layout, args, i) if {
	reads.pattern == true
	not startswith(args[i].value, "-")
	every j, before in array.slice(args, 0, i) {
		_before_pattern(layout, j, before.value)
	}
}

_before_pattern(_, _, word) if {
	startswith(word, "-")
	word != "--"
	not regex.match(`^-[^-]*[ef]`, word)
}

_before_pattern(layout, j, _) if j in layout.values

# The format of commits. A name that is not built in stands for a format of the configuration.
_reader_argument(reads, layout, args, i) if {
	i < layout.end
	reads.commits == true
	some prefix in ["--format=", "--pretty="]
	startswith(args[i].value, prefix)
	_harmless_format(substring(args[i].value, count(prefix), -1))
}

_reader_argument(reads, layout, args, i) if {
	i < layout.end
	reads.commits == true
	startswith(args[i].value, "--group=")
	not _verifies(args[i].value)
}

_harmless_format(format) if format in {
	"", "email", "full", "fuller", "mboxrd", "medium", "oneline", "raw",
	"reference", "short",
}

_harmless_format(format) if {
	contains(format, "%")
	not _verifies(format)
}

_harmless_format(format) if regex.match(`^t?format:[^%]*$`, format)

# %G? and its like run gpg, also after one of the signs that change the blanks before.
_verifies(format) if {
	some placeholder in ["%G", "%+G", "%-G", "% G"]
	contains(format, placeholder)
}

# The format and the order of references: the field signature runs gpg.
_reader_argument(reads, layout, args, i) if {
	i < layout.end
	reads.refs == true
	some prefix in ["--format=", "--sort="]
	startswith(args[i].value, prefix)
	not contains(lower(args[i].value), "signature")
}

_may_verify(option, value) if {
	option in {"--format", "--sort"}
	contains(lower(value), "signature")
}

# METADATA
# title: form
# description: Where a subcommand both lists and changes, only the listing form.
_form(reads, _, _) if reads.form == "any"

_form(reads, layout, args) if {
	reads.form == "list"
	_no_operand(layout, args)
}

_form(reads, layout, args) if {
	reads.form == "list"
	some i, arg in args
	arg.value in reads.listing[_]
	not i in layout.values
	i < layout.end
}

_form(reads, _, args) if {
	reads.form == "verb"
	args[0].value in reads.verbs
}

# A word after an unknown option could be taken for a verb, but not a number.
_form(reads, layout, args) if {
	reads.form == "verb"
	reads.bare
	_no_operand(layout, args)
	every i in layout.values {
		regex.match(`^[0-9]+$`, args[i].value)
	}
}

# One operand is a question, two would be an answer. Without a dot it would be a verb.
_form(reads, layout, args) if {
	reads.form == "one"
	operands := [arg.value |
		some i, arg in args
		not i in layout.values
		not startswith(arg.value, "-")
	]
	count(operands) == 1
	regex.match(reads.operand, operands[0])
	not "--" in {arg.value | some arg in args}
}

_form(reads, _, args) if {
	reads.form == "one"
	some arg in args
	arg.value in object.get(reads, "listing", [])[_]
}

_form(reads, _, args) if {
	reads.form == "one"
	args[0].value in object.get(reads, "verbs", set())
}

_no_operand(layout, args) if {
	every i, arg in args {
		_no_operand_at(layout, i, arg.value)
	}
}

_no_operand_at(_, _, word) if {
	startswith(word, "-")
	word != "--"
}

_no_operand_at(layout, i, _) if i in layout.values

# The reading subcommands: which form of them reads, and with which options, exact or by pattern. Sets are listed, not
# joined, because joining them anew for every call costs more than all else.
_reads["blame"] := {
	"values": {"-L"},
	"form": "any",
	"flags": [_diff_flags, {
		"--incremental", "--line-porcelain", "--porcelain", "--show-email", "--show-name",
		"--show-number", "--first-parent", "--reverse", "--root", "--show-stats", "--color-by-age",
		"--color-lines", "-L", "-b", "-c", "-e", "-f", "-k", "-l", "-n", "-p", "-t",
	}],
	"patterns": [{`^-L.+`, `^-[wMCs]+$`, `^-[MC][0-9]+$`, `^--(date|abbrev)=[a-z0-9:-]+$`, `^--since=`}],
}

_reads["bisect"] := {
	"form": "verb",
	"verbs": {"log"},
	"bare": false,
	"flags": [set()],
	"patterns": [set()],
}

_reads["branch"] := {
	"refs": true,
	"text": `^--(sort|format)$`,
	"values": _ref_values,
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

_reads["check-attr"] := {
	"form": "any",
	"flags": [{"--all", "--cached", "-a", "-z"}],
	"patterns": [set()],
}

_reads["check-ignore"] := {
	"form": "any",
	"flags": [{"--no-index", "--non-matching", "--quiet", "--verbose", "-n", "-q", "-v", "-z"}],
	"patterns": [set()],
}

_reads["cherry"] := {
	"form": "any",
	"flags": [{"-v"}],
	"patterns": [{`^--abbrev=[0-9]+$`}],
}

_reads["config"] := {
	"form": "one",
	"operand": `[.]`,
	"verbs": {"get", "list"},
	"listing": [{"--get", "--get-all", "--get-regexp", "--list", "-l"}],
	"flags": [{
		"--bool", "--get", "--get-all", "--get-regexp", "--int", "--list", "--local", "--name-only",
		"--null", "--path", "--show-origin", "--show-scope", "-l", "-z",
	}],
	"patterns": [{`^--type=[a-z-]+$`}],
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
	"dashes": true,
	"values": _diff_values,
	"form": "any",
	"flags": [_diff_flags],
	"patterns": [_diff_patterns],
}

_reads["diff-files"] := {
	"values": _diff_values,
	"form": "any",
	"flags": [_diff_flags],
	"patterns": [_diff_patterns],
}

_reads["diff-index"] := {
	"values": _diff_values,
	"form": "any",
	"flags": [_diff_flags],
	"patterns": [_diff_patterns],
}

_reads["diff-tree"] := {
	"values": _diff_values,
	"form": "any",
	"flags": [_diff_flags, {"--no-commit-id", "--root", "-m", "-r", "-t", "-v"}],
	"patterns": [_diff_patterns],
}

_reads["for-each-ref"] := {
	"refs": true,
	"text": `^--(sort|format)$`,
	"values": _ref_values,
	"form": "any",
	"flags": [_listing, _list_flags],
	"patterns": [_list_patterns],
}

_reads["grep"] := {
	"dashes": true,
	"pattern": true,
	"text": `^-[A-Za-z0-9]*e$`,
	"cluster": `^-[iwvhHnlLcopEFGPzqaIW0-9]*[eABCm]$`,
	"values": {
		"--after-context", "--before-context", "--context", "--max-count", "--max-depth", "--threads",
	},
	"form": "any",
	"flags": [{
		"--all-match", "--and", "--break", "--cached", "--count", "--extended-regexp",
		"--files-with-matches", "--fixed-strings", "--full-name", "--function-context", "--heading",
		"--ignore-case", "--invert-match", "--line-number", "--name-only", "--no-color", "--not",
		"--only-matching", "--or", "--perl-regexp", "--show-function", "--untracked", "--word-regexp",
		"--after-context", "--before-context", "--context", "--max-count", "--max-depth",
		"--quiet", "--recurse-submodules", "--text", "--threads", "--no-recursive", "--recursive", "-r",
		"--files-without-match", "--no-line-number", "--null", "--column",
	}],
	"patterns": [{
		`^-[iwvhHnlLcopEFGPzqaIW0-9]+$`, `^-[iwvhHnlLcopEFGPzqaIW0-9]*([ABCm][0-9]*|e)$`, `^-e.+`,
		`^--color(=[a-z]+)?$`, `^--(context|after-context|before-context|max-count|max-depth|threads)=[0-9]+$`,
	}],
}

_reads["log"] := {
	"dashes": true,
	"commits": true,
	"values": _log_values,
	"form": "any",
	"flags": [_diff_flags, _log_flags],
	"patterns": [_diff_patterns, _log_patterns],
}

_reads["ls-files"] := {
	"dashes": true,
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

_reads["notes"] := {
	"form": "verb",
	"verbs": {"get-ref", "list", "show"},
	"bare": true,
	"flags": [set()],
	"patterns": [set()],
}

_reads["range-diff"] := {
	"form": "any",
	"values": _diff_values,
	"flags": [_diff_flags, {"--dual-color", "--left-only", "--no-dual-color", "--no-notes", "--right-only"}],
	"patterns": [_diff_patterns, {`^--creation-factor=[0-9]+$`}],
}

_reads["reflog"] := {
	"commits": true,
	"values": _log_values,
	"form": "verb",
	"verbs": {"exists", "list", "show"},
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
	"commits": true,
	"values": _log_values,
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
	"commits": true,
	"values": _log_values,
	"form": "any",
	"flags": [_diff_flags, _log_flags, {"--email", "--numbered", "--summary"}],
	"patterns": [_diff_patterns, _log_patterns, {`^-[snec]+$`}],
}

_reads["show"] := {
	"dashes": true,
	"commits": true,
	"values": _log_values,
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
	"commits": true,
	"values": _log_values,
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

_reads["symbolic-ref"] := {
	"form": "one",
	"operand": `.`,
	"flags": [{"--no-recurse", "--quiet", "--recurse", "--short", "-q"}],
	"patterns": [set()],
}

_reads["tag"] := {
	"refs": true,
	"text": `^--(sort|format)$`,
	"values": _ref_values,
	"form": "list",
	"flags": [_listing, _list_flags, {"--list", "-l"}],
	"patterns": [_list_patterns, {`^-n[0-9]*$`}],
	"listing": [_listing, {"-l"}],
}

_reads["whatchanged"] := {
	"commits": true,
	"values": _log_values,
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

_list_flags := {
	"--color", "--column", "--count", "--exclude", "--format", "--sort", "--ignore-case", "--no-color",
	"--no-column", "--omit-empty",
}

_list_patterns := {`^--(color|column|count|contains|merged|no-merged|no-contains|points-at|exclude)=`}

# They take the next word whatever it looks like.
_ref_values := {
	"--contains", "--count", "--exclude", "--format", "--merged", "--no-contains", "--no-merged", "--points-at",
	"--sort",
}

_diff_flags := {
	"--abbrev", "--binary", "--cached", "--cc", "--check", "--color", "--color-words", "--compact-summary",
	"--dirstat", "--exit-code", "--find-copies", "--find-copies-harder", "--find-renames", "--full-index",
	"--function-context", "--histogram", "--ignore-all-space", "--ignore-blank-lines", "--ignore-cr-at-eol",
	"--ignore-space-at-eol", "--ignore-space-change", "--ignore-submodules", "--merge-base",
	"--minimal", "--name-only",
	"--name-status", "--no-color", "--no-ext-diff", "--no-patch", "--no-prefix", "--no-renames", "--no-textconv",
	"--numstat", "--patch", "--patch-with-stat", "--patience", "--pickaxe-all", "--pickaxe-regex", "--quiet", "--raw",
	"--shortstat", "--relative", "--no-relative", "--indent-heuristic", "--no-indent-heuristic",
	"--color-moved", "--no-color-moved", "--diff-filter", "-S", "-G", "--irreversible-delete",
	"--ita-visible-in-index",
	"--staged", "--stat", "--submodule", "--summary", "--text", "--word-diff",
}

_diff_patterns := {
	`^-[pubwszRaW]+$`, `^-U[0-9]+$`, `^-[MCBD][0-9]*%?$`, `^-[SG].+`,
	`^--(abbrev|unified|inter-hunk-context|stat|stat-width|stat-count|stat-name-width)=[0-9,]+$`,
	`^--(color|color-moved|diff-filter|diff-algorithm|dirstat|submodule|ignore-submodules|word-diff)=[A-Za-z0-9,-]+$`,
	`^--(color-words|word-diff-regex|src-prefix|dst-prefix|line-prefix|relative|anchored|skip-to|rotate-to|find-object|color-moved-ws)=`,
	`^--(find-renames|find-copies)=[0-9]+%?$`,
}

_diff_values := {"-S", "-G", "--diff-filter"}

# The options whose value stands in the next word.
_log_values := {
	"--after", "--author", "--before", "--committer", "--date", "--diff-filter", "--encoding", "--exclude", "--glob",
	"--grep", "--grep-reflog", "--max-count", "--since", "--skip", "--until", "-G", "-L", "-S", "-n",
}

_log_flags := {
	"-S", "-G", "-L", "--author", "--committer", "--grep", "--since", "--until", "--after", "--before",
	"--date", "--encoding", "--exclude", "--glob", "--grep-reflog", "--max-count", "--skip",
	"--pretty", "--no-notes", "--no-mailmap", "--use-mailmap", "--mailmap", "--no-color", "--reflog",
	"--abbrev-commit", "--all", "--all-match", "--ancestry-path", "--author-date-order", "--basic-regexp", "--bisect",
	"--boundary", "--branches", "--cherry", "--cherry-mark", "--cherry-pick", "--children", "--clear-decorations",
	"--date-order", "--decorate", "--dense", "--extended-regexp", "--first-parent", "--fixed-strings", "--follow",
	"--full-history", "--graph", "--invert-grep", "--left-only", "--left-right", "--log-size", "--merge", "--merges",
	"--no-abbrev-commit", "--no-decorate", "--no-merges", "--no-walk", "--not", "--oneline", "--parents",
	"--perl-regexp", "--regexp-ignore-case", "--relative-date", "--remotes", "--reverse", "--right-only",
	"--simplify-by-decoration", "--simplify-merges", "--source", "--sparse", "--tags", "--topo-order",
	"--walk-reflogs",
	"-c", "-i", "-m", "-n", "-r", "-t", "-E", "-F", "-P", "-g",
}

_log_patterns := {
	`^-[0-9]+$`, `^-n[0-9]+$`, `^-L.+`,
	`^--(max-count|skip|min-parents|max-parents)=[0-9]+$`,
	`^--(author|committer|grep|grep-reflog|since|after|until|before|since-as-filter)=`,
	`^--(date|decorate|encoding|diff-merges|no-walk|ancestry-path)=`,
	`^--(decorate-refs|decorate-refs-exclude|branches|tags|remotes|glob|exclude)=`,
}
