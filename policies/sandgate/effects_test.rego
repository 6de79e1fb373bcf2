package sandgate.effects_test

import data.sandgate.effects

_file := {"path": "src/a.go", "kind": "modified", "type": "file", "mode": 420, "size": 10}

_input(changes) := {
	"schema": "sandgate.input/v1",
	"caller": {"id": "unix:uid:1000", "transport": "unix"},
	"session": {"profile": "workspace"},
	"ended": {"outcome": "EXITED", "exit_code": 0},
	"changes": changes,
	"totals": {"created": 0, "modified": count(changes), "deleted": 0, "bytes": sum([c.size | some c in changes])},
}

_rules(decision) := {reason.rule | some reason in decision.reasons}

test_ordinary_changes_are_allowed if {
	decision := effects.decision with input as _input([_file])
	decision.outcome == "allow"
	_rules(decision) == {"effects-allowed"}
}

test_denied[name] if {
	some name, c in {
		"a hook": {"path": ".git/hooks/pre-commit", "rule": "effects-protected-path"},
		"a hook deeper": {"path": "vendor/x/.git/hooks/pre-push", "rule": "effects-protected-path"},
		"the directory of hooks": {"path": ".git/hooks", "type": "dir", "rule": "effects-protected-path"},
		"a hook that is gone": {"path": ".git/hooks/x", "kind": "deleted", "mode": 0, "rule": "effects-protected-path"},
		"configuration of git": {"path": ".git/config", "rule": "effects-protected-path"},
		"a link outside": {"type": "symlink", "target": "/etc", "escapes": true, "rule": "effects-link-outside"},
		"a set-user-id program": {"mode": 2541, "setid": true, "rule": "effects-setid"},
		"a fifo": {"type": "special", "rule": "effects-special"},
		"a large file": {"size": 67108865, "rule": "effects-file-size"},
		"many bytes": {"size": 268435457, "rule": "effects-too-large"},
	}
	decision := effects.decision with input as _input([object.union(_file, object.remove(c, ["rule"])), _file])
	decision.outcome == "deny"
	c.rule in _rules(decision)
}

test_names_that_only_look_protected if {
	some path in [".git/hooksx", "x.git/hooks", "git/hooks", ".gitconfig", "docs/.git-hooks/a"]
	decision := effects.decision with input as _input([object.union(_file, {"path": path})])
	decision.outcome == "allow"
}

test_failed_program if {
	decision := effects.decision with input as object.union(_input([_file]), {"ended": {"outcome": "EXITED", "exit_code": 1}})
	_rules(decision) == {"effects-failed-program"}
}

test_stopped_program if {
	decision := effects.decision with input as object.union(_input([_file]), {"ended": {"outcome": "TIMED_OUT", "exit_code": -1}})
	_rules(decision) == {"effects-failed-program"}
}

test_failed_program_that_may if {
	decision := effects.decision with input as object.union(_input([_file]), {"ended": {"outcome": "EXITED", "exit_code": 1}})
		with data.sandgate.config.effects as {"keep_failed": true}
	decision.outcome == "allow"
}

test_unknown_end_is_never_allowed if {
	decision := effects.decision with input as object.union(_input([_file]), {"ended": {"outcome": "UNKNOWN", "exit_code": -1}})
		with data.sandgate.config.effects as {"keep_failed": true}
	_rules(decision) == {"effects-undecided"}
}

test_read_only_profiles if {
	decision := effects.decision with input as object.union(_input([_file]), {"session": {"profile": "readonly"}})
		with data.sandgate.profiles.readonly.obligations as {"sandbox": {"workspace": "ro"}}
	"effects-read-only" in _rules(decision)
}

test_unknown_profile if {
	decision := effects.decision with input as object.union(_input([_file]), {"session": {"profile": "nobody"}})
	_rules(decision) == {"effects-undecided"}
}

test_nothing_is_not_allowed if {
	decision := effects.decision with input as {}
	decision.outcome == "deny"
}

test_bounds_of_the_configuration if {
	decision := effects.decision with input as _input([_file, object.union(_file, {"path": "b"})])
		with data.sandgate.config.effects as {"max_changes": 1}
	_rules(decision) == {"effects-too-many"}
}

test_bounds_of_the_profile if {
	decision := effects.decision with input as _input([_file])
		with data.sandgate.profiles.workspace.effects_bounds as {"max_file_bytes": 9}
	_rules(decision) == {"effects-file-size"}
}

_finding := {"rule": "own", "message": "own rule"}

test_rules_of_others if {
	by_profile := effects.decision with input as _input([_file])
		with data.sandgate.profiles.workspace.deny_effects as {_finding}
	by_profile.reasons == [_finding]
	by_operator := effects.decision with input as _input([_file])
		with data.sandgate.extra.mine.deny_effects as {_finding}
	by_operator.reasons == [_finding]
	by_tenant := effects.decision with input as object.union(_input([_file]), {"caller": {"tenant": "acme"}})
		with data.sandgate.tenants.acme.deny_effects as {_finding}
	by_tenant.reasons == [_finding]
}
