# METADATA
# title: shell
# description: >-
#   What the parsed commands of a script do, told from input.call.shell. All functions are pure and take facts;
#   a fact that is missing makes them undefined. Names are folded to lower case where something is refused, and
#   taken as they are where something is let through.
package sandgate.lib.shell

import data.sandgate.lib.git
import data.sandgate.lib.names
import data.sandgate.lib.paths

# METADATA
# title: harmless features
# description: >-
#   Constructs of the language with which a list of harmless commands stays harmless. All others, and those that
#   are not known here, make a script unproved.
harmless_features := {
	"and_list", "ansi_c_quoting", "brace_expansion", "comment", "glob", "heredoc", "herestring", "negation",
	"non_ascii", "or_list", "pipeline", "redirect", "sequence", "time",
}

# METADATA
# title: plain
# description: >-
#   The script is known as a whole and holds nothing but simple commands joined by ; && || and pipes.
plain(script) if {
	script.parsed == true
	script.overflow == false
	script.truncated == false
	script.opaque == false
	script.changes_directory == false
	count(script.functions) == 0
	count(script.aliases) == 0
	count(script.commands) > 0
	every feature in script.features {
		feature in harmless_features
	}
	paths.inside(script.cwd)
}

# METADATA
# title: runs
# description: The command is the system's program of that name, with no assignment before it.
runs(command, name) if {
	command.kind == "simple"
	command.name_static == true
	command.base == name
	object.get(command, "dir", "") in {"", "/bin", "/usr/bin"}
	command.env == []
	command.opaque == false
}

# METADATA
# title: value
# description: The literal text of an argument; undefined for one that is not exactly known.
value(arg) := arg.value if arg.literal == true

# METADATA
# title: values
# description: The literal arguments of a command.
values(command) := {arg.value | some arg in command.args; arg.literal == true}

# METADATA
# title: harmless redirect
# description: It reads inside the workspace, joins two streams, gives text, or throws output away.
harmless_redirect(redirect) if {
	redirect.class == "read"
	paths.inside(redirect)
}

harmless_redirect(redirect) if {
	redirect.class in {"heredoc", "herestring"}
	redirect.static == true
}

harmless_redirect(redirect) if {
	redirect.class == "dup"
	redirect.target in {"-", "0", "1", "2"}
}

harmless_redirect(redirect) if {
	redirect.class in {"read", "write", "append"}
	redirect.target == "/dev/null"
}

# The same written with dots or slashes; what goes up could pass a symlink.
harmless_redirect(redirect) if {
	redirect.class in {"read", "write", "append"}
	startswith(redirect.target, "/dev/")
	not contains(redirect.target, "..")
	redirect.path == "/dev/null"
}

# METADATA
# title: destructive
# description: The command destroys data or state.
destructive(command) if {
	program := lower(command.base)
	names.acts(program)
	_destroys(program, command)
}

destructive(command) if {
	some redirect in command.redirects
	redirect.class in {"write", "append", "read_write"}
	paths.device(redirect.path)
}

# What is asked here of a program has to be among names.acts. It is in lower case, so that the index leaves out the
# rules that are about others.
_destroys(program, _) if names.destructive(program)

# Families of names: mkfs and mkfs.ext4.
_destroys(program, _) if startswith(program, "mkfs")

_destroys(program, _) if startswith(program, "mke2fs")

_destroys(program, command) if {
	some verb in names.destructive_verbs[program]
	verb in values(command)
}

_destroys(program, command) if {
	startswith(program, "git")
	git.destructive(command)
}

_destroys(program, command) if {
	names.package_manager(program)
	some verb in names.removing
	verb in values(command)
}

# Rights or owners of a whole tree outside the workspace.
_destroys(program, command) if {
	program in {"chattr", "chgrp", "chmod", "chown", "setfacl"}
	some option in values(command)
	regex.match(`^(-[a-zA-Z]*R[a-zA-Z]*|--rec[a-z]*)$`, option)
	some arg in command.args
	paths.outside(arg)
}

# pacman names what it does by a letter with others behind it.
_destroys(program, command) if {
	program in {"pacman", "yay", "paru"}
	some word in values(command)
	startswith(word, "-R")
}

# A copy onto a device.
_destroys(program, command) if {
	program in {"cp", "install", "mv", "tee"}
	some arg in command.args
	paths.device(arg.path)
}

# METADATA
# title: network
# description: The command reaches the network.
network(command) if {
	program := lower(command.base)
	names.acts(program)
	_connects(program, command)
}

network(command) if {
	some redirect in command.redirects
	redirect.network == true
}

_connects(program, _) if names.network(program)

_connects(program, command) if {
	some verb in names.network_verbs[program]
	verb in values(command)
}

_connects(program, command) if {
	startswith(program, "git")
	git.network(command)
}

_connects(program, command) if {
	names.package_manager(program)
	some verb in names.installing
	verb in values(command)
}

# Without a verb it installs.
_connects(program, command) if {
	program in {"bundle", "pnpx", "yarn"}
	every arg in command.args {
		startswith(value(arg), "-")
		not value(arg) in {"--help", "--version", "-h", "-v"}
	}
}

# pacman names what it does by a letter with others behind it.
_connects(program, command) if {
	program in {"pacman", "yay", "paru"}
	some word in values(command)
	startswith(word, "-Sy")
}

# The source of a mount on another host.
_connects("mount", command) if {
	some word in values(command)
	regex.match(`^//|^[^/=,]+:/`, word)
}

# A module of an interpreter that reaches the network.
_connects(program, command) if {
	startswith(program, "py")
	regex.match(`^(python|pypy)[0-9.]*$`, program)
	some i, arg in command.args
	value(arg) in {"-m", "-mpip", "-mhttp.server"}
	some module in array.slice(command.args, i, i + 2)
	value(module) in {"pip", "http.server", "smtpd", "ensurepip", "-mpip", "-mhttp.server"}
}

# A package manager under a numbered name.
_connects(program, command) if {
	startswith(program, "pip")
	regex.match(`^pip[0-9.]+$`, program)
	some verb in names.network_verbs.pip
	verb in values(command)
}
