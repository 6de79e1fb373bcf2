package sandgate_test

# The decision on a call of the tenant in the environment, with what the profile, the operator and the tenant say.
_composed(parts) := decision if {
	call := _call("made")
	decision := data.sandgate.decision with input as object.union(call, {
		"caller": {"id": "a", "tenant": object.get(parts, "tenant", "acme")},
		"daemon": {"environment": object.get(parts, "environment", "production")},
	})
		with data.sandgate.profiles.made as object.union({"obligations": {}}, object.get(parts, "profile", {}))
		with data.sandgate.extra as object.get(parts, "extra", {})
		with data.sandgate.tenants as object.get(parts, "tenants", {})
		with data.sandgate.config as {
			"modes": object.get(parts, "modes", {}),
			"ask": {"approvers": ["role:operator", "role:oncall"], "quorum": 1, "ttl_ms": 1000, "on_timeout": "deny"},
		}
}

_allowing := {"allow": {_finding("a")}}

_parts := {
	"a tenant denies what the profile allows": {
		"parts": {"profile": _allowing, "tenants": {"acme": {"deny": {_finding("t")}}}},
		"outcome": "deny",
		"rules": ["t"],
	},
	"a tenant asks for what the profile allows": {
		"parts": {"profile": _allowing, "tenants": {"acme": {"ask": {_finding("t")}}}},
		"outcome": "ask",
		"rules": ["t"],
	},
	"another tenant's rules are none of it": {
		"parts": {"profile": _allowing, "tenants": {"other": {"deny": {_finding("t")}}}},
		"outcome": "allow",
		"rules": ["a"],
	},
	"a tenant cannot allow": {
		"parts": {"tenants": {"acme": {"allow": {_finding("t")}}}},
		"outcome": "ask",
		"rules": ["not-allowed"],
	},
	"a tenant cannot allow what is asked": {
		"parts": {"profile": {"ask": {_finding("b")}}, "tenants": {"acme": {"allow": {_finding("t")}}}},
		"outcome": "ask",
		"rules": ["b"],
	},
	"a tenant cannot allow what is denied": {
		"parts": {"profile": {"deny": {_finding("c")}}, "tenants": {"acme": {"allow": {_finding("t")}}}},
		"outcome": "deny",
		"rules": ["c"],
	},
	"a tenant's ask is no way past a deny": {
		"parts": {"profile": {"deny": {_finding("c")}}, "tenants": {"acme": {"ask": {_finding("t")}}}},
		"outcome": "deny",
		"rules": ["c"],
	},
	"a tenant's mode says nothing": {
		"parts": {"profile": {"deny": {_finding("c")}}, "tenants": {"acme": {"modes": {"c": "shadow"}}}},
		"outcome": "deny",
		"rules": ["c"],
	},
	"a tenant's transform says nothing": {
		"parts": {"profile": _allowing, "tenants": {"acme": {"transform": {"args": {"command": "x"}}}}},
		"outcome": "allow",
		"rules": ["a"],
	},
	"an operator's package cannot allow": {
		"parts": {"extra": {"x": {"allow": {_finding("t")}}}},
		"outcome": "ask",
		"rules": ["not-allowed"],
	},
	"deny of the operator over ask of the tenant": {
		"parts": {
			"profile": _allowing,
			"extra": {"x": {"deny": {_finding("x")}}},
			"tenants": {"acme": {"ask": {_finding("t")}}},
		},
		"outcome": "deny",
		"rules": ["x"],
	},
	"two packages deny": {
		"parts": {
			"profile": _allowing,
			"extra": {"x": {"deny": {_finding("x")}}, "y": {"ask": {_finding("y")}}},
			"tenants": {"acme": {"deny": {_finding("t")}}},
		},
		"outcome": "deny",
		"rules": ["t", "x"],
	},
}

test_parts[note] if {
	some note, case in _parts
	decision := _composed(case.parts)
	decision.outcome == case.outcome
	_rules(decision) == case.rules
	decision.transform == {}
}

test_obligations_of_the_parts_are_told_with_their_source if {
	decision := _composed({
		"profile": object.union(_allowing, {"obligations": {"sandbox": {"pids": 5}}}),
		"extra": {"x": {"obligations": {"sandbox": {"pids": 4}}}, "y": {"deny": set()}},
		"tenants": {"acme": {"obligations": {"sandbox": {"pids": 9}}}, "other": {"obligations": {"sandbox": {"pids": 1}}}},
	})
	decision.obligations == {"sandbox": {"pids": 5}}
	decision.tighten == {
		{"source": "extra.x", "obligations": {"sandbox": {"pids": 4}}},
		{"source": "tenants.acme", "obligations": {"sandbox": {"pids": 9}}},
	}
}

test_labels_of_all_parts if {
	decision := _composed({
		"profile": object.union(_allowing, {"labels": {"p"}}),
		"extra": {"x": {"labels": {"e"}}},
		"tenants": {"acme": {"labels": {"t"}}, "other": {"labels": {"o"}}},
	})
	decision.labels == ["e", "p", "t"]
}

test_nothing_beside_the_profile if {
	decision := _composed({"profile": _allowing})
	decision.tighten == set()
	decision.labels == []
	decision.transform == {}
}

_terms := {
	"none beside the profile's": {
		"parts": {},
		"want": {"approvers": ["role:operator", "role:oncall"], "quorum": 1, "ttl_ms": 1000, "on_timeout": "deny"},
	},
	"more of everything": {
		"parts": {
			"extra": {"x": {"ask_terms": {"quorum": 2, "approvers": ["role:oncall", "role:nobody"]}}},
			"tenants": {"acme": {"ask_terms": {"quorum": 3, "ttl_ms": 500, "on_timeout": "allow"}}},
		},
		"want": {"approvers": ["role:oncall"], "quorum": 3, "ttl_ms": 500, "on_timeout": "deny"},
	},
	"less of everything": {
		"parts": {"tenants": {"acme": {"ask_terms": {"quorum": 0, "ttl_ms": 900000, "approvers": ["role:acme"]}}}},
		"want": {"approvers": ["role:oncall", "role:operator"], "quorum": 1, "ttl_ms": 1000, "on_timeout": "deny"},
	},
	"a tenant whose approvers are none of those that the operator left": {
		"parts": {
			"extra": {"x": {"ask_terms": {"approvers": ["role:oncall"]}}},
			"tenants": {"acme": {"ask_terms": {"approvers": ["role:acme"]}}},
		},
		"want": {"approvers": ["role:oncall"], "quorum": 1, "ttl_ms": 1000, "on_timeout": "deny"},
	},
	"a tenant who names only what the operator left out": {
		"parts": {
			"extra": {"x": {"ask_terms": {"approvers": ["role:oncall"]}}},
			"tenants": {"acme": {"ask_terms": {"approvers": ["role:operator"]}}},
		},
		"want": {"approvers": ["role:oncall"], "quorum": 1, "ttl_ms": 1000, "on_timeout": "deny"},
	},
	"no time at all": {
		"parts": {"tenants": {"acme": {"ask_terms": {"ttl_ms": 0}}}},
		"want": {"approvers": ["role:oncall", "role:operator"], "quorum": 1, "ttl_ms": 1000, "on_timeout": "deny"},
	},
}

test_terms[note] if {
	some note, case in _terms
	decision := _composed(object.union(case.parts, {"profile": {"ask": {_finding("b")}}}))
	decision.ask == case.want
}

_modes := {
	"a word": {"mode": "shadow", "outcome": "ask", "shadow": ["c"], "warnings": []},
	"an environment": {
		"mode": {"environments": {"production": "warn"}},
		"outcome": "ask",
		"shadow": [],
		"warnings": ["c"],
	},
	"another environment": {
		"mode": {"environments": {"staging": "warn"}},
		"outcome": "deny",
		"shadow": [],
		"warnings": [],
	},
	"another environment and a default": {
		"mode": {"environments": {"staging": "enforce"}, "default": "shadow"},
		"outcome": "ask",
		"shadow": ["c"],
		"warnings": [],
	},
	"the environment over the default": {
		"mode": {"environments": {"production": "enforce"}, "default": "shadow"},
		"outcome": "deny",
		"shadow": [],
		"warnings": [],
	},
	"a profile": {"mode": {"profiles": {"made": "shadow"}}, "outcome": "ask", "shadow": ["c"], "warnings": []},
	"a tenant": {"mode": {"tenants": {"acme": "shadow"}}, "outcome": "ask", "shadow": ["c"], "warnings": []},
	"the strictest of those that name the call": {
		"mode": {"tenants": {"acme": "shadow"}, "environments": {"production": "warn"}},
		"outcome": "ask",
		"shadow": [],
		"warnings": ["c"],
	},
	"enforce is the strictest": {
		"mode": {"tenants": {"acme": "shadow"}, "profiles": {"made": "warn"}, "environments": {"production": "enforce"}},
		"outcome": "deny",
		"shadow": [],
		"warnings": [],
	},
	"an unknown word": {
		"mode": {"tenants": {"acme": "off"}, "profiles": {"made": "warn"}},
		"outcome": "deny",
		"shadow": [],
		"warnings": [],
	},
	"an unknown kind": {"mode": {"callers": {"a": "shadow"}}, "outcome": "deny", "shadow": [], "warnings": []},
	"no word": {"mode": 1, "outcome": "deny", "shadow": [], "warnings": []},
}

test_modes[note] if {
	some note, case in _modes
	decision := _composed({"profile": {"deny": {_finding("c")}}, "modes": {"c": case.mode}})
	decision.outcome == case.outcome
	[entry.rule | some entry in decision.shadow] == case.shadow
	[entry.rule | some entry in decision.warnings] == case.warnings
}

test_modes_hold_for_all_parts if {
	decision := _composed({
		"profile": _allowing,
		"extra": {"x": {"deny": {_finding("x")}, "ask": {_finding("w")}}},
		"tenants": {"acme": {"deny": {_finding("t")}, "ask": {_finding("u")}}},
		"modes": {"x": "shadow", "w": "warn", "t": "warn", "u": "shadow"},
	})
	decision.outcome == "allow"
	[[entry.rule, entry.would] | some entry in decision.shadow] == [["u", "ask"], ["x", "deny"]]
	[entry.rule | some entry in decision.warnings] == ["t", "w"]
}

test_transform if {
	said := {"args": {"command": "ls"}}
	_composed({"profile": object.union(_allowing, {"transform": said})}).transform == said
	_composed({"profile": _allowing, "extra": {"x": {"transform": said}}}).transform == said
	decision := _composed({"profile": object.union(_allowing, {"transform": said}), "extra": {"x": {"transform": {"args": {}}}}})
	decision.outcome == "deny"
	_rules(decision) == ["transform-conflict"]
	decision.transform == {}
}
