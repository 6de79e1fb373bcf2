# METADATA
# title: cookbook
# description: >-
#   Switches policies of the cookbook on: those that data.sandgate.config.cookbook names for the profile of the session or
#   for all ("*"), and those of labels such as policy:no_force_push, which a policy can put on a session. A name that does
#   not exist denies everything.
package sandgate.extra.cookbook

_on contains name if some name in data.sandgate.config.cookbook[input.session.profile]

_on contains name if some name in data.sandgate.config.cookbook["*"]

_on contains name if {
	some label in input.session.labels
	startswith(label, "policy:")
	name := substring(label, 7, -1)
}

# METADATA
# title: deny
# description: What the policies that are on deny.
deny contains finding if {
	some name in _on
	some finding in data.cookbook[name].deny
}

# METADATA
# title: unknown-cookbook-policy
# description: A name that is switched on has no policy.
# custom:
#   rule: unknown-cookbook-policy
deny contains {
	"rule": "unknown-cookbook-policy",
	"message": sprintf("there is no policy %q in the cookbook", [name]),
	"remediation": "tell the operator: data.sandgate.config.cookbook or a label of the session names it",
	"severity": "high",
} if {
	some name in _on
	not _known(name)
}

_known(name) if data.cookbook[name].policy == name

# METADATA
# title: ask
# description: What they ask.
ask contains finding if {
	some name in _on
	some finding in data.cookbook[name].ask
}

# METADATA
# title: labels
# description: The labels that they put on the session.
labels contains label if {
	some name in _on
	some label in data.cookbook[name].labels
}

# METADATA
# title: tighten
# description: What they say of the cage; the daemon merges it.
tighten contains said if {
	some name in _on
	said := data.cookbook[name].obligations
}

# METADATA
# title: terms
# description: What they say of approvals; the strictest counts.
terms contains said if {
	some name in _on
	said := data.cookbook[name].ask_terms
}

# METADATA
# title: transform
# description: Other arguments; two policies that both have some are a conflict, which is an error and so a deny.
transform := said if {
	some name in _on
	said := data.cookbook[name].transform
}
