package sandgate.extra.cookbook_test

import data.sandgate.extra.cookbook

_input(labels) := {
	"session": {"profile": "made", "labels": labels, "counts": {}, "recent": []},
	"call": {"tool": "bash", "args": {"command": "git push"}},
	"tool": {"name": "bash", "source": "builtin", "effects": ["execute"], "risk": "medium", "annotations": {}},
	"time": "2026-11-23T23:00:00Z",
}

_says := {"policy": "made", "deny": {{"rule": "d"}}, "ask": {{"rule": "a"}}, "labels": {"l"}, "obligations": {"x": 1}, "ask_terms": {"quorum": 3}, "transform": {"args": {}}}

_on(labels, config) := {"deny": denied, "ask": asked} if {
	deny := cookbook.deny with input as _input(labels)
		with data.sandgate.config as {"cookbook": config}
		with data.cookbook.made as _says
	ask := cookbook.ask with input as _input(labels)
		with data.sandgate.config as {"cookbook": config}
		with data.cookbook.made as _says
	denied := {finding.rule | some finding in deny}
	asked := {finding.rule | some finding in ask}
}

_nothing := {"deny": set(), "ask": set()}

_made := {"deny": {"d"}, "ask": {"a"}}

test_off if {
	_on([], {}) == _nothing
	_on(["other"], {"elsewhere": ["made"]}) == _nothing
}

test_on if {
	_on(["policy:made"], {}) == _made
	_on([], {"made": ["made"]}) == _made
	_on([], {"*": ["made"]}) == _made
}

test_unknown_name_denies if {
	_on([], {"*": ["nothing"]}) == {"deny": {"unknown-cookbook-policy"}, "ask": set()}
	_on(["policy:"], {}) == {"deny": {"unknown-cookbook-policy"}, "ask": set()}
}

test_what_else_they_say if {
	cookbook.labels == {"l"} with input as _input(["policy:made"]) with data.cookbook.made as _says
	cookbook.tighten == {{"x": 1}} with input as _input(["policy:made"]) with data.cookbook.made as _says
	cookbook.terms == {{"quorum": 3}} with input as _input(["policy:made"]) with data.cookbook.made as _says
	cookbook.transform == {"args": {}} with input as _input(["policy:made"]) with data.cookbook.made as _says
	not cookbook.transform with input as _input([]) with data.cookbook.made as _says
}

_obligations(name, changes) := said if {
	said := data.cookbook[name].obligations with input as object.union(_input([]), changes)
}

test_obligations if {
	_obligations("readonly_at_night", {}) == {"sandbox": {"workspace": "ro"}}
	_obligations("cost_limits", {}).sandbox.wall_time_ms == 300000
	_obligations("cost_limits", {"tool": {"risk": "extreme"}}).sandbox.wall_time_ms == 30000
	"private-key" in _obligations("redact_secrets", {}).output.redact
	_obligations("redact_secrets", {}).output.patterns == {}
	"aws-key" in _obligations("secret_files", {}).output.redact
	_obligations("gvisor_for_downloads", {"session": {"labels": ["downloaded"]}}).sandbox.isolation == "gvisor"
	_obligations("quarantine", {"session": {"labels": ["quarantined"]}}).sandbox.reuse == "never"
	_obligations("untrusted_output_limit", {"tool": {"source": "operator", "annotations": {"openWorldHint": true}}}).sandbox.output_bytes == 65536
	_obligations("untrusted_output_limit", {"tool": {"source": "operator"}}).output.labels == ["saw:untrusted"]
}

test_no_obligations if {
	not _obligations("readonly_at_night", {"time": "2026-11-23T12:00:00Z"})
	not _obligations("gvisor_for_downloads", {})
	not _obligations("quarantine", {})
	not _obligations("untrusted_output_limit", {})
	not _obligations("untrusted_output_limit", {"tool": {"source": "operator", "annotations": {"openWorldHint": false}}})
}

_push(command, facts) := {"call": {
	"args": {"command": command},
	"shell": {"commands": [{"index": 0, "base": "git", "args": [], "redirects": [], "git": {"sub": "push", "push": facts}}]},
}}

test_transform if {
	made := data.cookbook.push_dry_run.transform with input as object.union(
		_input([]),
		_push("git push origin x", {"complete": true, "dry_run": false}),
	)
	made == {"args": {"command": "git push origin x --dry-run"}}
}

test_no_transform if {
	documents := [
		_push("git push --dry-run", {"complete": true, "dry_run": true}),
		_push("git push $X", {"complete": false, "dry_run": false}),
		_push("git push; x", {"complete": true, "dry_run": false}),
		_push("git push -- x", {"complete": true, "dry_run": false}),
	]
	every document in documents {
		not data.cookbook.push_dry_run.transform with input as object.union(_input([]), document)
	}
}

test_two_approvals if {
	data.cookbook.two_person_delete.ask_terms == {"quorum": 2} with data.cookbook.two_person_delete.ask as {"x"}
	not data.cookbook.two_person_delete.ask_terms with data.cookbook.two_person_delete.ask as set()
	data.cookbook.migrations.ask_terms == {"quorum": 2} with data.cookbook.migrations.ask as {"x"}
	not data.cookbook.migrations.ask_terms with data.cookbook.migrations.ask as set()
}

# Settings of the operator take the place of the built-in ones.
test_settings if {
	call := object.union(_input([]), {"call": {"shell": {"commands": [{
		"index": 0, "base": "git", "args": [], "redirects": [],
		"git": {"sub": "push", "push": {"complete": true, "refs": [{"dst": "trunk"}]}},
	}]}}})
	count(data.cookbook.protected_branches.deny) == 0 with input as call
	count(data.cookbook.protected_branches.deny) == 1 with input as call
		with data.sandgate.config.settings as {"protected_branches": {"branches": ["trunk"]}}
	limited := object.union(_input([]), {"session": {"id": "s", "counts": {"allow": 3}}})
	count(data.cookbook.session_budget.deny) == 1 with input as limited
		with data.sandgate.config.settings as {"session_budget": {"calls": 3, "ask_from": 2}}
}

test_labels_that_are_none if {
	_on(["policy_made", "made", "xpolicy:made"], {}) == _nothing
	_on(["policy:made"], {"made": ["nothing"]}) == {"deny": {"d", "unknown-cookbook-policy"}, "ask": {"a"}}
}

test_what_is_off_says_nothing if {
	cookbook.labels == set() with input as _input([]) with data.cookbook.made as _says
	cookbook.tighten == set() with input as _input([]) with data.cookbook.made as _says
	cookbook.terms == set() with input as _input([]) with data.cookbook.made as _says
}
