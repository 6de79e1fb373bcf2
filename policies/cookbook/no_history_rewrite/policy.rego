# METADATA
# title: history is not rewritten
# description: >-
#   Commits that exist stay: rebase, reset --hard, commit --amend, filter-branch and their like are asked.
package cookbook.no_history_rewrite

import data.sandgate.lib.git

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "no_history_rewrite"

# METADATA
# title: history-rewrite
# description: >-
#   Commits or changes would be lost or replaced.
# custom:
#   rule: history-rewrite
ask contains {
	"rule": "history-rewrite",
	"message": sprintf("git %s replaces or loses commits or changes", [command.git.sub]),
	"remediation": "make a new commit, or git stash what is in the way",
	"severity": "medium",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	_rewrites(command.git.sub, command)
}

_rewrites(sub, _) if sub in {"rebase", "reflog", "update-ref"}

_rewrites("commit", command) if {
	some arg in command.args
	regex.match(`^--am(e(nd?)?)?$`, arg.value)
}

_rewrites(_, command) if git.destructive(command)
