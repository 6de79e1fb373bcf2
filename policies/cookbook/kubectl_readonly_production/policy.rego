# METADATA
# title: production kubectl read-only
# description: >-
#   In production kubectl only looks: what changes something there, or might, is denied, and so is what shows a
#   secret. What says nowhere which cluster it is for counts as production.
package cookbook.kubectl_readonly_production

import data.sandgate.lib.kubectl

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "kubectl_readonly_production"

default _patterns := {"*prod*", "*live*"}

_patterns := data.sandgate.config.settings.kubectl_readonly_production.clusters

# METADATA
# title: production-kubectl
# description: >-
#   kubectl changes production, or it is not sure that it does not.
# custom:
#   rule: production-kubectl
deny contains {
	"rule": "production-kubectl",
	"message": sprintf("kubectl %s may change production", [_verb(command.kubectl)]),
	"remediation": "name another cluster with --context, use --dry-run=server, or only look (get, describe, logs)",
	"severity": "critical",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	kubectl.somewhere_in(command.kubectl, _patterns)
	not kubectl.read_only(command.kubectl)
	not kubectl.dry_run(command.kubectl)
}

# METADATA
# title: production-kubectl-unread
# description: >-
#   A command of kubectl that was not read.
# custom:
#   rule: production-kubectl
deny contains {
	"rule": "production-kubectl",
	"message": "this command may change production",
	"remediation": "write the command out in plain words",
	"severity": "critical",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	lower(command.base) in {"kubectl", "oc"}
	not command.kubectl
}

default _verb(_) := "with a verb that is not known"

_verb(facts) := facts.verb
