# METADATA
# title: data stays where it belongs
# description: >-
#   Only hosts of the regions that are named may be called; a network command whose host is not known is asked.
package cookbook.data_residency

import data.sandgate.lib.calls
import data.sandgate.lib.shell

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "data_residency"

default _hosts := {"*.eu.example.com", "*.internal", "localhost", "127.0.0.1"}

_hosts := data.sandgate.config.settings.data_residency.hosts

# METADATA
# title: data-residency
# description: >-
#   A host outside of the regions.
# custom:
#   rule: data-residency
deny contains {
	"rule": "data-residency",
	"message": sprintf("%s is outside of the regions that this data may go to", [host]),
	"remediation": "use a host of the region",
	"severity": "high",
} if {
	some host in calls.hosts(input.call)
	not _resident(host)
}

# METADATA
# title: unknown-host
# description: >-
#   A network command that names no host which could be read.
# custom:
#   rule: unknown-host
ask contains {
	"rule": "unknown-host",
	"message": sprintf("it is not known which host %s would reach", [command.base]),
	"remediation": "write the URL out",
	"severity": "medium",
	"command": command.index,
} if {
	some command in input.call.shell.commands
	shell.network(command)
	_unsure(command)
}

_resident(host) if {
	some pattern in _hosts
	glob.match(pattern, null, host)
}

# No host is named, or not every one.
_unsure(command) if count(calls.hosts({"shell": {"commands": [command]}})) == 0

_unsure(command) if {
	some i, arg in command.args
	arg.dynamic
	not calls.takes_text(command, i)
	not _known_host(arg)
}

# What is reached is not what the URL says, or is written in a file.
_known_host(arg) if regex.match(`^[A-Za-z]+://[^/@]+/`, arg.prefix)

_unsure(command) if {
	lower(command.base) in {"curl", "wget"}
	some arg in command.args
	regex.match(`^(--(resolve|connect-to|config|input-file|unix-socket|abstract-unix-socket)(=|$)|-K)`, arg.value)
}
