package cookbook.gvisor_for_downloads_test

import data.cookbook.gvisor_for_downloads as tested
import data.cookbook.lines_test as lines

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

test_each_label if {
	tested.labels == {"downloaded"} with input as object.union(lines.call("curl https://x/"), {"tool": {"effects": ["execute"]}})
	tested.labels == {"downloaded"} with input as {"call": {}, "tool": {"effects": ["network"]}}
	tested.labels == set() with input as object.union(lines.call("ls"), {"tool": {"effects": ["execute"]}})
}

_said(labels, effects) := said if {
	said := tested.obligations with input as {"session": {"labels": labels}, "tool": {"effects": effects}, "call": {}}
}

test_cage if {
	_said(["downloaded"], ["execute"]) == {"sandbox": {"isolation": "gvisor", "reuse": "never"}}
	not _said(["other"], ["execute"])
	not _said(["downloaded"], ["read"])
}
