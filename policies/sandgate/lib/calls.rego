# METADATA
# title: calls
# description: >-
#   What a call does, whichever tool it is: the files that it names, the hosts, the text it writes. Facts of scripts and
#   of the other tools in one shape.
package sandgate.lib.calls

# METADATA
# title: named paths
# description: >-
#   Every path that a call may read or write: of its files, of the words of its script, and of its redirections, as
#   written and with symlinks resolved.
named_paths(call) := (({path |
	some file in object.get(call, "files", [])
	some key in ["path", "abs", "real"]
	path := file[key]
} | {path |
	some command in call.shell.commands
	some arg in command.args
	some path in _of_word(arg)
}) | {path |
	some command in call.shell.commands
	some redirect in command.redirects
	not redirect.class in {"dup", "heredoc", "herestring"}
	some key in ["path", "real", "target"]
	path := redirect[key]
}) | {path |
	some command in call.shell.commands
	some use in object.get(command, "files", [])
	some key in ["path", "real", "value"]
	path := use[key]
}

_of_word(arg) := {word |
	some key in ["path", "real", "value"]
	word := arg[key]
} | {word | word := arg.eq.value}

# METADATA
# title: written paths
# description: Every path that is known to be written, made or deleted, absolute where that is known.
written_paths(call) := ((({_absolute(file) |
	some file in object.get(call, "files", [])
	not file.op in {"glob", "grep", "list", "read", "search"}
} | {_absolute(redirect) |
	some command in call.shell.commands
	some redirect in command.redirects
	redirect.class in {"append", "read_write", "write"}
	not _device(redirect)
}) | {_absolute(use) |
	some command in call.shell.commands
	some use in object.get(command, "files", [])
	use.op in {"delete", "write"}
}) | {_absolute(arg) |
	some command in call.shell.commands
	lower(command.base) in _writers
	some arg in command.args
	not _option(arg)
}) | {_absolute(arg) |
	some command in call.shell.commands
	lower(command.base) in {"cp", "install", "ln", "rsync"}
	arg := command.args[count(command.args) - 1]
	not _option(arg)
}

# Programs all of whose operands are written, made or deleted.
_writers := {"mkdir", "mkfifo", "mv", "rm", "rmdir", "shred", "tee", "touch", "truncate", "unlink"}

_option(arg) if startswith(arg.value, "-")

_absolute(facts) := facts.real

_absolute(facts) := facts.abs if not facts.real

_absolute(facts) := facts.path if {
	not facts.real
	not facts.abs
}

_absolute(facts) := "?" if {
	not facts.real
	not facts.abs
	not facts.path
}

_device(redirect) if startswith(redirect.target, "/dev/")

# METADATA
# title: below
# description: The path is the directory or something below it.
below(path, dir) if path == dir

below(path, dir) if startswith(path, sprintf("%s/", [dir]))

# METADATA
# title: hosts
# description: >-
#   The hosts that the words of a script or the arguments of a tool name in URLs, or in the manner of scp and git.
hosts(call) := ({lower(match[1]) |
	some text in _texts(call)
	some match in regex.find_all_string_submatch_n(`[A-Za-z][A-Za-z0-9+.-]*://(?:[^\s/@]*@)?(\[[0-9a-fA-F:]+\]|[^\s/:?#@"'\\]+)`, text, 50)
} | {lower(match[1]) |
	some text in _texts(call)
	some match in regex.find_all_string_submatch_n(`://([^\s/:?#@"'\\]+)\\`, text, 50)
}) | {lower(match[1]) |
	some command in call.shell.commands
	lower(command.base) in {"git", "mosh", "rsync", "scp", "sftp", "ssh"}
	some arg in command.args
	some match in regex.find_all_string_submatch_n(`^(?:[A-Za-z0-9._-]+@)([A-Za-z0-9.-]+)(?::|$)`, arg.value, 1)
}

# A backslash ends the host for some programs, and belongs to the name before the host for others.
_texts(call) := {text |
	some command in call.shell.commands
	some arg in command.args
	text := arg.value
} | {text |
	not call.shell
	walk(call.args, [_, text]) # lint:ignore no-walk: arguments are bounded and of any tool
	is_string(text)
}
