# METADATA
# title: no other user
# description: >-
#   Nothing runs as another user, in any profile: sudo, su, doas, pkexec and their like are denied however they are
#   wrapped.
package cookbook.no_sudo

import data.sandgate.lib.python

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "no_sudo"

# METADATA
# title: other-user
# description: >-
#   A command that runs another as somebody else.
# custom:
#   rule: other-user
deny contains {
	"rule": "other-user",
	"message": sprintf("%s runs something as another user", [command.base]),
	"remediation": "run the command itself",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	lower(command.base) in {
		"chroot", "doas", "gosu", "machinectl", "newgrp", "nsenter", "pkexec", "run0", "runuser", "setcap", "setpriv", "sg", "su",
		"su-exec", "sudo", "sudo-rs", "sudoedit", "systemd-run", "unshare",
	}
}

# METADATA
# title: other-user-bits
# description: >-
#   A file would run as its owner.
# custom:
#   rule: other-user-bits
deny contains {
	"rule": "other-user-bits",
	"message": "a file that runs as its owner lets others become him",
	"remediation": "leave the set-user-id bit alone",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	some mode in _modes(lower(command.base), command)
	some part in split(mode, ",")
	regex.match(`^([ugoa]*([-+=][rwxXt]*)*[+=][rwxXt]*s[rwxXst]*|0*[2-7][0-7]{3})$`, part)
}

_modes("chmod", command) := {arg.value | some arg in command.args}

_modes("install", command) := {command.args[i + 1].value |
	some i, arg in command.args
	regex.match(`^(-[a-zA-Z]*m|--mode)$`, arg.value)
} | {arg.eq.value |
	some arg in command.args
	arg.eq.name == "--mode"
}

# METADATA
# title: other-user
# description: A Python program that becomes somebody else (os, "Process Parameters").
# custom:
#   rule: other-user
deny contains {
	"rule": "other-user",
	"message": "this program becomes another user",
	"remediation": "leave that out",
	"severity": "high",
} if {
	some program in _programs
	python.touches(program, {"os.setegid", "os.seteuid", "os.setgid", "os.setresuid", "os.setreuid", "os.setuid"})
}

_programs contains input.call.python

_programs contains command.python if some command in input.call.shell.commands
