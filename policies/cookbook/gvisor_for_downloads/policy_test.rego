package cookbook.gvisor_for_downloads_test

import data.cookbook.gvisor_for_downloads as tested

# Calls with the facts that sandgate derives from them, and the rules that they break.
_cases := {
	"ls": {"input": {"call": {"tool": "bash", "args": {"command": "ls"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "ls", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"curl -O https://x/y.tgz": {"input": {"call": {"tool": "bash", "args": {"command": "curl -O https://x/y.tgz"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "curl", "args": [{"literal": true, "value": "-O"}, {"literal": true, "value": "https://x/y.tgz", "path": "/workspace/https:/x/y.tgz"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"pip install x": {"input": {"call": {"tool": "bash", "args": {"command": "pip install x"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "pip", "args": [{"literal": true, "value": "install", "path": "/workspace/install"}, {"literal": true, "value": "x", "path": "/workspace/x"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
}

_labels := {"ls": [], "curl -O https://x/y.tgz": ["downloaded"], "pip install x": ["downloaded"]}

test_labels[note] if {
	some note, labels in _labels
	document := _cases[note].input
	got := tested.labels with input as document
	got == {label | some label in labels}
}

test_policy if tested.policy == "gvisor_for_downloads"
