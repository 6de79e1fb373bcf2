# METADATA
# title: no force push
# description: >-
#   History that others have is never overwritten: no forced push in any spelling, no deleted or mirrored refs.
package cookbook.no_force_push

import data.sandgate.lib.git

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "no_force_push"

# METADATA
# title: force-push
# description: >-
#   A push that overwrites or deletes what others have, or one that is not fully known.
# custom:
#   rule: force-push
deny contains {
	"rule": "force-push",
	"message": "this push may overwrite or delete what others have",
	"remediation": "push without --force, + or --mirror; merge or rebase onto the remote branch first",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	_forces(command.git.push)
}

# METADATA
# title: force-push-by-configuration
# description: >-
#   A configured push refspec or mirror forces every later push.
# custom:
#   rule: force-push
deny contains {
	"rule": "force-push",
	"message": sprintf("the setting %s can make a push overwrite what others have", [setting.name]),
	"remediation": "leave remote.*.push and remote.*.mirror as they are",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	some setting in command.git.settings
	regex.match(`^remote\..*\.(push|mirror)$`, setting.name)
}

# METADATA
# title: force-push-unread
# description: >-
#   A push that was not read.
# custom:
#   rule: force-push
deny contains {
	"rule": "force-push",
	"message": "this push may overwrite or delete what others have",
	"remediation": "write the push out in plain words",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	command.git.sub == "push"
	not command.git.push
}

_forces(push) if push.complete != true

_forces(push) if {
	some flag in ["delete", "force", "mirror"]
	push[flag] == true
}

# METADATA
# title: force-push
# description: An alias that pushes says nothing of what it overwrites when it is called.
# custom:
#   rule: force-push
deny contains {
	"rule": "force-push",
	"message": sprintf("the alias %s hides how it pushes", [setting.name]),
	"remediation": "write the push out in plain words",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands
	some setting in command.git.settings
	startswith(lower(setting.name), "alias.")
	regex.match(`(^|[^a-z])(push|send-pack|http-push)([^a-z]|$)`, setting.value)
}

# METADATA
# title: force-push
# description: The programs behind push, with their own options (git-send-pack, git-http-push, git-subtree, git-lfs).
# custom:
#   rule: force-push
deny contains {
	"rule": "force-push",
	"message": "this may overwrite or delete what others have",
	"remediation": "use git push, in plain words",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands
	_behind(git.subcommand(command), command)
}

_behind(sub, _) if sub in {"http-push", "send-pack"}

_behind("push", command) if startswith(command.base, "git-")

_behind(sub, command) if {
	sub in {"lfs", "subtree"}
	"push" in git.words(command)
	some word in git.words(command)
	regex.match(`^(-[a-z]*f$|--for|\+)`, word)
}

_behind("remote", command) if {
	some word in git.words(command)
	regex.match(`^--mirror(=push)?$`, word)
}
