# METADATA
# title: no privileged containers
# description: >-
#   Containers get no rights over the machine: no --privileged, no mount of / or of the socket, no network or
#   processes of the host.
package cookbook.no_privileged_containers

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "no_privileged_containers"

# METADATA
# title: privileged-container
# description: >-
#   A container with rights over the machine.
# custom:
#   rule: privileged-container
deny contains {
	"rule": "privileged-container",
	"message": sprintf("%s gives the container rights over the machine", [word]),
	"remediation": "run it without",
	"severity": "critical",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	lower(command.base) in {"docker", "nerdctl", "podman"}
	some i, arg in command.args
	word := _whole(command.args, i, arg)
	_gives_rights(word)
}

# An option with the value in the next word is written as one.
_whole(args, i, arg) := sprintf("%s=%s", [arg.value, args[i + 1].value]) if {
	arg.value in _separate
} else := arg.value

# Options whose value may stand apart.
_separate := {
	"--cap-add", "--device", "--ipc", "--mount", "--net", "--network", "--pid", "--security-opt", "--userns", "--uts",
	"--volume", "-v",
}

_gives_rights(word) if regex.match(`^--privileged(=true)?$`, word)

_gives_rights(word) if regex.match(`^--(ipc|net|network|pid|userns|uts)=host$`, word)

_gives_rights(word) if regex.match(`^--(cap-add|device)=`, word)

_gives_rights(word) if regex.match(`^--security-opt=.*unconfined`, word)

_gives_rights(word) if regex.match(`^(-v=?|--volume=)(/|/etc|/home|/proc|/root|/run|/sys|/var|/var/run)(/[^:]*)?:`, word)

_gives_rights(word) if regex.match(`^--mount=.*(source|src)=(/|/etc|/home|/proc|/root|/run|/sys|/var)(/[^,]*)?(,|$)`, word)
