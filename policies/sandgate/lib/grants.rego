# METADATA
# title: grants
# description: >-
#   What approvers have allowed beforehand, told from input.session.granted. A grant is a class of calls over facts:
#   commands with their words, files of a directory. What it does not name is not granted, and a fact that is missing
#   makes a function undefined.
package sandgate.lib.grants

import data.sandgate.lib.paths
import data.sandgate.lib.shell

# METADATA
# title: answers
# description: >-
#   The grant answers what a rule asks about this call: its rule is one that the grant was given for, and the command
#   that is asked about, or every command where it is about the call as a whole, is of the granted class.
answers(grant, finding, call) if {
	finding.rule in grant.rules
	suits(grant, call)
	matches(grant, call.shell.commands[finding.command])
	not fed(call.shell.commands, call.shell.commands[finding.command])
}

answers(grant, finding, call) if {
	finding.rule in grant.rules
	suits(grant, call)
	not finding.command
	every command in call.shell.commands {
		matches(grant, command)
		not fed(call.shell.commands, command)
	}
}

# This very call, whose code is not known.
answers(grant, finding, call) if {
	grant.exact == true
	finding.rule in grant.rules
	_same_place(grant, call)
	object.remove(call.args, object.get(grant, "free", [])) == grant.args
}

answers(grant, finding, call) if {
	finding.rule in grant.rules
	not call.shell
	not grant.exact
	suits(grant, call)
	arguments(grant, call)
}

# METADATA
# title: suits
# description: >-
#   The call is one that can be granted at all: of the same tool, in the same directory, with no variables and no
#   standard input, and its script, if it has one, holds nothing but simple commands that are known as a whole.
suits(grant, call) if {
	_same_place(grant, call)
	shell.plain(call.shell)
	_once(grant, call)
}

suits(grant, call) if {
	_same_place(grant, call)
	not call.shell
}

# A use of a grant is one run of each of its commands, not of as many as fit into a script.
_once(grant, call) if {
	count([true | some command in call.shell.commands; matches(grant, command)]) <= count(grant.commands)
}

_same_place(grant, call) if {
	plain(call)
	grant.tool == call.tool
	grant.cwd == call.cwd
}

# METADATA
# title: plain
# description: A call without variables, standard input and terminal, at which people type what no grant names.
plain(call) if {
	call.env == {}
	call.stdin_bytes == 0
	not call.terminal
}

# METADATA
# title: fed
# description: >-
#   The command may read what another one writes into a pipe: a standard input that no grant names. Which of two
#   pipelines side by side a command is of is not told, so the first of the second one counts as fed as well.
fed(commands, command) if {
	some context in command.context
	startswith(context, "|")
	some before in commands[command.index - 1].context
	startswith(before, "|")
}

# METADATA
# title: matches
# description: The command is of a class of the grant, and every word of it is one that the class names.
matches(grant, command) if {
	some class in grant.commands
	shell.runs(command, class.name)
	command.static == true
	command.depth == 0
	command.via == []
	_words_fit(class, command)
	every redirect in command.redirects {
		_quiet(redirect)
	}
}

# Exactly these words.
_words_fit(class, command) if class.argv == [arg.value | some arg in command.args; arg.literal == true]

_words_fit(class, command) if {
	not class.argv
	_begins(class, command)
	every i, arg in command.args {
		_fits(class, command, i, arg)
	}
}

# Its first word is the subcommand.
_begins(class, _) if not class.sub

_begins(class, command) if command.args[0].value == class.sub

_fits(class, _, 0, arg) if arg.value == class.sub

_fits(class, _, _, arg) if {
	arg.literal == true
	arg.value in class.options
}

_fits(class, _, _, arg) if {
	arg.literal == true
	arg.value in class.words
	not startswith(arg.value, "-")
}

# The value of an option that takes any text. It follows the option, which is not itself the value of one.
_fits(class, command, i, arg) if {
	arg.literal == true
	not startswith(arg.value, "-")
	_value_of_text(class, command, i)
	not _value_of_text(class, command, i - 1)
}

_fits(class, _, _, arg) if {
	arg.literal == true
	startswith(arg.eq.name, "--")
	arg.eq.name in class.texts
}

# Something in a granted directory of the workspace.
_fits(class, command, i, arg) if {
	arg.literal == true
	not startswith(arg.value, "-")
	not _value_of_text(class, command, i)
	paths.inside(arg)
	some dir in class.under
	startswith(arg.real, sprintf("%s/", [dir]))
}

_value_of_text(class, command, i) if {
	i > 0
	command.args[i - 1].value in class.texts
}

_quiet(redirect) if {
	redirect.class == "dup"
	redirect.target in {"1", "2"}
}

_quiet(redirect) if {
	redirect.class in {"append", "write"}
	redirect.target == "/dev/null"
}

# METADATA
# title: arguments
# description: >-
#   The arguments of a tool that runs no script are those of the grant, but for those that it leaves free, and the files
#   that they name are in its directories.
arguments(grant, call) if {
	object.remove(call.args, object.get(grant, "free", [])) == grant.args
	_one_file(grant, call)
	every file in object.get(call, "files", []) {
		_below(grant, file)
	}
}

# Any file of a directory: one, as it was shown, and not none that nobody looked at.
_one_file(grant, call) if {
	object.get(grant, "free", []) != []
	count(call.files) == 1
}

_one_file(grant, _) if object.get(grant, "free", []) == []

_below(grant, file) if {
	paths.inside(file)
	some dir in grant.under
	startswith(file.real, sprintf("%s/", [dir]))
}

# Where no argument is free, the files are those that were granted.
_below(grant, file) if {
	paths.inside(file)
	object.get(grant, "free", []) == []
}
