# METADATA
# title: two persons approve a deletion
# description: >-
#   What deletes data that cannot be had back is asked, and two persons have to approve it.
package cookbook.two_person_delete

import data.sandgate.lib.git
import data.sandgate.lib.kubectl
import data.sandgate.lib.sql

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "two_person_delete"

# METADATA
# title: deletion
# description: >-
#   Something that cannot be had back would be deleted.
# custom:
#   rule: deletion
ask contains {
	"rule": "deletion",
	"message": sprintf("%s deletes what cannot be had back", [command.base]),
	"remediation": "move it aside instead, or have two persons approve",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	_deletes(lower(command.base), command)
}

# METADATA
# title: deletion-by-tool
# description: >-
#   A tool that deletes, as its declaration says.
# custom:
#   rule: deletion
ask contains {
	"rule": "deletion",
	"message": sprintf("the tool %s deletes what cannot be had back", [input.call.tool]),
	"remediation": "have two persons approve",
	"severity": "high",
} if {
	not input.call.shell
	"delete" in input.tool.effects
	not input.tool.source == "builtin"
}

# METADATA
# title: ask terms
# description: >-
#   Two approvals.
ask_terms := {"quorum": 2} if count(ask) > 0

_deletes("rm", command) if {
	some arg in command.args
	regex.match(`^(-[a-zA-Z]*[rR]|--recursive)`, arg.value)
}

_deletes("find", command) if {
	some arg in command.args
	arg.value == "-delete"
}

_deletes(program, _) if program in {"shred", "dropdb", "wipefs"}

_deletes(_, command) if kubectl.deletes(command.kubectl)

_deletes(_, command) if command.git.push.delete

_deletes("git", command) if git.destructive(command)

_deletes(program, command) if sql.destroys(program, command)
