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
	object.get(command, "dir", "") in names.system_directories
	count(command.env) == 0
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
destructive(command) if lower(command.base) in names.destructive

destructive(command) if {
	some prefix in names.destructive_prefixes
	startswith(lower(command.base), prefix)
}

destructive(command) if {
	some verb in names.destructive_verbs[lower(command.base)]
	verb in values(command)
}

destructive(command) if {
	startswith(command.base, "git")
	git.destructive(command)
}

destructive(command) if {
	lower(command.base) in names.package_managers
	some verb in names.removing
	verb in values(command)
}

destructive(command) if {
	some redirect in command.redirects
	redirect.class in {"write", "append", "read_write"}
	paths.device(redirect.path)
}

# Rights or owners of a whole tree outside the workspace.
destructive(command) if {
	lower(command.base) in {"chattr", "chgrp", "chmod", "chown", "setfacl"}
	some option in values(command)
	regex.match(`^(-[a-zA-Z]*R[a-zA-Z]*|--rec[a-z]*)$`, option)
	some arg in command.args
	paths.outside(arg)
}

# pacman names what it does by a letter with others behind it.
destructive(command) if {
	lower(command.base) in {"pacman", "yay", "paru"}
	some word in values(command)
	startswith(word, "-R")
}

# A copy onto a device.
destructive(command) if {
	lower(command.base) in {"cp", "install", "mv", "tee"}
	some arg in command.args
	paths.device(arg.path)
}

# METADATA
# title: network
# description: The command reaches the network.
network(command) if lower(command.base) in names.network

network(command) if {
	some verb in names.network_verbs[lower(command.base)]
	verb in values(command)
}

network(command) if {
	startswith(command.base, "git")
	git.network(command)
}

network(command) if {
	lower(command.base) in names.package_managers
	some verb in names.installing
	verb in values(command)
}

network(command) if {
	some redirect in command.redirects
	redirect.network == true
}

# Without a verb it installs.
network(command) if {
	lower(command.base) in {"bundle", "pnpx", "yarn"}
	every arg in command.args {
		startswith(value(arg), "-")
		not value(arg) in {"--help", "--version", "-h", "-v"}
	}
}

# pacman names what it does by a letter with others behind it.
network(command) if {
	lower(command.base) in {"pacman", "yay", "paru"}
	some word in values(command)
	startswith(word, "-Sy")
}

# The source of a mount on another host.
network(command) if {
	lower(command.base) == "mount"
	some word in values(command)
	regex.match(`^//|^[^/=,]+:/`, word)
}

# A module of an interpreter that reaches the network.
network(command) if {
	startswith(lower(command.base), "py")
	regex.match(`^(python|pypy)[0-9.]*$`, lower(command.base))
	some i, arg in command.args
	value(arg) in {"-m", "-mpip", "-mhttp.server"}
	some module in array.slice(command.args, i, i + 2)
	value(module) in {"pip", "http.server", "smtpd", "ensurepip", "-mpip", "-mhttp.server"}
}

# A package manager under a numbered name.
network(command) if {
	startswith(lower(command.base), "pip")
	regex.match(`^pip[0-9.]+$`, lower(command.base))
	some verb in names.network_verbs.pip
	verb in values(command)
}
