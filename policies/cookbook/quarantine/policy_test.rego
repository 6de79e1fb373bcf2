package cookbook.quarantine_test

import data.cookbook.lines_test as lines
import data.cookbook.quarantine as tested

# Calls with the facts that sandgate derives from them, and the rules that they break.
_cases := {
	"ls": {"input": {"call": {"tool": "bash", "args": {"command": "ls"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "ls", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [{"seq": 1, "tool": "bash", "outcome": "DENIED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 2, "tool": "bash", "outcome": "DENIED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 3, "tool": "bash", "outcome": "DENIED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 4, "tool": "bash", "outcome": "DENIED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}], "id": "s"}}, "deny": [], "ask": []},
	"ls (2)": {"input": {"call": {"tool": "bash", "args": {"command": "ls"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "ls", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [{"seq": 1, "tool": "bash", "outcome": "DENIED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 2, "tool": "bash", "outcome": "DENIED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 3, "tool": "bash", "outcome": "DENIED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 4, "tool": "bash", "outcome": "DENIED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 5, "tool": "bash", "outcome": "DENIED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}], "id": "s"}}, "deny": [], "ask": ["quarantined"]},
	"ls (3)": {"input": {"call": {"tool": "bash", "args": {"command": "ls"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "ls", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [{"seq": 1, "tool": "bash", "outcome": "DENIED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 2, "tool": "bash", "outcome": "DENIED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 3, "tool": "bash", "outcome": "DENIED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 4, "tool": "bash", "outcome": "DENIED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 5, "tool": "bash", "outcome": "DENIED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 1, "tool": "bash", "outcome": "EXITED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 2, "tool": "bash", "outcome": "EXITED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 3, "tool": "bash", "outcome": "EXITED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 4, "tool": "bash", "outcome": "EXITED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 5, "tool": "bash", "outcome": "EXITED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 6, "tool": "bash", "outcome": "EXITED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 7, "tool": "bash", "outcome": "EXITED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 8, "tool": "bash", "outcome": "EXITED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 9, "tool": "bash", "outcome": "EXITED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}, {"seq": 10, "tool": "bash", "outcome": "EXITED", "time": "2026-11-23T08:59:30Z", "digest": "sha256:0"}], "id": "s"}}, "deny": [], "ask": []},
	"ls (4)": {"input": {"call": {"tool": "bash", "args": {"command": "ls"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "ls", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": ["quarantined"], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["quarantined"]},
}

_not_denied := {note: case |
	some note, case in _cases
	case.deny == []
}

test_ask[note] if {
	some note, case in _not_denied
	{finding.rule | some finding in tested.ask with input as case.input} == {rule | some rule in case.ask}
}

_labels := {}

test_labels[note] if {
	some note, labels in _labels
	document := _cases[note].input
	got := tested.labels with input as document
	got == {label | some label in labels}
}

test_policy if tested.policy == "quarantine"

_refused(n) := [{"outcome": "DENIED"} | some _ in numbers.range(1, n)]

_other(n) := [{"outcome": "OK"} | some _ in numbers.range(1, n)]

_says(session) := {"ask": lines.rules(asked), "labels": labels} if {
	asked := tested.ask with input as {"session": session}
	labels := tested.labels with input as {"session": session}
}

_kept := {"ask": {"quarantined"}, "labels": {"quarantined"}}

_free := {"ask": set(), "labels": set()}

test_each if {
	_says({"labels": [], "recent": array.concat(_refused(5), _other(5))}) == _kept
	_says({"labels": [], "recent": array.concat(_refused(5), _other(6))}) == _free
	_says({"labels": [], "recent": array.concat(_refused(4), _other(6))}) == _free
	_says({"labels": ["quarantined"], "recent": []}) == _kept
	_says({"labels": ["other"], "recent": []}) == _free
}

test_cage if {
	tested.obligations == {"sandbox": {"reuse": "never"}} with input as {"session": {"labels": ["quarantined"], "recent": []}}
	not tested.obligations with input as {"session": {"labels": [], "recent": []}}
}

test_number_of_settings if {
	count(tested.ask) == 1 with input as {"session": {"labels": [], "recent": _refused(2)}}
		with data.sandgate.config.settings as {"quarantine": {"denials": 2}}
}
