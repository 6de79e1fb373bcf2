# METADATA
# title: the decision
# description: >-
#   The one document that sandgate asks for. The session's profile says what is
#   denied, asked and allowed; this package weighs it: deny > ask > allow. A call
#   is allowed only by a rule that allows it, never because nothing denies it.
# scope: subpackages
# schemas:
#   - input: schema.input
package sandgate

# METADATA
# title: decision
# description: >-
#   What sandgate does with the call. The default stands for every case in which
#   a part of it is undefined.
# entrypoint: true
default decision := {
	"outcome": "deny",
	"reasons": [{
		"rule": "undecided",
		"message": "the policy came to no decision about this call",
		"severity": "high",
	}],
	"warnings": [],
	"shadow": [],
	"ask": {},
	"obligations": {},
	"labels": [],
}

decision := {
	"outcome": outcome,
	"reasons": reasons,
	"warnings": warnings,
	"shadow": shadow,
	"ask": ask,
	"obligations": obligations,
	"labels": labels,
}

# METADATA
# title: outcome
# description: deny wins over ask, ask over allow, and what no rule allows is asked.
default outcome := "deny"

outcome := "deny" if {
	count(_denied) > 0
} else := "ask" if {
	count(_asked) > 0
} else := "ask" if {
	count(_allowed) == 0
} else := "allow" if {
	count(_allowed) > 0
}

# METADATA
# title: reasons
# description: The findings that made the outcome, at most 20.
default reasons := []

reasons := _first(_denied) if outcome == "deny"

reasons := _first(_asked) if {
	outcome == "ask"
	count(_asked) > 0
}

# METADATA
# title: not-allowed
# description: No rule of the profile allows the call, so a person has to.
# custom:
#   rule: not-allowed
reasons := [{
	"rule": "not-allowed",
	"message": sprintf("no rule of the profile %q allows this call", [input.session.profile]),
	"remediation": "use a call that the profile allows, or have this one approved",
	"severity": "low",
}] if {
	outcome == "ask"
	count(_asked) == 0
}

reasons := _first(_allowed) if outcome == "allow"

# METADATA
# title: warnings
# description: Findings of rules in mode warn, which would have counted.
default warnings := []

warnings := [finding |
	some findings in [_denying, _asking]
	some finding in findings
	_mode(finding, "warn")
] if {
	_softening
}

# METADATA
# title: shadow
# description: What rules in mode shadow would have said.
default shadow := []

shadow := [entry |
	some effect, findings in {"deny": _denying, "ask": _asking, "allow": _allowing}
	some finding in findings
	_mode(finding, "shadow")
	entry := {"rule": finding.rule, "would": effect, "message": finding.message}
] if {
	_softening
}

# METADATA
# title: ask
# description: The terms of an approval; empty when none is asked for.
default ask := {}

ask := object.union(_terms, _profile_terms) if outcome == "ask"

default _terms := {"on_timeout": "deny"}

_terms := data.sandgate.config.ask

default _profile_terms := {}

_profile_terms := data.sandgate.profiles[input.session.profile].ask_terms

# METADATA
# title: obligations
# description: >-
#   The cage that the profile demands, lowered to the daemon's ceiling, since
#   the daemon refuses a decision that exceeds it.
default obligations := {}

obligations := object.union(_demanded, {"sandbox": sandbox}) if {
	sandbox := {key: _within_ceiling(key, value) | some key, value in _demanded.sandbox}
}

_demanded := data.sandgate.profiles[input.session.profile].obligations

_within_ceiling(key, value) := input.sandbox.ceiling[key] if {
	_exceeds(key, value)
} else := value

_exceeds(key, value) if {
	is_number(value)
	limit := input.sandbox.ceiling[key]
	is_number(limit)
	limit > 0
	value > limit
}

_exceeds(key, value) if {
	some rank, limit in _ranks[key]
	limit == input.sandbox.ceiling[key]
	not value in array.slice(_ranks[key], 0, rank + 1)
}

# The words of the cage, the tightest first.
_ranks := {"reuse": ["never", "session", "caller"], "workspace": ["ro", "rw"]}

# METADATA
# title: labels
# description: What the session is marked with when the call is allowed.
default labels := []

labels := sort(_labels)

_labels contains label if some label in data.sandgate.profiles[input.session.profile].labels

_labels contains label if {
	some extra
	some label in data.sandgate.extra[extra].labels
}

# METADATA
# title: visible
# description: >-
#   The names of those of input.tools that the caller is shown: all but what the
#   profile hides. What is not shown is still decided when it is called.
visible contains tool.name if {
	_known_profile
	some tool in input.tools
	not _hidden(tool.name)
}

_hidden(name) if name in data.sandgate.profiles[input.session.profile].hidden

# Rules in mode warn or shadow do not count; every other finding does, also one
# without a mode, with an unknown mode or without a rule id.
_denied := {finding | some finding in _denying; not _softened(finding)} | _refused

_asked := {finding | some finding in _asking; not _softened(finding)}

_allowed := {finding | some finding in _allowing; not _softened(finding)}

# Packages below data.sandgate.extra add rules of the operator's own to every
# profile. They can deny, ask and label, but never allow.
_denying contains finding if {
	some finding in data.sandgate.profiles[input.session.profile].deny
}

_denying contains finding if {
	some extra
	some finding in data.sandgate.extra[extra].deny
}

_asking contains finding if {
	some finding in data.sandgate.profiles[input.session.profile].ask
}

_asking contains finding if {
	some extra
	some finding in data.sandgate.extra[extra].ask
}

_allowing contains finding if {
	some finding in data.sandgate.profiles[input.session.profile].allow
}

# METADATA
# title: malformed-input
# description: The input document is not one that this policy was written for.
# custom:
#   rule: malformed-input
_refused contains {
	"rule": "malformed-input",
	"message": "the policy input is not a sandgate.input/v1 document of a known tool",
	"severity": "critical",
} if {
	not _well_formed
}

# METADATA
# title: unknown-profile
# description: There is no profile of that name, so nothing can be allowed.
# custom:
#   rule: unknown-profile
_refused contains {
	"rule": "unknown-profile",
	"message": sprintf("there is no profile %v", [object.get(input, ["session", "profile"], "without a name")]),
	"remediation": "have the daemon's configuration name a profile that the policy defines",
	"severity": "high",
} if {
	not _known_profile
}

_well_formed if {
	input.schema == "sandgate.input/v1"
	input.call.tool != ""
	input.tool.name == input.call.tool
}

# A profile is a package below data.sandgate.profiles that says what it demands
# of the cage, be it an empty object.
_known_profile if is_object(data.sandgate.profiles[input.session.profile].obligations)

# Whether there are modes at all: mostly there are none.
_softening if count(data.sandgate.config.modes) > 0

_mode(finding, mode) if data.sandgate.config.modes[finding.rule] == mode

_softened(finding) if {
	_softening
	data.sandgate.config.modes[finding.rule] in {"warn", "shadow"}
}

_first(findings) := array.slice([finding | some finding in findings], 0, 20)
