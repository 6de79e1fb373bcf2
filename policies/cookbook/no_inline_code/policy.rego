# METADATA
# title: no code on the command line
# description: >-
#   Interpreters get files, not text: what python -c, node -e or perl -e would run is written to a file first, where
#   it can be seen.
package cookbook.no_inline_code

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "no_inline_code"

# METADATA
# title: inline-code
# description: >-
#   An interpreter is given its program as an argument.
# custom:
#   rule: inline-code
deny contains {
	"rule": "inline-code",
	"message": sprintf("%s is given its program on the command line", [command.base]),
	"remediation": "write the program to a file of the workspace and run that",
	"severity": "medium",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	some flag in _flags(lower(command.base))
	some arg in command.args
	_gives(flag, arg.value)
}

# METADATA
# title: inline-code-on-stdin
# description: >-
#   An interpreter reads its program from a pipe or a here-document.
# custom:
#   rule: inline-code
deny contains {
	"rule": "inline-code",
	"message": sprintf("%s reads its program from its input", [command.base]),
	"remediation": "write the program to a file of the workspace and run that",
	"severity": "medium",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	count(_flags(lower(command.base))) > 0
	_from_input(command)
}

_flags(program) := {"c"} if regex.match(`^(python|pypy)[0-9.]*$`, program)

_flags(program) := {"e", "E", "p", "eval", "print"} if program in {"node", "nodejs", "perl", "ruby", "bun"}

_flags("php") := {"r", "R", "B", "E"}

_flags("lua") := {"e"}

_flags("deno") := {"eval"}

_gives(flag, word) if {
	count(flag) == 1
	regex.match(sprintf("^-[a-zA-Z]*%s", [flag]), word)
}

_gives(flag, word) if {
	count(flag) > 1
	word in {flag, sprintf("--%s", [flag])}
}

_gives(flag, word) if {
	count(flag) > 1
	startswith(word, sprintf("--%s=", [flag]))
}

_from_input(command) if {
	some redirect in command.redirects
	redirect.class in {"heredoc", "herestring"}
	_without_file(command)
}

_from_input(command) if {
	some arg in command.args
	arg.value == "-"
}

_from_input(command) if {
	"|" in command.context
	_without_file(command)
}

_without_file(command) if {
	every arg in command.args {
		startswith(arg.value, "-")
		not arg.value in {"--help", "--version", "-V", "-v"}
	}
}
