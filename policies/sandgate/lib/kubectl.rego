# METADATA
# title: kubectl
# description: >-
#   What a command of kubectl or oc does, told from its facts (command.kubectl). What could not be told is undefined,
#   so that a rule that asks for good news says nothing of it.
package sandgate.lib.kubectl

# METADATA
# title: reading verbs
# description: Verbs that change nothing in a cluster. Those with a second word are in _reading_subs.
reading_verbs := {
	"api-resources", "api-versions", "cluster-info", "describe", "diff", "events", "explain", "get", "logs", "options",
	"top", "version", "wait",
}

_reading_subs := {
	"auth": {"can-i", "whoami"},
	"config": {"current-context", "get-clusters", "get-contexts", "get-users", "view"},
	"rollout": {"history", "status"},
	"plugin": {"list"},
}

# METADATA
# title: read only
# description: Every word is known, and the command changes nothing and shows no secret.
read_only(kubectl) if {
	_reads(kubectl)
	not shows_secrets(kubectl)
	not kubectl.flags.raw
}

_reads(kubectl) if {
	kubectl.complete == true
	kubectl.known == true
	kubectl.verb in reading_verbs
}

_reads(kubectl) if {
	kubectl.complete == true
	kubectl.known == true
	kubectl.sub in _reading_subs[kubectl.verb]
}

# METADATA
# title: dry run
# description: The command says that it only tells what it would do.
dry_run(kubectl) if {
	kubectl.complete == true
	kubectl.dry_run in {"client", "server"}
	kubectl.verb in {
		"annotate", "apply", "autoscale", "cordon", "create", "delete", "drain", "expose", "label", "patch", "replace", "run",
		"scale", "set", "taint", "uncordon",
	}
}

# METADATA
# title: shows secrets
# description: The command names secrets, or everything of a kind that can hold them.
shows_secrets(kubectl) if {
	some resource in kubectl.resources
	resource.type == "secrets"
}

shows_secrets(kubectl) if {
	kubectl.verb == "config"
	kubectl.sub == "view"
	kubectl.flags.raw
}

# METADATA
# title: deletes
# description: The command takes something out of the cluster or off a node, as far as its words tell.
deletes(kubectl) if {
	kubectl.verb in {"delete", "drain"}
	not dry_run(kubectl)
}

deletes(kubectl) if {
	kubectl.verb in {"apply", "replace"}
	some flag in ["force", "prune"]
	kubectl.flags[flag]
	not dry_run(kubectl)
}

# METADATA
# title: somewhere in
# description: >-
#   The command may act on one of these clusters or namespaces: it names one by context, cluster, server or namespace
#   (glob patterns), or it does not say where, so that a configuration which nobody has seen does.
somewhere_in(kubectl, patterns) if {
	some key in ["context", "cluster", "server", "namespace"]
	some pattern in patterns
	glob.match(pattern, null, lower(kubectl[key]))
}

somewhere_in(kubectl, _) if not _placed(kubectl)

somewhere_in(kubectl, _) if kubectl.complete != true

somewhere_in(kubectl, _) if kubectl.kubeconfig

_placed(kubectl) if kubectl.context

_placed(kubectl) if kubectl.cluster

_placed(kubectl) if kubectl.server
