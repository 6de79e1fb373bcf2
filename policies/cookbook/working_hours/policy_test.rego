package cookbook.working_hours_test

import data.cookbook.lines_test as lines
import data.cookbook.working_hours as tested

# Calls with the facts that sandgate derives from them, and the rules that they break.
_cases := {
	"make": {"input": {"call": {"tool": "bash", "args": {"command": "make"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "make", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}, "time": "2026-11-23T09:00:00Z"}, "deny": [], "ask": []},
	"make (2)": {"input": {"call": {"tool": "bash", "args": {"command": "make"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "make", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}, "time": "2026-11-23T18:00:00Z"}, "deny": ["working-hours"], "ask": []},
	"make (3)": {"input": {"call": {"tool": "bash", "args": {"command": "make"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "make", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}, "time": "2026-11-22T09:00:00Z"}, "deny": ["working-hours"], "ask": []},
	"make (4)": {"input": {"call": {"tool": "bash", "args": {"command": "make"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "make", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}, "time": "2026-11-23T06:59:00Z"}, "deny": ["working-hours"], "ask": []},
	"make (5)": {"input": {"call": {"tool": "bash", "args": {"command": "make"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "make", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}, "time": "2026-11-23T07:00:00Z"}, "deny": [], "ask": []},
	"make (6)": {"input": {"call": {"tool": "bash", "args": {"command": "make"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "make", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}, "time": "2026-11-23T17:00:00Z"}, "deny": ["working-hours"], "ask": []},
	"reading at night": {"input": {"call": {"tool": "read_file", "args": {"path": "a"}, "files": [{"op": "read", "path": "a", "abs": "/workspace/a", "real": "/workspace/a", "exists": false, "in_workspace": true}]}, "tool": {"name": "read_file", "source": "builtin", "effects": ["read"], "risk": "low", "annotations": {"destructiveHint": false, "idempotentHint": true, "openWorldHint": false, "readOnlyHint": true}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}, "time": "2026-11-23T02:00:00Z"}, "deny": [], "ask": []},
}

test_deny[note] if {
	some note, case in _cases
	{finding.rule | some finding in tested.deny with input as case.input} == {rule | some rule in case.deny}
}

test_policy if tested.policy == "working_hours"

_at(time, effects) := lines.rules(found) if {
	found := tested.deny with input as {"time": time, "tool": {"effects": effects}}
}

# Berlin is an hour ahead of UTC in winter; the 23rd is a Monday.
test_hours if {
	_at("2026-11-23T07:00:00Z", ["write"]) == set()
	_at("2026-11-23T06:59:00Z", ["write"]) == {"working-hours"}
	_at("2026-11-23T16:59:00Z", ["write"]) == set()
	_at("2026-11-23T17:00:00Z", ["write"]) == {"working-hours"}
	_at("2026-11-22T12:00:00Z", ["write"]) == {"working-hours"}
}

test_effects if {
	_at("2026-11-22T12:00:00Z", ["read"]) == set()
	_at("2026-11-22T12:00:00Z", ["read", "write"]) == {"working-hours"}
	_at("2026-11-22T12:00:00Z", []) == {"working-hours"}
}

test_hours_of_settings if {
	_at("2026-11-23T20:00:00Z", ["write"]) == set() with data.sandgate.config.settings as {"working_hours": {"zone": "UTC", "from": 20, "to": 21}}
}
