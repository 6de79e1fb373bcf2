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

import data.sandgate.lib.grants

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
	"tighten": [],
	"transform": {},
	"labels": [],
	"grants": [],
}

decision := object.union(_beside, {
	"outcome": _verdict.outcome,
	"reasons": array.slice(sort(_verdict.because), 0, 20),
	"ask": ask,
	"obligations": obligations,
	"grants": _used,
})

# METADATA
# title: beside
# description: >-
#   What mostly nobody says anything of, in one piece, so that a decision without any of it does not ask for each.
default _beside := {"warnings": [], "shadow": [], "tighten": set(), "transform": {}, "labels": []}

_beside := {
	"warnings": _softness.warnings,
	"shadow": _softness.shadow,
	"tighten": _tighten,
	"transform": _transform,
	"labels": sort(_labels),
} if _more

# Whether there is any of it. The engine leaves out what asks for documents that this policy does not have.
_more if data.sandgate.config.modes[_]

_more if data.sandgate.extra[_].tighten

_more if data.sandgate.extra[_].obligations

_more if data.sandgate.extra[_].transform

_more if data.sandgate.extra[_].labels

_more if data.sandgate.tenants[input.caller.tenant].obligations

_more if data.sandgate.tenants[input.caller.tenant].labels

_more if data.sandgate.profiles[input.session.profile].transform

_more if data.sandgate.profiles[input.session.profile].labels

# METADATA
# title: outcome
# description: >-
#   deny wins over ask, ask over allow, and what no rule allows is asked. What is asked is allowed where grants answer
#   all of it.
default outcome := "deny"

outcome := _verdict.outcome

# METADATA
# title: reasons
# description: The findings that made the outcome, at most 20.
default reasons := []

reasons := array.slice(sort(_verdict.because), 0, 20)

_verdict := {"outcome": "deny", "because": _denied} if {
	_denied != set()
} else := {"outcome": "ask", "because": _asked} if {
	_asked != set()
	_used == []
} else := {"outcome": "allow", "because": _granted} if {
	_used != []
} else := {"outcome": "allow", "because": _allowed} if {
	_allowed != set()
} else := {"outcome": "ask", "because": {_not_allowed}}

# METADATA
# title: not-allowed
# description: No rule of the profile allows the call, so a person has to.
# custom:
#   rule: not-allowed
_not_allowed := {
	"rule": "not-allowed",
	"message": sprintf("no rule of the profile %q allows this call", [input.session.profile]),
	"remediation": "use a call that the profile allows, or have this one approved",
	"severity": "low",
}

# METADATA
# title: granted
# description: Approvers have allowed calls like this one beforehand.
# custom:
#   rule: granted
_granted := [{
	"rule": "granted",
	"message": sprintf("allowed beforehand by grant %s: %s", [grant.id, grant.summary]),
	"severity": "low",
} |
	some id in _used
	some grant in input.session.granted
	grant.id == id
]

# METADATA
# title: used grants
# description: >-
#   The ids of the grants by which an ask becomes an allow: for every question the first that answers it. Empty where
#   one stays open, where nothing is asked and where a call is denied.
default _used := []

_used := sort({id | some id in _answers}) if {
	input.session.granted
	_denied == set()
	questions := _questions
	questions != set()
	_answers := [min(ids) |
		some question in questions
		ids := {grant.id | some grant in input.session.granted; grants.answers(grant, question, _proposed)}
		ids != set()
	]
	count(_answers) == count(questions)
}

# The call as grants look at it, without its id: so that calls which are the same to the policy stay the same.
_proposed["tool"] := input.call.tool

_proposed["args"] := input.call.args

_proposed["cwd"] := input.call.cwd

_proposed["env"] := input.call.env

_proposed["stdin_bytes"] := input.call.stdin_bytes

_proposed["shell"] := input.call.shell

_proposed["files"] := input.call.files

_questions := _asked if {
	_asked != set()
} else := {_not_allowed} if {
	_allowed == set()
} else := set()

# METADATA
# title: warnings
# description: Findings of rules in mode warn, which would have counted.
_warnings := [finding |
	some counted in ["deny", "ask"]
	some [effect, finding] in _said
	effect == counted
	_mode(finding, "warn")
]

# METADATA
# title: shadow
# description: What rules in mode shadow would have said.
_shadow := [entry |
	some [effect, finding] in _said
	_mode(finding, "shadow")
	entry := {"rule": finding.rule, "would": effect, "message": finding.message}
]

# Both are empty where no rule has a mode.
default _softness := {"warnings": [], "shadow": []}

_softness := {"warnings": _warnings, "shadow": _shadow} if _softening

# METADATA
# title: ask
# description: The terms of an approval; empty when none is asked for.
default ask := {}

ask := object.union(object.union(_terms, _profile_terms), _stricter) if _verdict.outcome == "ask"

default _terms := {"on_timeout": "deny"}

_terms := data.sandgate.config.ask

default _profile_terms := {}

_profile_terms := data.sandgate.profiles[input.session.profile].ask_terms

# METADATA
# title: stricter terms
# description: >-
#   What the packages beside the profile say of the approval counts where it asks for more: a larger quorum, a
#   shorter time, fewer approvers. Approvers of whom the profile names none are left out, unless it names nobody;
#   and those of a tenant where they would leave none of the operator's.
_stricter["quorum"] := max([terms.quorum | some terms in _all_terms]) if _more_terms != set()

_stricter["ttl_ms"] := min([terms.ttl_ms | some terms in _all_terms; terms.ttl_ms > 0]) if _more_terms != set()

_stricter["approvers"] := sort(approvers) if {
	_more_terms != set()
	operators := _named_by_all(_operator_terms)
	approvers := [s | some s in [_named_by_all(_all_terms), operators]; s != set()][0]
}

_named_by_all(terms) := intersection({s |
	some of in terms
	s := {approver | some approver in of.approvers}
	s != set()
})

_all_terms := _operator_terms | _tenant_terms

_operator_terms := _extra_terms | {object.union(_terms, _profile_terms)}

_more_terms := _extra_terms | _tenant_terms

_stricter["on_timeout"] := "deny" if {
	_more_terms != set()
	some terms in _all_terms
	terms.on_timeout == "deny"
}

_stricter["self"] := false if {
	_more_terms != set()
	some terms in _all_terms
	terms.self == false
}

_stricter["no_grant"] if {
	some terms in _more_terms
	terms.no_grant == true
}

_extra_terms contains data.sandgate.extra[_].ask_terms

_extra_terms contains terms if some terms in data.sandgate.extra[_].terms

_tenant_terms contains terms if {
	tenant := input.caller.tenant
	terms := data.sandgate.tenants[tenant].ask_terms
}

# METADATA
# title: obligations
# description: >-
#   The cage that the profile demands, lowered to the daemon's ceiling, since
#   the daemon refuses a decision that exceeds it.
default obligations := {}

obligations := object.union(_demanded, {"sandbox": _lowered}) if {
	_lowered != {}
} else := _demanded

_demanded := data.sandgate.profiles[input.session.profile].obligations

_lowered[key] := limit if {
	some key, value in _demanded.sandbox
	limit := input.sandbox.ceiling[key]
	_exceeds(key, value, limit)
}

_exceeds(_, value, limit) if {
	is_number(value)
	limit > 0
	value > limit
}

_exceeds(key, value, limit) if {
	some rank, word in _ranks[key]
	word == limit
	not value in array.slice(_ranks[key], 0, rank + 1)
}

# The words of the cage, the tightest first.
_ranks := {"reuse": ["never", "session", "caller"], "workspace": ["ro", "transaction", "rw"]}

# METADATA
# title: tighten
# description: >-
#   What the packages beside the profile say of the cage, each with its source. The daemon merges it into the
#   obligations: the least of numbers, the tightest of words, the union of lists. It never loosens.
_tighten contains {"source": sprintf("extra.%s", [extra]), "obligations": said} if {
	said := data.sandgate.extra[extra].obligations
}

_tighten contains {"source": sprintf("extra.%s", [extra]), "obligations": said} if {
	some said in data.sandgate.extra[extra].tighten
}

_tighten contains {"source": sprintf("tenants.%s", [tenant]), "obligations": said} if {
	tenant := input.caller.tenant
	said := data.sandgate.tenants[tenant].obligations
}

# METADATA
# title: transform
# description: >-
#   Other arguments for the call, from the profile or one package of the operator's. The daemon has the tool accept
#   them and asks again, once, with input.call.transformed_from.
default _transform := {}

_transform := transform if {
	_transforms != set()
	count(_transforms) == 1
	some transform in _transforms
}

_transforms contains data.sandgate.profiles[input.session.profile].transform

_transforms contains data.sandgate.extra[_].transform

# METADATA
# title: labels
# description: What the session is marked with when the call is allowed.
_labels contains label if some label in data.sandgate.profiles[input.session.profile].labels

_labels contains label if {
	some extra
	some label in data.sandgate.extra[extra].labels
}

_labels contains label if {
	tenant := input.caller.tenant
	some label in data.sandgate.tenants[tenant].labels
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
# without a mode, with an unknown mode or without a rule id. Packages below
# data.sandgate.extra add rules of the operator's own to every profile, those
# below data.sandgate.tenants rules of the caller's tenant. They can deny, ask,
# label and tighten, but never allow.
_denied contains finding if {
	some finding in data.sandgate.profiles[input.session.profile].deny
	not _softened(finding)
}

_denied contains finding if {
	some extra
	some finding in data.sandgate.extra[extra].deny
	not _softened(finding)
}

_denied contains finding if {
	tenant := input.caller.tenant
	some finding in data.sandgate.tenants[tenant].deny
	not _softened(finding)
}

_asked contains finding if {
	some finding in data.sandgate.profiles[input.session.profile].ask
	not _softened(finding)
}

_asked contains finding if {
	some extra
	some finding in data.sandgate.extra[extra].ask
	not _softened(finding)
}

_asked contains finding if {
	tenant := input.caller.tenant
	some finding in data.sandgate.tenants[tenant].ask
	not _softened(finding)
}

_allowed contains finding if {
	some finding in data.sandgate.profiles[input.session.profile].allow
	not _softened(finding)
}

# All that is said, each with its effect; warnings and shadow take from it what their mode is of.
_said contains ["deny", finding] if some finding in data.sandgate.profiles[input.session.profile].deny

_said contains ["deny", finding] if {
	some extra
	some finding in data.sandgate.extra[extra].deny
}

_said contains ["ask", finding] if some finding in data.sandgate.profiles[input.session.profile].ask

_said contains ["ask", finding] if {
	some extra
	some finding in data.sandgate.extra[extra].ask
}

_said contains ["deny", finding] if {
	tenant := input.caller.tenant
	some finding in data.sandgate.tenants[tenant].deny
}

_said contains ["ask", finding] if {
	tenant := input.caller.tenant
	some finding in data.sandgate.tenants[tenant].ask
}

_said contains ["allow", finding] if some finding in data.sandgate.profiles[input.session.profile].allow

# Both are asked at once, since nearly every call is fit to be decided.
_denied contains finding if {
	not _fit
	some finding in _unfit
}

_fit if {
	_well_formed
	_known_profile
}

# METADATA
# title: malformed-input
# description: The input document is not one that this policy was written for.
# custom:
#   rule: malformed-input
_unfit contains {
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
_unfit contains {
	"rule": "unknown-profile",
	"message": sprintf("there is no profile %v", [_named_profile]),
	"remediation": "have the daemon's configuration name a profile that the policy defines",
	"severity": "high",
} if {
	not _known_profile
}

# METADATA
# title: transform-conflict
# description: Two packages rewrite the arguments to different ones.
# custom:
#   rule: transform-conflict
_denied contains {
	"rule": "transform-conflict",
	"message": "two parts of the policy rewrite the arguments of this call to different ones",
	"remediation": "tell the operator: only one of them may",
	"severity": "high",
} if {
	_more
	_transforms != set()
	count(_transforms) > 1
}

default _named_profile := "without a name"

_named_profile := input.session.profile

_well_formed if {
	input.schema == "sandgate.input/v1"
	input.call.tool != ""
	input.tool.name == input.call.tool
}

# A profile is a package below data.sandgate.profiles that says what it demands
# of the cage, be it an empty object.
_known_profile if is_object(_demanded)

# Whether there are modes at all: mostly there are none.
_softening if data.sandgate.config.modes[_]

_mode(finding, mode) if _modes[finding.rule] == mode

_softened(finding) if {
	data.sandgate.config.modes[finding.rule]
	_modes[finding.rule] in {"warn", "shadow"}
}

# METADATA
# title: modes
# description: >-
#   The mode of each rule for this call: a word that holds everywhere, or an object with words by environments,
#   profiles and tenants. Of those that name the call the strictest holds; where none does, its default.
_modes[rule] := mode if {
	some rule, mode in data.sandgate.config.modes
	is_string(mode)
}

_modes[rule] := mode if {
	some rule, modes in data.sandgate.config.modes
	is_object(modes)
	named := {word |
		some kind, name in {
			"environments": input.daemon.environment,
			"profiles": input.session.profile,
			"tenants": input.caller.tenant,
		}
		word := modes[kind][name]
	}
	mode := _strictest(named, object.get(modes, "default", "enforce"))
}

_strictest(named, otherwise) := otherwise if named == set()

_strictest({"shadow"}, _) := "shadow"

_strictest(named, _) := "warn" if {
	"warn" in named
	every word in named {
		word in {"shadow", "warn"}
	}
}
