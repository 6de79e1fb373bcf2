# METADATA
# title: effects
# description: >-
#   What becomes of the changes of a transactional call, which is one with the obligation sandbox.workspace
#   "transaction". The call has run on an overlay; the daemon asks for one document: allow, and all of its changes are
#   made to the workspace, or deny, and none. input.ended, input.changes and input.totals tell what it did, the rest is
#   the input that its decision saw.
# scope: subpackages
# schemas:
#   - input: schema.input
package sandgate.effects

# METADATA
# title: decision
# description: The default stands for every case in which a part of it is undefined.
# entrypoint: true
default decision := {
	"outcome": "deny",
	"reasons": [{
		"rule": "effects-undecided",
		"message": "the policy came to no decision about what the call changed",
		"severity": "high",
	}],
}

decision := {"outcome": "deny", "reasons": array.slice(sort(_denied), 0, 20)} if {
	_denied != set()
} else := {"outcome": "allow", "reasons": [_allowed]}

# METADATA
# title: effects-allowed
# description: The call ran in a known profile, and no rule is against what it changed.
# custom:
#   rule: effects-allowed
_allowed := {
	"rule": "effects-allowed",
	"message": sprintf("the profile %q may make these changes", [input.session.profile]),
} if {
	input.ended.outcome in {"EXITED", "SIGNALED", "TIMED_OUT", "OUT_OF_MEMORY", "OUTPUT_LIMIT", "DISK_LIMIT", "CANCELLED"}
	is_object(data.sandgate.profiles[input.session.profile].obligations)
	count(input.changes) > 0
}

# METADATA
# title: failed-program
# description: A program that failed or was stopped has done half of something.
# custom:
#   rule: effects-failed-program
_denied contains {
	"rule": "effects-failed-program",
	"message": "the program did not end well, so nothing that it changed is kept",
	"remediation": "see why it failed, and run it again",
	"severity": "low",
} if {
	not _ended_well
	not _bounds.keep_failed == true
}

# METADATA
# title: effects-read-only
# description: The profile demands a read-only workspace.
# custom:
#   rule: effects-read-only
_denied contains {
	"rule": "effects-read-only",
	"message": "the profile may not change the workspace",
	"severity": "high",
} if {
	data.sandgate.profiles[input.session.profile].obligations.sandbox.workspace == "ro"
}

# METADATA
# title: effects-protected-path
# description: >-
#   A change at or below a protected path, at any depth of the workspace. What is there is run by others later: hooks
#   of git by whoever commits next.
# custom:
#   rule: effects-protected-path
_denied contains {
	"rule": "effects-protected-path",
	"message": sprintf("%q is protected", [change.path]),
	"remediation": "leave it alone, or ask the user to change it",
	"severity": "high",
} if {
	some change in input.changes
	path := concat("", ["/", change.path, "/"])
	some protected in _protected
	contains(path, protected)
}

_protected := {concat("", ["/", path, "/"]) | some path in _bounds.protected}

# METADATA
# title: effects-link-outside
# description: A symbolic link that leads out of the workspace, or might, is a trap for whoever follows it.
# custom:
#   rule: effects-link-outside
_denied contains {
	"rule": "effects-link-outside",
	"message": sprintf("%q is a symbolic link that could lead out of the workspace", [change.path]),
	"remediation": "link to a path inside the workspace, without going up after going down",
	"severity": "high",
} if {
	some change in input.changes
	change.escapes
}

# METADATA
# title: effects-setid
# description: A program that would run as somebody else.
# custom:
#   rule: effects-setid
_denied contains {
	"rule": "effects-setid",
	"message": sprintf("%q has a set-user-id or set-group-id bit", [change.path]),
	"remediation": "leave the bit out",
	"severity": "high",
} if {
	some change in input.changes
	change.setid
}

# METADATA
# title: effects-special
# description: A fifo, a socket or a device.
# custom:
#   rule: effects-special
_denied contains {
	"rule": "effects-special",
	"message": sprintf("%q is no file, directory or symbolic link", [change.path]),
	"remediation": "make it in /tmp, or remove it before the program ends",
	"severity": "medium",
} if {
	some change in input.changes
	change.type == "special"
	change.kind != "deleted"
}

# METADATA
# title: effects-file-size
# description: A file that is larger than the profile's bound.
# custom:
#   rule: effects-file-size
_denied contains {
	"rule": "effects-file-size",
	"message": sprintf("%q has %d bytes, the most is %d", [change.path, change.size, _bounds.max_file_bytes]),
	"severity": "medium",
} if {
	some change in input.changes
	change.size > _bounds.max_file_bytes
}

# METADATA
# title: effects-too-many
# description: More changes than the profile's bound.
# custom:
#   rule: effects-too-many
_denied contains {
	"rule": "effects-too-many",
	"message": sprintf("the call changed %d paths, the most is %d", [count(input.changes), _bounds.max_changes]),
	"severity": "medium",
} if {
	count(input.changes) > _bounds.max_changes
}

# METADATA
# title: effects-too-large
# description: More bytes than the profile's bound.
# custom:
#   rule: effects-too-large
_denied contains {
	"rule": "effects-too-large",
	"message": sprintf("the call wrote %d bytes, the most is %d", [input.totals.bytes, _bounds.max_bytes]),
	"severity": "medium",
} if {
	input.totals.bytes > _bounds.max_bytes
}

# Rules of the profile, the operator and the tenant: each can deny, none can allow.
_denied contains finding if some finding in data.sandgate.profiles[input.session.profile].deny_effects

_denied contains finding if {
	some extra
	some finding in data.sandgate.extra[extra].deny_effects
}

_denied contains finding if {
	tenant := input.caller.tenant
	some finding in data.sandgate.tenants[tenant].deny_effects
}

_ended_well if {
	input.ended.outcome == "EXITED"
	input.ended.exit_code == 0
}

# METADATA
# title: bounds
# description: >-
#   What a profile says in its effects_bounds, over data.sandgate.config.effects, over these.
_bounds := object.union_n([_least, _configured, _profile_bounds])

_least := {
	"keep_failed": false,
	"max_bytes": 268435456,
	"max_changes": 10000,
	"max_file_bytes": 67108864,
	"protected": [".git/hooks", ".git/config", ".git/info", ".git/modules", ".husky"],
}

default _configured := {}

_configured := data.sandgate.config.effects

default _profile_bounds := {}

_profile_bounds := data.sandgate.profiles[input.session.profile].effects_bounds
