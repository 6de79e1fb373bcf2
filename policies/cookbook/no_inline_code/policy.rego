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

	some arg in command.args
	regex.match(_given(lower(command.base)), arg.value)
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

	_given(lower(command.base))
	_from_input(command)
}

_given(program) := `^-[a-zA-Z]*c` if regex.match(`^(python|pypy)[0-9.]*$`, program)

_given(program) := `^(-[a-zA-Z]*[eEp]|(eval|print)$|--(eval|print)(=|$))` if program in {"bun", "node", "nodejs", "perl", "ruby"}

_given("php") := `^-[a-zA-Z]*[rRBE]`

_given("lua") := `^-[a-zA-Z]*e`

_given("deno") := `^(eval$|--eval(=|$))`

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
