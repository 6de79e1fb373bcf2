# METADATA
# title: protected branches
# description: >-
#   Nothing is pushed to main, master, production or a release branch; a push that does not name its branch is
#   asked.
package cookbook.protected_branches

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "protected_branches"

default _patterns := {"main", "master", "production", "release/*", "release-*"}

_patterns := data.sandgate.config.settings.protected_branches.branches

# METADATA
# title: protected-branch
# description: >-
#   A push to a branch that only changes by review.
# custom:
#   rule: protected-branch
deny contains {
	"rule": "protected-branch",
	"message": sprintf("%s only changes by review", [ref.dst]),
	"remediation": "push to a branch of your own and open a pull request",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	some ref in command.git.push.refs
	some pattern in _patterns
	glob.match(pattern, ["/"], trim_prefix(trim_prefix(ref.dst, "refs/"), "heads/"))
}

# METADATA
# title: unnamed-branch
# description: >-
#   A push of whatever is configured, of all branches, or of the branch that is checked out now.
# custom:
#   rule: unnamed-branch
ask contains {
	"rule": "unnamed-branch",
	"message": "this push does not name the branch that it changes",
	"remediation": "name the branch: git push origin my-branch",
	"severity": "low",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	_unnamed(command.git.push)
}

# METADATA
# title: unnamed-branch-unread
# description: >-
#   A push that was not read.
# custom:
#   rule: unnamed-branch
ask contains {
	"rule": "unnamed-branch",
	"message": "this push does not name the branch that it changes",
	"remediation": "write the push out in plain words",
	"severity": "low",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	command.git.sub == "push"
	not command.git.push
}

_unnamed(push) if count(push.refs) == 0

_unnamed(push) if push.complete != true

_unnamed(push) if push.all

# The lone colon stands for every branch that both sides have.
_unnamed(push) if {
	some ref in push.refs
	not ref.dst
	not ref.src
}

_unnamed(push) if {
	some ref in push.refs
	ref.dst in {"@", "HEAD"}
}
