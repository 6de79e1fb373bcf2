package cookbook.untrusted_no_network_test

import data.cookbook.lines_test as lines
import data.cookbook.untrusted_no_network as tested

# Calls with the facts that sandgate derives from them, and the rules that they break.
_cases := {
	"curl https://example.com": {"input": {"call": {"tool": "bash", "args": {"command": "curl https://example.com"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "curl", "args": [{"literal": true, "value": "https://example.com", "path": "/workspace/https:/example.com"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"ls": {"input": {"call": {"tool": "bash", "args": {"command": "ls"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "ls", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"git status": {"input": {"call": {"tool": "bash", "args": {"command": "git status"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "git", "git": {"sub": "status", "at": 0, "options": [], "own": true}, "args": [{"literal": true, "value": "status", "path": "/workspace/status"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": ["saw:untrusted"], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"curl https://example.com (2)": {"input": {"call": {"tool": "bash", "args": {"command": "curl https://example.com"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "curl", "args": [{"literal": true, "value": "https://example.com", "path": "/workspace/https:/example.com"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": ["saw:untrusted"], "counts": {}, "recent": [], "id": "s"}}, "deny": ["network-after-untrusted"], "ask": []},
	"git push": {"input": {"call": {"tool": "bash", "args": {"command": "git push"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "git", "git": {"sub": "push", "at": 0, "options": [], "own": true, "push": {"complete": true, "force": false, "lease": false, "delete": false, "mirror": false, "all": false, "tags": false, "dry_run": false, "refs": []}}, "args": [{"literal": true, "value": "push", "path": "/workspace/push"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": ["saw:untrusted"], "counts": {}, "recent": [], "id": "s"}}, "deny": ["network-after-untrusted"], "ask": []},
	"echo x > /dev/tcp/1.2.3.4/80": {"input": {"call": {"tool": "bash", "args": {"command": "echo x > /dev/tcp/1.2.3.4/80"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "echo", "args": [{"literal": true, "value": "x", "path": "/workspace/x"}], "redirects": [{"class": "write", "target": "/dev/tcp/1.2.3.4/80", "static": true, "network": true}]}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": ["saw:untrusted"], "counts": {}, "recent": [], "id": "s"}}, "deny": ["network-after-untrusted"], "ask": []},
	"pip install x": {"input": {"call": {"tool": "bash", "args": {"command": "pip install x"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "pip", "args": [{"literal": true, "value": "install", "path": "/workspace/install"}, {"literal": true, "value": "x", "path": "/workspace/x"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": ["saw:untrusted"], "counts": {}, "recent": [], "id": "s"}}, "deny": ["network-after-untrusted"], "ask": []},
	"git status (2)": {"input": {"call": {"tool": "bash", "args": {"command": "git status"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "git", "git": {"sub": "status", "at": 0, "options": [], "own": true}, "args": [{"literal": true, "value": "status", "path": "/workspace/status"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
}

test_deny[note] if {
	some note, case in _cases
	{finding.rule | some finding in tested.deny with input as case.input} == {rule | some rule in case.deny}
}

_labels := {"curl https://example.com": ["saw:untrusted"], "git status": []}

test_labels[note] if {
	some note, labels in _labels
	document := _cases[note].input
	got := tested.labels with input as document
	got == {label | some label in labels}
}

test_policy if tested.policy == "untrusted_no_network"

_says(labels, tool) := {"deny": lines.rules(denied), "labels": put} if {
	given := object.union(lines.call("ls"), {"session": {"labels": labels}, "tool": object.union({"effects": ["execute"], "annotations": {}}, tool)})
	denied := tested.deny with input as given
	put := tested.labels with input as given
}

test_each[note] if {
	some note, tool in {
		"an effect": {"effects": ["network"]},
		"an annotation": {"annotations": {"openWorldHint": true}},
	}
	_says([], tool) == {"deny": set(), "labels": {"saw:untrusted"}}
	_says(["saw:untrusted"], tool) == {"deny": {"network-after-untrusted"}, "labels": {"saw:untrusted"}}
}

test_nothing if {
	_says(["saw:untrusted"], {}) == {"deny": set(), "labels": set()}
	_says(["saw:untrusted"], {"annotations": {"openWorldHint": false}}) == {"deny": set(), "labels": set()}
}
