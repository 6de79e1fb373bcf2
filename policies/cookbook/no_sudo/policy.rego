# METADATA
# title: no other user
# description: >-
#   Nothing runs as another user, in any profile: sudo, su, doas, pkexec and their like are denied however they are
#   wrapped.
package cookbook.no_sudo

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
		"doas", "gosu", "pkexec", "run0", "runuser", "setpriv", "su", "su-exec", "sudo", "sudoedit", "sudo-rs", "systemd-run",
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

	lower(command.base) == "chmod"
	some arg in command.args
	regex.match(`^([ugoa]*[+=][rwxXt]*s[rwxXst]*|0*[2-7][0-7]{3})$`, arg.value)
}
