# METADATA
# title: pushes only tell
# description: >-
#   A push alone in its script becomes one that only says what it would do; any other push is denied. An example of
#   a transform: what runs is decided again.
package cookbook.push_dry_run

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "push_dry_run"

# METADATA
# title: transform
# description: >-
#   git push becomes git push --dry-run.
transform := {"args": object.union(input.call.args, {"command": dry})} if {
	_alone
	dry := sprintf("%s --dry-run", [input.call.args.command])
}

# METADATA
# title: push-not-dry
# description: >-
#   A push that cannot be made a dry run.
# custom:
#   rule: push-not-dry
deny contains {
	"rule": "push-not-dry",
	"message": "a push here only tells what it would do",
	"remediation": "run git push with --dry-run, alone",
	"severity": "medium",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	command.git.sub == "push"
	not command.git.push.dry_run
	not _alone
}

_alone if {
	count(input.call.shell.commands) == 1
	some command in input.call.shell.commands
	command.git.sub == "push"
	command.git.push.complete
	not command.git.push.dry_run
	count(command.redirects) == 0
	regex.match(`^git push[A-Za-z0-9 ._/+:-]*$`, input.call.args.command)
	not contains(input.call.args.command, " -- ")
}
