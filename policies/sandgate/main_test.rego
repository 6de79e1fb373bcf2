package sandgate_test

# A call of the tool bash in the given profile, with nothing known about it.
_call(profile) := {
	"schema": "sandgate.input/v1",
	"session": {"profile": profile, "labels": []},
	"call": {"id": "1", "tool": "bash", "args": {}},
	"tool": {"name": "bash"},
	"sandbox": {"ceiling": {}},
}

_finding(rule) := {"rule": rule, "message": "m"}

# The decision of a profile that says these things.
_decide(says, modes) := decision if {
	decision := data.sandgate.decision with input as _call("made")
		with data.sandgate.profiles.made as object.union({"obligations": {}}, says)
		with data.sandgate.config as {"modes": modes, "ask": {"approvers": ["role:operator"], "on_timeout": "deny"}}
}

_rules(decision) := [reason.rule | some reason in decision.reasons]

_combinations := {
	"nothing": {"says": {}, "outcome": "ask", "rules": ["not-allowed"]},
	"allow": {"says": {"allow": {_finding("a")}}, "outcome": "allow", "rules": ["a"]},
	"ask": {"says": {"ask": {_finding("b")}}, "outcome": "ask", "rules": ["b"]},
	"deny": {"says": {"deny": {_finding("c")}}, "outcome": "deny", "rules": ["c"]},
	"allow and ask": {
		"says": {"allow": {_finding("a")}, "ask": {_finding("b")}},
		"outcome": "ask",
		"rules": ["b"],
	},
	"allow and deny": {
		"says": {"allow": {_finding("a")}, "deny": {_finding("c")}},
		"outcome": "deny",
		"rules": ["c"],
	},
	"ask and deny": {
		"says": {"ask": {_finding("b")}, "deny": {_finding("c")}},
		"outcome": "deny",
		"rules": ["c"],
	},
	"all": {
		"says": {"allow": {_finding("a")}, "ask": {_finding("b")}, "deny": {_finding("c"), _finding("d")}},
		"outcome": "deny",
		"rules": ["c", "d"],
	},
}

test_precedence[note] if {
	some note, case in _combinations
	decision := _decide(case.says, {})
	decision.outcome == case.outcome
	_rules(decision) == case.rules
	decision.warnings == []
	decision.shadow == []
}

_softened := {
	"deny in mode warn": {
		"says": {"allow": {_finding("a")}, "deny": {_finding("c")}},
		"modes": {"c": "warn"},
		"outcome": "allow",
		"warnings": [_finding("c")],
		"shadow": [],
	},
	"ask in mode warn": {
		"says": {"allow": {_finding("a")}, "ask": {_finding("b")}},
		"modes": {"b": "warn"},
		"outcome": "allow",
		"warnings": [_finding("b")],
		"shadow": [],
	},
	"deny in mode shadow": {
		"says": {"allow": {_finding("a")}, "deny": {_finding("c")}},
		"modes": {"c": "shadow"},
		"outcome": "allow",
		"warnings": [],
		"shadow": [{"rule": "c", "would": "deny", "message": "m"}],
	},
	"allow in mode shadow": {
		"says": {"allow": {_finding("a")}},
		"modes": {"a": "shadow"},
		"outcome": "ask",
		"warnings": [],
		"shadow": [{"rule": "a", "would": "allow", "message": "m"}],
	},
	"allow in mode warn": {
		"says": {"allow": {_finding("a")}},
		"modes": {"a": "warn"},
		"outcome": "ask",
		"warnings": [],
		"shadow": [],
	},
	"mode enforce": {
		"says": {"allow": {_finding("a")}, "deny": {_finding("c")}},
		"modes": {"c": "enforce"},
		"outcome": "deny",
		"warnings": [],
		"shadow": [],
	},
	"a mode that does not exist": {
		"says": {"allow": {_finding("a")}, "deny": {_finding("c")}},
		"modes": {"c": "off"},
		"outcome": "deny",
		"warnings": [],
		"shadow": [],
	},
	"a finding without a rule id": {
		"says": {"allow": {_finding("a")}, "deny": {{"message": "m"}}},
		"modes": {"c": "warn"},
		"outcome": "deny",
		"warnings": [],
		"shadow": [],
	},
}

test_softened[note] if {
	some note, case in _softened
	decision := _decide(case.says, case.modes)
	decision.outcome == case.outcome
	decision.warnings == case.warnings
	decision.shadow == case.shadow
}

test_without_modes_every_rule_is_enforced if {
	decision := data.sandgate.decision with input as _call("made")
		with data.sandgate.profiles.made as {"obligations": {}, "allow": {_finding("a")}, "deny": {_finding("c")}}
		with data.sandgate.config as {}
	decision.outcome == "deny"
}

_refused := {
	"empty input": {},
	"only a schema": {"schema": "sandgate.input/v1"},
	"no schema": object.remove(_call("open"), ["schema"]),
	"another schema": object.union(_call("open"), {"schema": "sandgate.input/v2"}),
	"no call": object.remove(_call("open"), ["call"]),
	"no tool": object.remove(_call("open"), ["tool"]),
	"another tool than the declared": object.union(_call("open"), {"tool": {"name": "python"}}),
	"an empty tool name": object.union(_call("open"), {"call": {"tool": ""}, "tool": {"name": ""}}),
	"no session": object.remove(_call("open"), ["session"]),
	"a profile that does not exist": _call("no-such"),
	"a profile without a name": _call(""),
	"a profile that is no profile": _call("open_test"),
}

test_never_allowed[note] if {
	some note, document in _refused
	decision := data.sandgate.decision with input as document
	decision.outcome == "deny"
	count(decision.reasons) > 0
	count({"malformed-input", "unknown-profile"} & {rule | some rule in _rules(decision)}) > 0
}

test_refusals_cannot_be_softened if {
	decision := data.sandgate.decision with input as _call("no-such")
		with data.sandgate.config.modes as {"unknown-profile": "shadow", "malformed-input": "warn"}
	decision.outcome == "deny"
}

test_only_an_ask_has_terms if {
	_decide({"allow": {_finding("a")}}, {}).ask == {}
	_decide({"deny": {_finding("a")}}, {}).ask == {}
	ask := _decide({"ask": {_finding("a")}, "ask_terms": {"quorum": 2}}, {}).ask
	ask.quorum == 2
	ask.on_timeout == "deny"
	ask.approvers == ["role:operator"]
}

test_terms_without_configuration if {
	decision := data.sandgate.decision with input as _call("readonly") with data.sandgate.config as {}
	decision.ask == {"on_timeout": "deny"}
}

test_obligations_are_lowered_to_the_ceiling if {
	call := object.union(_call("made"), {"sandbox": {"ceiling": {
		"pids": 10,
		"memory_bytes": 1000,
		"wall_time_ms": 0,
		"reuse": "session",
		"workspace": "rw",
		"network": "none",
	}}})
	demanded := {
		"sandbox": {"pids": 20, "memory_bytes": 500, "wall_time_ms": 7, "reuse": "caller", "workspace": "ro", "network": "none"},
		"exec": {"env_set": {"A": "b"}},
	}
	decision := data.sandgate.decision with input as call
		with data.sandgate.profiles.made as {"obligations": demanded}
	decision.obligations == {
		"sandbox": {
			"pids": 10,
			"memory_bytes": 500,
			"wall_time_ms": 7,
			"reuse": "session",
			"workspace": "ro",
			"network": "none",
		},
		"exec": {"env_set": {"A": "b"}},
	}
}

test_obligations_without_a_ceiling if {
	decision := data.sandgate.decision with input as object.remove(_call("open"), ["sandbox"])
	decision.obligations.sandbox.network == "none"
}

test_a_profile_may_demand_nothing if {
	decision := data.sandgate.decision with input as _call("made")
		with data.sandgate.profiles.made as {"obligations": {"exec": {"env_drop": ["*_TOKEN"]}}}
	decision.obligations == {"exec": {"env_drop": ["*_TOKEN"]}}
}

test_labels_of_profile_and_extra_packages if {
	decision := data.sandgate.decision with input as _call("made")
		with data.sandgate.profiles.made as {"obligations": {}, "labels": ["b", "a"]}
		with data.sandgate.extra as {"acme": {"labels": {"c"}}, "other": {}}
	decision.labels == ["a", "b", "c"]
}

test_extra_packages_tighten_every_profile if {
	denied := data.sandgate.decision with input as _call("open")
		with data.sandgate.extra as {"acme": {"deny": {_finding("acme-deny")}}}
	denied.outcome == "deny"
	_rules(denied) == ["acme-deny"]
	asked := data.sandgate.decision with input as _call("open")
		with data.sandgate.extra as {"acme": {"ask": {_finding("acme-ask")}}}
	asked.outcome == "ask"
	_rules(asked) == ["acme-ask"]
}

test_extra_packages_cannot_allow if {
	decision := data.sandgate.decision with input as _call("locked")
		with data.sandgate.extra as {"acme": {"allow": {_finding("acme-allow")}}}
	decision.outcome == "deny"
	asked := data.sandgate.decision with input as _call("made")
		with data.sandgate.profiles.made as {"obligations": {}}
		with data.sandgate.extra as {"acme": {"allow": {_finding("acme-allow")}}}
	asked.outcome == "ask"
}

test_at_most_twenty_reasons if {
	many := {_finding(sprintf("r%d", [i])) | some i in numbers.range(1, 50)}
	count(_decide({"deny": many}, {}).reasons) == 20
}

_tools := [{"name": "bash"}, {"name": "read_file"}]

_shown := {
	"open": {"bash", "read_file"},
	"workspace": {"bash", "read_file"},
	"readonly": {"bash", "read_file"},
	"locked": set(),
	"no-such": set(),
}

test_visible[profile] if {
	some profile, names in _shown
	visible := data.sandgate.visible with input as {"session": {"profile": profile}, "tools": _tools}
	visible == names
}

test_nothing_is_visible_without_a_session if {
	visible := data.sandgate.visible with input as {"tools": _tools}
	visible == set()
}
