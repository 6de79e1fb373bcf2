# METADATA
# title: session
# description: What is remembered of the session of a call, told from input.session.
package sandgate.lib.session

# METADATA
# title: labelled
# description: The session has the label.
labelled(session, label) if label in session.labels

# METADATA
# title: labelled like
# description: The session has a label that begins so, such as "read:".
labelled_like(session, prefix) if {
	some label in session.labels
	startswith(label, prefix)
}

# METADATA
# title: decided
# description: How many calls of the session were decided so (allow, ask, deny); 0 where nothing is known.
default decided(_, _) := 0

decided(session, outcome) := session.counts[outcome]

# METADATA
# title: calls
# description: How many calls of the session were decided.
calls(session) := sum([n | some n in session.counts])

# METADATA
# title: refused lately
# description: How many of the last n calls that are remembered were denied.
refused_lately(session, n) := count([call |
	some call in array.slice(session.recent, count(session.recent) - n, count(session.recent))
	call.outcome == "DENIED"
])

# METADATA
# title: used
# description: A call of the tool is among those that are remembered, and it was run.
used(session, tool) if {
	some call in session.recent
	call.tool == tool
	not call.outcome in {"APPROVAL_REQUIRED", "DENIED", "NOT_RUN"}
}
