package sandgate_test

_unsorted(items) := items if is_null(items)

# Should a part of the decision ever be undefined, the call is refused.
test_without_a_decision_the_call_is_refused if {
	decision := data.sandgate.decision with input as _call("open") with sort as _unsorted
	decision == {
		"outcome": "deny",
		"reasons": [{
			"rule": "undecided",
			"message": "the policy came to no decision about this call",
			"severity": "high",
		}],
		"warnings": [], "shadow": [], "ask": {}, "obligations": {}, "tighten": [], "transform": {}, "labels": [], "grants": [],
	}
}

test_the_whole_decision if {
	_composed({"profile": object.union(_allowing, {
		"obligations": {"sandbox": {"network": "none"}},
		"labels": ["b", "a"],
	})}) == {
		"outcome": "allow", "reasons": [_finding("a")], "warnings": [], "shadow": [], "ask": {},
		"obligations": {"sandbox": {"network": "none"}}, "tighten": set(), "transform": {}, "labels": ["a", "b"], "grants": [],
	}
}

test_a_call_that_nothing_allows_has_a_reason if {
	_composed({}).reasons == [{
		"rule": "not-allowed",
		"message": `no rule of the profile "made" allows this call`,
		"remediation": "use a call that the profile allows, or have this one approved",
		"severity": "low",
	}]
}

_many := {_finding(sprintf("r%02d", [i])) | some i in numbers.range(1, 50)}

test_twenty_reasons_of_every_kind[effect] if {
	some effect in ["deny", "ask", "allow"]
	decision := _composed({"profile": {effect: _many}})
	decision.outcome == effect
	count(decision.reasons) == 20
	decision.reasons[0].rule == "r01"
	decision.reasons[19].rule == "r20"
}

# Of all three kinds at once only those of the strictest are told.
test_reasons_of_the_outcome if {
	everything := {"deny": {_finding("c")}, "ask": {_finding("b")}, "allow": {_finding("a")}}
	_rules(_composed({"profile": everything})) == ["c"]
	_rules(_composed({"profile": object.remove(everything, ["deny"])})) == ["b"]
	_rules(_composed({"profile": object.remove(everything, ["deny", "ask"])})) == ["a"]
}

test_what_tightens_has_its_source if {
	_composed({"profile": _allowing, "extra": {
		"one": {"tighten": {{"sandbox": {"pids": 3}}, {"sandbox": {"pids": 2}}}},
		"two": {"obligations": {"sandbox": {"pids": 1}}},
	}}).tighten == {
		{"source": "extra.one", "obligations": {"sandbox": {"pids": 2}}},
		{"source": "extra.one", "obligations": {"sandbox": {"pids": 3}}},
		{"source": "extra.two", "obligations": {"sandbox": {"pids": 1}}},
	}
}

test_terms_of_packages if {
	asking := {"ask": {_finding("b")}}
	decision := _composed({"profile": asking, "extra": {"x": {"terms": {{"quorum": 2}, {"ttl_ms": 10}}}}})
	decision.ask == {
		"approvers": ["role:oncall", "role:operator"], "quorum": 2, "ttl_ms": 10, "on_timeout": "deny",
	}
	profile := object.union(asking, {"ask_terms": {"quorum": 3}})
	_composed({"profile": profile, "extra": {"x": {"ask_terms": {"quorum": 2}}}}).ask.quorum == 3
	_composed({"profile": profile}).ask.quorum == 3
}

_lowered(ceiling, demanded) := decision.obligations.sandbox if {
	call := object.union(_call("made"), {"sandbox": {"ceiling": ceiling}})
	decision := data.sandgate.decision with input as call
		with data.sandgate.profiles.made as {"obligations": {"sandbox": demanded}}
}

test_lowered[note] if {
	some case in [
		["a number below", {"pids": 5}, {"pids": 4}, {"pids": 4}],
		["the same number", {"pids": 5}, {"pids": 5}, {"pids": 5}],
		["a number above", {"pids": 5}, {"pids": 6}, {"pids": 5}],
		["the ceiling of one", {"pids": 1}, {"pids": 6}, {"pids": 1}],
		["no ceiling", {"pids": 0}, {"pids": 6}, {"pids": 6}],
		["a ceiling that is no number", {"pids": "x"}, {"pids": 6}, {"pids": 6}],
		["a demand that is no number", {"pids": 6}, {"pids": "x"}, {"pids": "x"}],
		["never under never", {"reuse": "never"}, {"reuse": "never"}, {"reuse": "never"}],
		["session under never", {"reuse": "never"}, {"reuse": "session"}, {"reuse": "never"}],
		["caller under never", {"reuse": "never"}, {"reuse": "caller"}, {"reuse": "never"}],
		["never under session", {"reuse": "session"}, {"reuse": "never"}, {"reuse": "never"}],
		["session under session", {"reuse": "session"}, {"reuse": "session"}, {"reuse": "session"}],
		["caller under session", {"reuse": "session"}, {"reuse": "caller"}, {"reuse": "session"}],
		["caller under caller", {"reuse": "caller"}, {"reuse": "caller"}, {"reuse": "caller"}],
		["session under caller", {"reuse": "caller"}, {"reuse": "session"}, {"reuse": "session"}],
		["never under caller", {"reuse": "caller"}, {"reuse": "never"}, {"reuse": "never"}],
		["rw under ro", {"workspace": "ro"}, {"workspace": "rw"}, {"workspace": "ro"}],
		["ro under rw", {"workspace": "rw"}, {"workspace": "ro"}, {"workspace": "ro"}],
		["rw under rw", {"workspace": "rw"}, {"workspace": "rw"}, {"workspace": "rw"}],
		["ro under ro", {"workspace": "ro"}, {"workspace": "ro"}, {"workspace": "ro"}],
	]
	note := case[0]
	_lowered(case[1], case[2]) == case[3]
}

# Each effect of the profile, the operator and the tenant, enforced, warned of and in the shadow.
_said(source, effect) := {"profile": object.union(_allowing, {effect: {_finding("z")}})} if source == "profile"

_said(source, effect) := {"profile": _allowing, "extra": {"x": {effect: {_finding("z")}}}} if source == "extra"

_said(source, effect) := {"profile": _allowing, "tenants": {"acme": {effect: {_finding("z")}}}} if source == "tenant"

test_modes_of_every_source[note] if {
	some source in ["profile", "extra", "tenant"]
	some effect in ["deny", "ask"]
	note := sprintf("%s %s", [source, effect])
	said := _said(source, effect)
	plain := _composed(said)
	[plain.outcome, _rules(plain), plain.warnings, plain.shadow] == [effect, ["z"], [], []]
	enforced := _composed(object.union(said, {"modes": {"z": "enforce"}}))
	[enforced.outcome, _rules(enforced), enforced.warnings, enforced.shadow] == [effect, ["z"], [], []]
	warned := _composed(object.union(said, {"modes": {"z": "warn"}}))
	[warned.outcome, _rules(warned), warned.warnings, warned.shadow] == ["allow", ["a"], [_finding("z")], []]
	shadowed := _composed(object.union(said, {"modes": {"z": "shadow"}}))
	[shadowed.outcome, _rules(shadowed), shadowed.warnings] == ["allow", ["a"], []]
	shadowed.shadow == [{"rule": "z", "would": effect, "message": "m"}]
}

_in_modes(mode) := decision if {
	decision := _composed({"profile": object.union(_allowing, {"deny": {_finding("z")}}), "modes": {"z": mode}})
}

test_the_strictest_mode[note] if {
	some case in [
		["shadow alone", {"tenants": {"acme": "shadow"}}, ["allow", 0, 1]],
		["shadow twice", {"tenants": {"acme": "shadow"}, "profiles": {"made": "shadow"}}, ["allow", 0, 1]],
		["warn alone", {"profiles": {"made": "warn"}}, ["allow", 1, 0]],
		["warn and shadow", {"profiles": {"made": "warn"}, "tenants": {"acme": "shadow"}}, ["allow", 1, 0]],
		["enforce and shadow", {"profiles": {"made": "enforce"}, "tenants": {"acme": "shadow"}}, ["deny", 0, 0]],
		["no word for the call", {"profiles": {"other": "warn"}}, ["deny", 0, 0]],
		["the default", {"default": "warn"}, ["allow", 1, 0]],
		["the default is not stricter", {"default": "warn", "tenants": {"acme": "shadow"}}, ["allow", 0, 1]],
		["an environment", {"environments": {"production": "shadow"}}, ["allow", 0, 1]],
	]
	note := case[0]
	decision := _in_modes(case[1])
	[decision.outcome, count(decision.warnings), count(decision.shadow)] == case[2]
}

test_a_tool_needs_a_name if {
	decision := data.sandgate.decision with input as object.union(_call("open"), {"call": {"tool": ""}, "tool": {"name": ""}})
	_rules(decision) == ["malformed-input"]
}

test_what_is_refused_has_its_rule[note] if {
	some case in [
		["no schema", object.remove(_call("open"), ["schema"]), {"malformed-input"}],
		["another tool", object.union(_call("open"), {"tool": {"name": "x"}}), {"malformed-input"}],
		["no profile", object.remove(_call("open"), ["session"]), {"unknown-profile"}],
		["another profile", _call("no-such"), {"unknown-profile"}],
	]
	note := case[0]
	decision := data.sandgate.decision with input as case[1]
	{rule | some rule in _rules(decision)} == case[2]
}

test_the_profile_that_is_not_there_is_named if {
	decision := data.sandgate.decision with input as _call("no-such")
	decision.reasons[0].message == "there is no profile no-such"
	nameless := data.sandgate.decision with input as object.remove(_call("open"), ["session"])
	nameless.reasons[0].message == "there is no profile without a name"
}

test_hidden_tools if {
	tools := [{"name": "bash"}, {"name": "fetch"}]
	visible := data.sandgate.visible with input as {"session": {"profile": "made"}, "tools": tools}
		with data.sandgate.profiles.made as {"obligations": {}, "hidden": {"fetch"}}
	visible == {"bash"}
}

test_one_transform_of_two_packages if {
	said := {"args": {"command": "ls"}}
	decision := _composed({"profile": _allowing, "extra": {"x": {"transform": said}, "y": {"transform": said}}})
	decision.transform == said
	decision.outcome == "allow"
}

test_ranks_of_the_cage[note] if {
	some case in [
		["caller", {"reuse": "caller"}, {"reuse": "of-the-future"}, {"reuse": "caller"}],
		["rw", {"workspace": "rw"}, {"workspace": "of-the-future"}, {"workspace": "rw"}],
		["an unknown ceiling", {"reuse": "of-the-future"}, {"reuse": "caller"}, {"reuse": "caller"}],
		["an object over a ceiling", {"pids": {}}, {"pids": 1}, {"pids": 1}],
	]
	note := case[0]
	_lowered(case[1], case[2]) == case[3]
}

test_terms_without_a_tenant if {
	asking := {"obligations": {}, "ask": {_finding("b")}}
	decision := data.sandgate.decision with input as _call("made")
		with data.sandgate.profiles.made as asking
		with data.sandgate.tenants as {"acme": {"ask_terms": {"quorum": 3}}}
		with data.sandgate.config as {"ask": {"on_timeout": "deny", "quorum": 1}}
	decision.ask == {"on_timeout": "deny", "quorum": 1}
}

test_rules_of_another_tenant_are_none_of_it[key] if {
	some key in ["deny", "ask", "labels", "obligations", "ask_terms"]
	said := object.get({"labels": {"l"}, "obligations": {"x": 1}, "ask_terms": {"quorum": 9}}, key, {_finding("t")})
	decision := _composed({"profile": _allowing, "tenants": {"other": {key: said}}})
	[decision.outcome, decision.labels, decision.tighten, decision.ask] == ["allow", [], set(), {}]
	asking := _composed({"profile": {"ask": {_finding("b")}}, "tenants": {"other": {key: said}}})
	[asking.outcome, _rules(asking), asking.ask.quorum] == ["ask", ["b"], 1]
}

test_no_reasons_without_anything if {
	reasons := data.sandgate.reasons with input as {} with sort as _unsorted
	reasons == []
}
