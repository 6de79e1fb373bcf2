package sandgate.profiles.workspace

import data.sandgate.lib.git
import data.sandgate.lib.shell

# Most commands have nothing that can lead outside, and are asked no more.
_leads(command) if command.redirects != []

_leads(command) if command.dir

_leads(command) if command.env != []

_leads(command) if command.base == "cd"

# A file can be named in the middle of a word: sed 'w /etc/x', awk '{print > "/etc/x"}'.
_leads(command) if {
	some file in command.files
	file.in_workspace == false
}

_leads(command) if {
	some arg in command.args
	_notable(arg)
}

# What a command is given that is known to be outside: words, redirects, and the program itself. The facts of a path
# that can start from several directories hold no path, so the word stands in for it.
_outside(command) := union({
	{path |
		some i, arg in command.args
		_notable(arg)
		not _is_text(command, i)
		some path in _outside_word(command, i, arg)
	},
	{path |
		some redirect in command.redirects
		some path in _outside_redirect(redirect)
	},
	{text |
		some file in command.files
		file.in_workspace == false
		text := _text(file)
		not _below(text, _file_roots(file))
	},
	{command.dir | _outside_program(command.dir)},
	{variable.value |
		some variable in command.env
		variable.name in _path_variables
		_begins_outside(variable.value)
	},
	{"the home directory" |
		command.base == "cd"
		count(command.args) == 0
		not _last_change(command)
	},
})

# What programs read, run or look in (the manuals of bash, git and kubectl).
_path_variables := {
	"BASH_ENV", "CDPATH", "ENV", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_CONFIG", "GIT_CONFIG_GLOBAL",
	"GIT_CONFIG_SYSTEM", "GIT_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_TEMPLATE_DIR", "GIT_WORK_TREE",
	"KUBECONFIG", "RIPGREP_CONFIG_PATH",
}

# All others are plain words that are known to be inside: nothing more is asked of them.
_notable(arg) if arg.in_workspace == false

_notable(arg) if arg.dynamic == true

_notable(arg) if arg.glob == true

_notable(arg) if arg.tilde == true

_notable(arg) if startswith(arg.value, "-")

_notable(arg) if arg.eq

_notable(arg) if count(_unplaced(arg)) > 0

# Where absolute words lead by their text, if it is not known for sure: /usr/../etc/passwd, since /usr may be a link.
_unplaced(arg) := {candidate.path |
	some candidate in [arg, object.get(arg, "eq", {})]
	startswith(candidate.value, "/")
	contains(candidate.value, "/..")
	not _placed(candidate)
}

_redirect_roots(redirect) := _readable if redirect.class == "read"

_redirect_roots(redirect) := _writable if redirect.class != "read"

_placed(facts) if is_boolean(facts.in_workspace)

_outside_word(command, i, arg) := union({
	{text |
		not arg.dynamic
		not arg.glob
		_looks_like_path(arg)
		some candidate in [arg, object.get(arg, "eq", {})]
		candidate.in_workspace == false
		not _text_value(command, candidate)
		text := _text(candidate)
		not _below(text, _roots(command, i, candidate))
	},
	{text |
		not arg.dynamic
		some text in _unplaced(arg)
		not _below(text, _roots(command, i, arg) | {"/workspace"})
	},
	{text |
		arg.dynamic
		text := object.get(arg, "prefix", "")
		_begins_outside(text)
	},
	{arg.value |
		arg.glob
		not arg.dynamic
		_pattern_outside(arg)
	},
	{attached.path |
		attached := _attached(object.get(arg, "value", object.get(arg, "prefix", "")))
		not attached.letter in object.get(_text_options, lower(command.base), set())
		not _git_text_letter(command, attached.letter)
		_attached_outside(attached)
	},
	{"the home directory" | arg.tilde},
	{possible.value |
		some possible in arg.may
		_may_leave(possible, _roots(command, i, arg))
	},
})

# What a word made of variables may become, as far as the script itself tells.
_may_leave(possible, _) if startswith(possible.value, "~/")

_may_leave(possible, _) if possible.value == "~"

_may_leave(possible, roots) if {
	not startswith(possible.value, "-")
	possible.in_workspace == false
	not _below(object.get(possible, "path", possible.value), roots)
}

_may_leave(possible, roots) if {
	startswith(possible.value, "/")
	contains(possible.value, "/..")
	not _placed(possible)
	not _below(possible.path, roots | {"/workspace"})
}

_file_roots(file) := _writable if {
	file.op in {"delete", "write"}
} else := _readable

_text(facts) := facts.path

_text(facts) := facts.value if not facts.path

# `-rf` or `HEAD..main` is not a path, but an option can hold one that climbs.
_looks_like_path(arg) if not startswith(arg.value, "-")

_looks_like_path(arg) if contains(arg.value, "../")

_looks_like_path(arg) if arg.eq

# An unfinished word whose known beginning is outside already.
_begins_outside(prefix) if _absolute_outside(prefix, _readable)

_begins_outside(prefix) if _climbs(prefix)

_absolute_outside(text, roots) if {
	startswith(text, "/")
	not _below(text, roots | {"/workspace"})
}

_absolute_outside(text, _) if {
	startswith(text, "/")
	_ups(text) > 0
}

# A pattern all or some of whose matches are outside.
_pattern_outside(arg) if _absolute_outside(arg.value, _readable)

_pattern_outside(arg) if {
	arg.in_workspace == false
	not startswith(arg.value, "/")
}

_pattern_outside(arg) if _climbs(arg.value)

# A value right behind the letter of an option, as in -C/etc or -xC../../etc.
_attached(word) := {"letter": found[0][1], "path": found[0][2]} if {
	found := regex.find_all_string_submatch_n(`^-[A-Za-z0-9]*([A-Za-z0-9])((?:/|\.\./|\.\.$|~).*)$`, word, -1)
}

_attached_outside(attached) if {
	attached.letter in {"B", "o", "t"}
	_absolute_outside(attached.path, _writable)
}

_attached_outside(attached) if _absolute_outside(attached.path, _readable)

_attached_outside(attached) if _climbs(attached.path)

# Where a word may lead: what a command changes has to be where writing is harmless.
_roots(command, i, facts) := _writable if {
	_changes(command, i, facts)
} else := _readable

_changes(command, _, _) if lower(command.base) in {
	"chgrp", "chmod", "chown", "mkdir", "mkfifo", "mv", "rm", "rmdir", "shred", "tee", "touch", "truncate", "unlink",
}

_changes(command, i, _) if {
	lower(command.base) in {"cp", "install", "rsync"}
	i > 0
	i == count(command.args) - 1
}

# What compilers make.
_changes(command, i, facts) if {
	lower(command.base) in {"as", "c++", "cc", "clang", "clang++", "g++", "gcc", "go", "ld", "rustc"}
	_output(command, i, facts)
}

_changes(command, _, facts) if {
	lower(command.base) in {"cp", "dd", "install"}
	facts.name in {"of", "--target-directory"}
}

_changes(command, _, _) if {
	lower(command.base) == "sed"
	some word in shell.values(command)
	regex.match(`^(-[nErsuz]*i|--in-place)`, word)
}

_output(_, _, facts) if facts.name in {"-o", "--output"}

_output(command, i, _) if command.args[i - 1].value == "-o"

_outside_redirect(redirect) := union({
	{redirect.path |
		redirect.class in {"append", "read", "read_write", "write"}
		contains(redirect.target, "/..")
		startswith(redirect.target, "/")
		not _placed(redirect)
		not redirect.network
		not _below(redirect.path, _redirect_roots(redirect) | {"/workspace"})
	},
	{text |
		redirect.class in {"write", "append", "read_write"}
		redirect.in_workspace == false
		not redirect.network
		text := _target(redirect)
		not _below(text, _writable)
	},
	{text |
		redirect.class == "read"
		redirect.in_workspace == false
		not redirect.network
		text := _target(redirect)
		not _below(text, _readable)
	},
	{possible.value |
		some possible in redirect.may
		not redirect.network
		_may_leave(possible, _redirect_roots(redirect))
	},
	{text |
		_unknown_target(redirect)
		some text in _written_targets
	},
	# Without an expansion, what is not literal is a tilde or a pattern.
	{"a redirect to a pattern or a home directory" |
		_unknown_target(redirect)
		not _expands
		some feature in input.call.shell.features
		feature in {"extglob", "glob", "tilde"}
	},
})

_target(redirect) := redirect.path

_target(redirect) := redirect.target if not redirect.path

_unknown_target(redirect) if {
	redirect.class in {"read", "write", "append", "read_write"}
	redirect.static == false
}

_expands if {
	some feature in input.call.shell.features
	feature in {"arithmetic", "command_substitution", "parameter_expansion", "process_substitution"}
}

# The facts keep nothing of a target that is not literal, so its beginning is taken from the text of the script.
_written_targets contains target if {
	some found in regex.find_all_string_submatch_n(
		`(?:>[|&]?|<\s)[\s\\]*["']?((?:/[A-Za-z0-9_.*?$]|\.\./|~)[^\s"';|&()]*)`,
		input.call.args.command,
		-1,
	)
	target := found[1]
	_written_outside(target)
}

_written_outside(target) if startswith(target, "~")

_written_outside(target) if _absolute_outside(target, _readable)

_written_outside(target) if _climbs(target)

_program_roots := {"/bin", "/sbin", "/usr", "/opt", "/tmp", "/var/tmp", "/workspace"}

_outside_program(dir) if {
	startswith(dir, "/")
	not _below(dir, _program_roots)
}

_outside_program(dir) if {
	startswith(dir, "/")
	_ups(dir) > 0
}

_outside_program(dir) if _climbs(dir)

# Nor anything that climbs.
_wanders(command) if command.redirects != []

_wanders(command) if command.dir

_wanders(command) if {
	some arg in command.args
	_climbing(arg)
}

# What climbs while it is not known from where.
_uncertain(command) := union({
	{text |
		some i, arg in command.args
		_climbing(arg)
		not _is_text(command, i)
		not _last_change(command)
		not _settled_change(command)
		some text in _uncertain_word(arg)
	},
	{redirect.target |
		some redirect in command.redirects
		redirect.class in {"read", "write", "append", "read_write"}
		not _known(redirect)
		_may_climb(redirect.target)
	},
	{"a redirect" |
		"tilde" in input.call.shell.features
		some redirect in command.redirects
		_unknown_target(redirect)
	},
	{command.dir | _may_climb(command.dir)},
})

# No other word can climb.
_climbing(arg) if contains(arg.value, "..")

_climbing(arg) if contains(arg.prefix, "..")

_climbing(arg) if contains(arg.eq.value, "..")

_uncertain_word(arg) := union({
	{candidate.value |
		not arg.dynamic
		some candidate in [arg, object.get(arg, "eq", {})]
		not _known(candidate)
		_may_climb(candidate.value)
	},
	{arg.prefix |
		arg.dynamic
		_may_climb(arg.prefix)
	},
	{attached.path |
		attached := _attached(object.get(arg, "value", object.get(arg, "prefix", "")))
		_may_climb(attached.path)
	},
})

# A change of directory matters only for what comes after it.
_last_change(command) if {
	command.base == "cd"
	command.index == count(input.call.shell.commands) - 1
}

# Where all changes of directory are known, they are judged as a whole.
_settled_change(command) if {
	_settled
	command.base == "cd"
}

_ups(text) := count([segment |
	some segment in split(text, "/")
	segment == ".."
])

_leading_ups(text) := count(regex.find_n(`\.\./`, regex.find_n(`^(\./|\.\./)*`, concat("", [text, "/"]), -1)[0], -1))

# It leaves the workspace at once.
_climbs(text) if {
	not startswith(text, "/")
	_leading_ups(text) > _depth
}

_may_climb(text) if {
	not startswith(text, "/")
	_ups(text) > 0
	not _stays(text)
}

_stays(text) if {
	not input.call.shell.changes_directory
	_ups(text) <= _depth
}

_stays(text) if _ups(text) <= _depth - _returned

# How many directories below the workspace the commands run at most, where that is known.
_depth := count(split(trim_prefix(_base, "/workspace"), "/")) - 1 if _below(_base, {"/workspace"})

_base := input.call.shell.cwd.path if not input.call.shell.changes_directory

_base := _changed[0].args[0].path if _settled

# How many directories the later changes go up again.
_returned := sum([_ups(command.args[0].value) | some command in array.slice(_changed, 1, count(_changed))])

# One cd into a directory of the workspace that everything after it depends on, and perhaps cd .. back: after it, only &&
# runs anything, or it comes first and the directory is there.
_settled if {
	input.call.shell.changes_directory
	cd := _changed[0]
	every command in _changed {
		command.base == "cd"
		count(command.via) == 0
		count(command.args) == 1
		every around in command.context {
			around == "&&"
		}
	}
	cd.args[0].in_workspace
	cd.args[0].path == cd.args[0].real
	every command in array.slice(_changed, 1, count(_changed)) {
		regex.match(`^\.\.(/\.\.)*/?$`, shell.value(command.args[0]))
	}
	_returned <= count(split(trim_prefix(cd.args[0].path, "/workspace"), "/")) - 1
	every feature in input.call.shell.features {
		_keeps_directory(cd, feature)
	}
}

_changed := [command |
	some command in input.call.shell.commands
	command.base in {"cd", "pushd", "popd", "eval", "source", "."}
]

_keeps_directory(_, feature) if feature in {
	"and_list", "ansi_c_quoting", "brace_expansion", "comment", "glob", "heredoc", "herestring", "non_ascii",
	"parameter_expansion", "pipeline", "redirect", "tilde", "time",
}

_keeps_directory(cd, "sequence") if {
	cd.index == 0
	cd.args[0].kind == "dir"
}

# Words that are no paths: what is printed or compared, a pattern or a program to match with, a message.
_is_text(command, _) if lower(command.base) in {
	"[", "basename", "dirname", "expr", "seq", "test", "tr",
}

# Of these the shell expands a pattern first, which tells what is there.
_is_text(command, i) if {
	lower(command.base) in {"echo", "printf"}
	not command.args[i].glob
}

_is_text(command, i) if i >= _inner(command)

_is_text(command, i) if _option_value(command, i)

_is_text(command, i) if i == _pattern_index(command)

_is_text(command, i) if _git_text_option(command, command.args[i - 1].value)

# Where the words begin of a command that another one runs, such as xargs: they are judged as those of the inner one.
_inner(command) := max({at |
	inner := input.call.shell.commands[command.index + 1]
	inner.via[count(inner.via) - 1] == command.base
	some after in [0, 1, 2]
	_closed(command, after)
	at := (count(command.args) - count(inner.args)) - after
	command.args[at].value == inner.name
})

# xargs adds a word that is not known, and find ends the words with one of its own.
_closed(command, 0) if command.base == "xargs"

_closed(command, 1) if command.base != "find"

_closed(command, 2) if {
	command.base == "find"
	command.args[count(command.args) - 1].value in {";", "+"}
}

_text_value(command, facts) if _git_text_option(command, facts.name)

_text_value(command, facts) if {
	lower(command.base) in object.keys(_pattern_letters)
	facts.name in {"--regexp", "--expression", "--glob", "--include", "--exclude", "--exclude-dir", "--field-separator"}
}

_git_text_option(command, name) if {
	git.subcommand(command)
	name in {
		"--message", "--grep", "--author", "--committer", "--date", "--trailer", "--format", "--pretty", "--since",
		"--until", "--after", "--before", "--subject-prefix",
	}
}

_git_text_option(command, name) if {
	git.subcommand(command) in {"commit", "tag", "stash", "merge", "notes"}
	regex.match(`^-[A-Za-z]*m$`, name)
}

_git_text_option(command, name) if {
	git.subcommand(command) in {"log", "show", "diff", "shortlog", "rev-list"}
	name in {"-S", "-G"}
}

_git_text_letter(command, letter) if _git_text_option(command, concat("", ["-", letter]))

# Options whose value is text; those that give the pattern are e.
_text_options := {
	"awk": {"F", "e", "v"},
	"column": {"o", "s"},
	"cut": {"d", "f"},
	"egrep": {"A", "B", "C", "D", "d", "e", "m"},
	"fgrep": {"A", "B", "C", "D", "d", "e", "m"},
	"gawk": {"F", "e", "v"},
	"grep": {"A", "B", "C", "D", "d", "e", "m"},
	"join": {"t"},
	"ls": {"I"},
	"mawk": {"F", "v"},
	"paste": {"d"},
	"rg": {"A", "B", "C", "E", "M", "T", "d", "e", "g", "j", "m", "r", "t"},
	"sed": {"e", "l"},
	"sort": {"k", "t"},
	"xargs": {"E", "I", "d"},
}

_text_long_options := {
	"find": {
		"-iname", "-ipath", "-iregex", "-iwholename", "-name", "-newermt", "-path", "-printf", "-regex", "-wholename",
	},
	"rg": {
		"--context", "--glob", "--iglob", "--max-count", "--max-depth", "--regexp", "--replace", "--type", "--type-not",
	},
}

_option_value(command, i) if {
	_wants_text(command, i - 1)
	not _wants_text(command, i - 2)
	not _dashes_before(command, i - 1)
}

_wants_text(command, i) if {
	base := lower(command.base)
	word := command.args[i].value
	regex.match(`^-[A-Za-z0-9]+$`, word)
	_cluster_ends(base, word)
}

_wants_text(command, i) if command.args[i].value in _text_long_options[lower(command.base)]

# Of a cluster only its last letter can want the next word; before it are letters that want none.
_cluster_ends(base, word) if {
	letters := split(trim_prefix(word, "-"), "")
	last := letters[count(letters) - 1]
	last in _text_options[base]
	every letter in array.slice(letters, 0, count(letters) - 1) {
		not letter in _text_options[base]
		not letter in {"f", "i"}
	}
}

# -i takes no value of grep and rg, but its suffix of sed.
_cluster_ends(base, word) if {
	base in {"egrep", "fgrep", "grep", "rg"}
	regex.match(`^-[a-z]*i[a-z]*e$`, word)
	regex.match(`^-[EFGHILPRTUZabchilnoqrsuvwxyz]*e$`, word)
}

_dashes_before(command, i) if {
	some j
	command.args[j].value == "--"
	j < i
}

# The commands whose first operand is a pattern or a program, with the letters of options that give it instead.
_pattern_letters := {
	"awk": "ef", "egrep": "ef", "fgrep": "ef", "gawk": "efE", "grep": "ef", "jq": "f", "mawk": "f", "rg": "ef",
	"sed": "ef",
}

_pattern_index(command) := min(_operands(command, -1)) if {
	letters := _pattern_letters[lower(command.base)]
	not _pattern_given(command, letters)
}

_pattern_index(command) := min(_operands(command, command.git.at)) if {
	command.git.sub == "grep"
	not _pattern_given(command, "ef")
}

_operands(command, after) := {i |
	some i, arg in command.args
	i > after
	_operand(command, i, arg)
	not _option_value(command, i)
}

_operand(_, _, arg) if not startswith(object.get(arg, "value", ""), "-")

_operand(command, i, _) if _dashes_before(command, i)

_pattern_given(command, letters) if {
	some arg in command.args
	regex.match(
		sprintf(`^(-[A-Za-z0-9]*[%s]|--(reg|exp|fil|from-file|files$))`, [letters]),
		object.get(arg, "value", object.get(arg, "prefix", "")),
	)
	not regex.match(`^--(files-with|files-without|fixed)`, object.get(arg, "value", ""))
}
