# METADATA
# title: readers
# description: >-
#   The exact forms in which ls, cat and grep only read files inside the workspace. Options are an allowlist;
#   abbreviations of long options are not on it.
package sandgate.lib.readers

import data.sandgate.lib.paths
import data.sandgate.lib.shell

# METADATA
# title: read only
# description: The command is one of the three and only reads inside the workspace.
read_only(command) if {
	shell.runs(command, "ls")
	every i, arg in command.args {
		_ls_option(command, i, arg)
	}
}

read_only(command) if {
	shell.runs(command, "cat")
	every i, arg in command.args {
		_cat_argument(command, i, arg)
	}
}

read_only(command) if {
	some name in {"grep", "egrep", "fgrep"}
	shell.runs(command, name)
	every i, arg in command.args {
		_grep_argument(command, i, arg)
	}
}

# METADATA
# title: after dashes
# description: >-
#   The argument stands after a -- that ends the options. A -- right after an option that wants a value is that value.
after_dashes(command, i) if {
	some j, dashes in command.args
	j < i
	shell.value(dashes) == "--"
	not _is_value(command, j)
}

_is_value(command, j) if {
	j > 0
	_wants_value(command.args[j - 1])
}

# Exact for the options of grep that are let through below; the others make the command unproved anyway.
_wants_value(arg) if regex.match(`^-[EFGPivwxycLloqsbHhnTuUZzarI0-9]*[eABCm]$`, shell.value(arg))

_operand(arg) if {
	paths.inside(arg)
	not arg.dynamic
}

_dashed(arg) if {
	startswith(arg.value, "-")
	arg.value != "-"
}

_ls_option(_, _, arg) if {
	not _dashed(arg)
	_operand(arg)
}

_ls_option(command, i, arg) if {
	after_dashes(command, i)
	_operand(arg)
}

_ls_option(_, _, arg) if shell.value(arg) == "--"

_ls_option(_, _, arg) if shell.value(arg) in _ls_flags

_ls_option(_, _, arg) if regex.match(`^-[aAbBcCdfFgGhiklmnNopqQrRsStuUvxX1Z]+$`, shell.value(arg))

_ls_option(_, _, arg) if {
	some name in {
		"block-size", "classify", "color", "format", "hyperlink", "indicator-style", "quoting-style", "sort", "time",
		"time-style", "width",
	}
	startswith(shell.value(arg), sprintf("--%s=", [name]))
}

# No option that follows symlinks is on the list.
_ls_flags := {
	"--all", "--almost-all", "--author", "--classify", "--color", "--directory", "--escape", "--file-type", "--full-time",
	"--group-directories-first", "--human-readable", "--inode", "--literal", "--no-group", "--numeric-uid-gid",
	"--quote-name", "--recursive", "--reverse", "--si", "--size", "--version", "--help", "--zero",
}

_cat_argument(_, _, arg) if {
	not _dashed(arg)
	_operand(arg)
}

_cat_argument(command, i, arg) if {
	after_dashes(command, i)
	_operand(arg)
}

_cat_argument(_, _, arg) if shell.value(arg) in {"--", "-"}

_cat_argument(_, _, arg) if shell.value(arg) in _cat_flags

_cat_argument(_, _, arg) if regex.match(`^-[AbeEnstTuv]+$`, shell.value(arg))

_cat_flags := {
	"--number", "--number-nonblank", "--show-all", "--show-ends", "--show-nonprinting", "--show-tabs",
	"--squeeze-blank", "--version", "--help",
}

_grep_argument(_, _, arg) if {
	not _dashed(arg)
	_operand(arg)
}

_grep_argument(command, i, arg) if {
	after_dashes(command, i)
	_operand(arg)
}

# The first operand is the pattern, which may look like any path, unless an option gave one.
_grep_argument(command, i, arg) if {
	arg.literal
	i == _pattern_index(command)
}

# The value of -e is a pattern too, where it is certain that the -e is not itself a value.
_grep_argument(command, i, arg) if {
	arg.literal
	i > 0
	not startswith(arg.value, "-")
	not after_dashes(command, i)
	regex.match(`^-[EFGPivwxycLloqsbHhnTuUZzarI0-9]*e$`, shell.value(command.args[i - 1]))
	not _is_value(command, i - 1)
}

# The value of -A, -B, -C and -m is a number.
_grep_argument(command, i, arg) if {
	regex.match(`^[0-9]+$`, shell.value(arg))
	_is_value(command, i)
}

_grep_argument(_, _, arg) if shell.value(arg) in {"--", "-"}

_grep_argument(_, _, arg) if shell.value(arg) in _grep_flags

_grep_argument(_, _, arg) if regex.match(`^-[EFGPivwxycLloqsbHhnTuUZzarI0-9]*([ABCm][0-9]*|e.*)?$`, shell.value(arg))

_grep_argument(_, _, arg) if {
	some name in {
		"after-context", "before-context", "binary-files", "color", "colour", "context", "group-separator", "label",
		"max-count",
	}
	startswith(shell.value(arg), sprintf("--%s=", [name]))
}

_grep_argument(_, _, arg) if regex.match(`^--(include|exclude|exclude-dir|regexp)=`, shell.value(arg))

# Unquoted, but nothing in the directory matches, so the shell leaves it as it is.
_grep_argument(_, _, arg) if {
	arg.no_match == true
	regex.match(`^--(include|exclude|exclude-dir)=`, arg.value)
}

_grep_flags := {
	"--basic-regexp", "--byte-offset", "--color", "--count", "--extended-regexp", "--files-with-matches",
	"--files-without-match", "--fixed-strings", "--help", "--ignore-case", "--initial-tab", "--invert-match",
	"--line-buffered", "--line-number", "--line-regexp", "--no-filename", "--no-ignore-case", "--no-messages", "--null",
	"--null-data", "--only-matching", "--perl-regexp", "--quiet", "--recursive", "--silent", "--text", "--version",
	"--with-filename", "--word-regexp", "--no-group-separator", "--colour",
}

# The first word that is no option, whether or not it is literal.
_pattern_index(command) := min({i |
	some i, arg in command.args
	not _option_word(command, i, arg)
	not _is_value(command, i)
}) if {
	not _gives_pattern(command)
}

_option_word(command, i, arg) if {
	_dashed(arg)
	not after_dashes(command, i)
}

# A cluster with e gives the pattern: then every operand is a file.
_gives_pattern(command) if {
	some arg in command.args
	regex.match(`^-[^-]*[ef]|^--(reg|file$|file=)`, arg.value)
}
