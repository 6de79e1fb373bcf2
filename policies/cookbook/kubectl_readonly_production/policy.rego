# METADATA
# title: production kubectl read-only
# description: >-
#   In production kubectl only looks: what changes something there, or might, is denied, and so is what shows a
#   secret. What says nowhere which cluster it is for counts as production.
package cookbook.kubectl_readonly_production

import data.sandgate.lib.kubectl
import data.sandgate.lib.shell

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

# METADATA
# title: production-kubectl
# description: KUBECONFIG of the script names clusters that are not known, whatever their contexts are called.
# custom:
#   rule: production-kubectl
deny contains {
	"rule": "production-kubectl",
	"message": "KUBECONFIG names clusters that are not known",
	"remediation": "leave KUBECONFIG alone and name a cluster with --context",
	"severity": "critical",
	"command": command.index,
} if {
	some command in input.call.shell.commands
	command.kubectl
	_other_config
	not kubectl.read_only(command.kubectl)
	not kubectl.dry_run(command.kubectl)
}

_other_config if "KUBECONFIG" in input.call.shell.variables

_other_config if input.call.env.KUBECONFIG

# METADATA
# title: production-client
# description: Other programs that act on clusters.
# custom:
#   rule: production-client
deny contains {
	"rule": "production-client",
	"message": sprintf("%s may change production", [command.base]),
	"remediation": "use kubectl --context with another cluster, or only look",
	"severity": "critical",
	"command": command.index,
} if {
	some command in input.call.shell.commands
	_changes(lower(command.base), command)
}

# They choose by themselves what they act on.
_changes(program, _) if program in {"k9s", "kubectl.exe", "kubectx"}

# kubectl under another name.
_changes(program, command) if {
	program in {"k0s", "k3s", "microk8s", "minikube", "rke2"}
	some arg in command.args
	arg.value in {"kc", "kubectl"}
}

_changes("helm", command) if {
	some word in shell.values(command)
	word in {"del", "delete", "install", "rollback", "un", "uninstall", "upgrade"}
	_in_production(command)
}

_in_production(command) if {
	some word in shell.values(command)
	some pattern in _patterns
	glob.match(pattern, null, lower(word))
}

_in_production(command) if {
	every word in shell.values(command) {
		not startswith(word, "--kube-context")
	}
}

_in_production(command) if {
	some arg in command.args
	not arg.literal
}
