# METADATA
# title: readers
# description: >-
#   The exact forms in which ls, cat and grep only read files inside the workspace. Options are an allowlist;
#   abbreviations of long options are not on it.
package sandgate.lib.readers

import data.sandgate.lib.options
import data.sandgate.lib.paths
import data.sandgate.lib.shell

# METADATA
# title: read only
# description: The command is one of the three and only reads inside the workspace.
read_only(command) if _only_reads(command.base, command)

_only_reads("ls", command) if {
	shell.runs(command, "ls")
	layout := options.layout(command.args, _ls_values, `^-[aAbBcCdfFgGhiklmnNopqQrRsStuUvxX1Z]*[ITw]$`)
	every i, arg in command.args {
		_ls_argument(layout, i, arg)
	}
}

_only_reads("cat", command) if {
	shell.runs(command, "cat")
	layout := options.layout(command.args, set(), "")
	every i, arg in command.args {
		_cat_argument(layout, i, arg)
	}
}

_only_reads(program, command) if {
	program in {"egrep", "fgrep", "grep"}
	shell.runs(command, program)
	layout := options.layout(command.args, _grep_values, `^-[EFGPivwxycLloqsbHhnTuUZzarI0-9]*[eABCmf]$`)
	pattern := _pattern_index(layout, command.args)
	every i, _ in command.args {
		_grep_argument(layout, pattern, command.args, i)
	}
}

_dashed(arg) if {
	startswith(arg.value, "-")
	arg.value != "-"
}

# A word that is no option and no value of one, and whose path is inside.
_operand(layout, i, arg) if {
	paths.inside(arg)
	not arg.dynamic
	not i in layout.values
	not _dashed(arg)
}

_operand(layout, i, arg) if {
	i > layout.end
	paths.inside(arg)
	not arg.dynamic
}

_ls_argument(layout, i, arg) if _operand(layout, i, arg)

_ls_argument(layout, i, arg) if {
	arg.literal == true
	i <= layout.end
	_dashed(arg)
	_ls_option(arg.value)
}

_ls_argument(layout, i, arg) if {
	arg.literal == true
	i in layout.values
}

_ls_option("--")

_ls_option(word) if word in _ls_flags

_ls_option(word) if word in _ls_values

_ls_option(word) if regex.match(`^-[aAbBcCdfFgGhiklmnNopqQrRsStuUvxX1Z]+$`, word)

_ls_option(word) if regex.match(`^-[aAbBcCdfFgGhiklmnNopqQrRsStuUvxX1Z]*(I.*|[Tw][0-9]*)$`, word)

_ls_option(word) if split(word, "=")[0] in _ls_assigned

_ls_assigned := {
	"--block-size", "--classify", "--color", "--format", "--hyperlink", "--ignore", "--indicator-style",
	"--quoting-style", "--sort", "--tabsize", "--time", "--time-style", "--width",
}

# The long options whose value stands in the next word unless it is attached.
_ls_values := {
	"--block-size", "--format", "--ignore", "--indicator-style", "--quoting-style", "--sort", "--tabsize", "--time",
	"--time-style", "--width",
}

# No option that follows symlinks is on the list.
_ls_flags := {
	"--all", "--almost-all", "--author", "--classify", "--color", "--directory", "--escape",
	"--file-type", "--full-time",
	"--group-directories-first", "--human-readable", "--inode", "--literal", "--no-group", "--numeric-uid-gid",
	"--quote-name", "--recursive", "--reverse", "--si", "--size", "--version", "--help", "--zero",
}

_cat_argument(layout, i, arg) if _operand(layout, i, arg)

_cat_argument(layout, i, arg) if {
	arg.literal == true
	i <= layout.end
	_dashed(arg)
	_cat_option(arg.value)
}

_cat_argument(_, _, arg) if shell.value(arg) == "-"

_cat_option("--")

_cat_option(word) if word in _cat_flags

_cat_option(word) if regex.match(`^-[AbeEnstTuv]+$`, word)

_cat_flags := {
	"--number", "--number-nonblank", "--show-all", "--show-ends", "--show-nonprinting", "--show-tabs",
	"--squeeze-blank", "--version", "--help",
}

_grep_argument(layout, _, args, i) if _operand(layout, i, args[i])

# The first operand is the pattern, which may look like any path, unless an option gave one.
_grep_argument(_, pattern, args, i) if {
	i == pattern
	args[i].literal
}

# Nothing in the directory matches it, so the shell leaves it as it is.
_grep_argument(_, pattern, args, i) if {
	i == pattern
	args[i].no_match == true
}

_grep_argument(layout, _, args, i) if {
	i in layout.values
	_grep_value(args[i - 1].value, args[i])
}

_grep_argument(layout, _, args, i) if {
	not i in layout.values
	i <= layout.end
	_dashed(args[i])
	_grep_option(shell.value(args[i]))
}

_grep_argument(_, _, args, i) if shell.value(args[i]) == "-"

# Unquoted, but nothing in the directory matches, so the shell leaves it as it is.
_grep_argument(layout, _, args, i) if {
	not i in layout.values
	i < layout.end
	args[i].no_match == true
	split(args[i].value, "=")[0] in _grep_globs
}

# The file of patterns is read like any other.
_grep_argument(layout, _, args, i) if {
	not i in layout.values
	i < layout.end
	args[i].literal
	args[i].eq.name == "--file"
	paths.inside(args[i].eq)
}

# The value in the word after its option: a pattern or a name is any text, the rest is a number or a file.
_grep_value(option, arg) if {
	regex.match(`^-[^-]*e$`, option)
	arg.literal
}

_grep_value(option, arg) if {
	option in _grep_texts
	arg.literal
}

_grep_value(option, arg) if {
	option in _grep_globs
	arg.no_match == true
}

_grep_value(option, arg) if {
	not option in _grep_texts
	regex.match(`^(-[^-]*[ABCm]|--.*)$`, option)
	regex.match(`^[0-9]+$`, shell.value(arg))
}

_grep_value(option, arg) if {
	regex.match(`^(-[^-]*f|--file)$`, option)
	paths.inside(arg)
	not arg.dynamic
}

_grep_option("--")

_grep_option(word) if word in _grep_flags

_grep_option(word) if word in _grep_values

_grep_option(word) if regex.match(`^-[EFGPivwxycLloqsbHhnTuUZzarI0-9]*([ABCm][0-9]*|e.*|f)?$`, word)

_grep_option(word) if {
	parts := split(word, "=")
	count(parts) > 1
	parts[0] in _grep_assigned
}

_grep_globs := {"--exclude", "--exclude-dir", "--include"}

_grep_texts := {
	"--binary-files", "--exclude", "--exclude-dir", "--group-separator", "--include", "--label", "--regexp",
}

# The long options whose value stands in the next word unless it is attached.
_grep_values := {
	"--after-context", "--before-context", "--binary-files", "--context", "--exclude", "--exclude-dir", "--file",
	"--group-separator", "--include", "--label", "--max-count", "--regexp",
}

_grep_assigned := {
	"--after-context", "--before-context", "--binary-files", "--color", "--colour", "--context", "--exclude",
	"--exclude-dir", "--group-separator", "--include", "--label", "--max-count", "--regexp",
}

_grep_flags := {
	"--basic-regexp", "--byte-offset", "--color", "--count", "--extended-regexp", "--files-with-matches",
	"--files-without-match", "--fixed-strings", "--help", "--ignore-case", "--initial-tab", "--invert-match",
	"--line-buffered", "--line-number", "--line-regexp", "--no-filename", "--no-ignore-case",
	"--no-messages", "--null",
	"--null-data", "--only-matching", "--perl-regexp", "--quiet", "--recursive", "--silent", "--text", "--version",
	"--with-filename", "--word-regexp", "--no-group-separator", "--colour",
}

# The first word that is no option, whether or not it is literal; none when an option gives the pattern.
_pattern_index(layout, args) := min({i |
	some i, arg in args
	i != layout.end
	not i in layout.values
	not _option_word(layout, i, arg)
}) if {
	not _gives_pattern(args)
} else := -1

_option_word(layout, i, arg) if {
	_dashed(arg)
	i < layout.end
}

# A cluster with e gives the pattern: then every operand is a file.
_gives_pattern(args) if {
	some arg in args
	startswith(arg.value, "-")
	regex.match(`^-[^-]*[ef]|^--(reg|file$|file=)`, arg.value)
}
