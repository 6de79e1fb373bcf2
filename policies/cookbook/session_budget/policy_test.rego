package cookbook.session_budget_test

import data.cookbook.lines_test as lines
import data.cookbook.session_budget as tested

# Calls with the facts that sandgate derives from them, and the rules that they break.
_cases := {
	"ls": {"input": {"call": {"tool": "bash", "args": {"command": "ls"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "ls", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {"allow": 10}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"ls (2)": {"input": {"call": {"tool": "bash", "args": {"command": "ls"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "ls", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {"allow": 399}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"ls (3)": {"input": {"call": {"tool": "bash", "args": {"command": "ls"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "ls", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {"allow": 400}, "recent": [], "id": "s"}}, "deny": [], "ask": ["session-budget-near"]},
	"ls (4)": {"input": {"call": {"tool": "bash", "args": {"command": "ls"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "ls", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {"allow": 300, "deny": 199}, "recent": [], "id": "s"}}, "deny": [], "ask": ["session-budget-near"]},
	"ls (5)": {"input": {"call": {"tool": "bash", "args": {"command": "ls"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "ls", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {"allow": 400, "deny": 100}, "recent": [], "id": "s"}}, "deny": ["session-budget"], "ask": []},
	"ls (6)": {"input": {"call": {"tool": "bash", "args": {"command": "ls"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "ls", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": []}}, "deny": ["no-session"], "ask": []},
}

test_deny[note] if {
	some note, case in _cases
	{finding.rule | some finding in tested.deny with input as case.input} == {rule | some rule in case.deny}
}

_not_denied := {note: case |
	some note, case in _cases
	case.deny == []
}

test_ask[note] if {
	some note, case in _not_denied
	{finding.rule | some finding in tested.ask with input as case.input} == {rule | some rule in case.ask}
}

test_policy if tested.policy == "session_budget"

_rules(session) := {"deny": lines.rules(denied), "ask": lines.rules(asked)} if {
	denied := tested.deny with input as {"session": session}
	asked := tested.ask with input as {"session": session}
}

test_bounds if {
	_rules({"id": "s", "counts": {"allow": 300, "deny": 99}}) == {"deny": set(), "ask": set()}
	_rules({"id": "s", "counts": {"allow": 300, "deny": 100}}) == {"deny": set(), "ask": {"session-budget-near"}}
	_rules({"id": "s", "counts": {"allow": 499}}) == {"deny": set(), "ask": {"session-budget-near"}}
	_rules({"id": "s", "counts": {"allow": 500}}) == {"deny": {"session-budget"}, "ask": {"session-budget-near"}}
	_rules({"counts": {}}) == {"deny": {"no-session"}, "ask": set()}
}
