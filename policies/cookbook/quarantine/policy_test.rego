package cookbook.quarantine_test

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
