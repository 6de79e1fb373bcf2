package cookbook.push_dry_run_test

import data.cookbook.lines_test as lines
import data.cookbook.push_dry_run as tested

# Calls with the facts that sandgate derives from them, and the rules that they break.
_cases := {
	"git push origin main": {"input": {"call": {"tool": "bash", "args": {"command": "git push origin main"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "git", "git": {"sub": "push", "at": 0, "options": [], "own": true, "remotes": ["origin"], "push": {"complete": true, "remote": "origin", "force": false, "lease": false, "delete": false, "mirror": false, "all": false, "tags": false, "dry_run": false, "refs": [{"src": "main", "dst": "main", "force": false, "delete": false}]}}, "args": [{"literal": true, "value": "push", "path": "/workspace/push"}, {"literal": true, "value": "origin", "path": "/workspace/origin"}, {"literal": true, "value": "main", "path": "/workspace/main"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"git push --dry-run": {"input": {"call": {"tool": "bash", "args": {"command": "git push --dry-run"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "git", "git": {"sub": "push", "at": 0, "options": [], "own": true, "push": {"complete": true, "force": false, "lease": false, "delete": false, "mirror": false, "all": false, "tags": false, "dry_run": true, "refs": []}}, "args": [{"literal": true, "value": "push", "path": "/workspace/push"}, {"literal": true, "value": "--dry-run"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"git status": {"input": {"call": {"tool": "bash", "args": {"command": "git status"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "git", "git": {"sub": "status", "at": 0, "options": [], "own": true}, "args": [{"literal": true, "value": "status", "path": "/workspace/status"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"git push && ls": {"input": {"call": {"tool": "bash", "args": {"command": "git push && ls"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "git", "context": ["&&"], "git": {"sub": "push", "at": 0, "options": [], "own": true, "push": {"complete": true, "force": false, "lease": false, "delete": false, "mirror": false, "all": false, "tags": false, "dry_run": false, "refs": []}}, "args": [{"literal": true, "value": "push", "path": "/workspace/push"}], "redirects": []}, {"index": 1, "base": "ls", "context": ["&&"], "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": ["push-not-dry"], "ask": []},
	"git push origin \"$X\"": {"input": {"call": {"tool": "bash", "args": {"command": "git push origin \"$X\""}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "git", "git": {"sub": "push", "at": 0, "options": [], "own": true, "remotes": ["origin"], "push": {"complete": false, "remote": "origin", "force": false, "lease": false, "delete": false, "mirror": false, "all": false, "tags": false, "dry_run": false, "refs": []}}, "args": [{"literal": true, "value": "push", "path": "/workspace/push"}, {"literal": true, "value": "origin", "path": "/workspace/origin"}, {"literal": false}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": ["push-not-dry"], "ask": []},
	"git  push; git push": {"input": {"call": {"tool": "bash", "args": {"command": "git  push; git push"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "git", "git": {"sub": "push", "at": 0, "options": [], "own": true, "push": {"complete": true, "force": false, "lease": false, "delete": false, "mirror": false, "all": false, "tags": false, "dry_run": false, "refs": []}}, "args": [{"literal": true, "value": "push", "path": "/workspace/push"}], "redirects": []}, {"index": 1, "base": "git", "git": {"sub": "push", "at": 0, "options": [], "own": true, "push": {"complete": true, "force": false, "lease": false, "delete": false, "mirror": false, "all": false, "tags": false, "dry_run": false, "refs": []}}, "args": [{"literal": true, "value": "push", "path": "/workspace/push"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": ["push-not-dry"], "ask": []},
	"git push > out": {"input": {"call": {"tool": "bash", "args": {"command": "git push > out"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "git", "git": {"sub": "push", "at": 0, "options": [], "own": true, "push": {"complete": true, "force": false, "lease": false, "delete": false, "mirror": false, "all": false, "tags": false, "dry_run": false, "refs": []}}, "args": [{"literal": true, "value": "push", "path": "/workspace/push"}], "redirects": [{"class": "write", "target": "out", "static": true, "path": "/workspace/out", "real": "/workspace/out", "network": false}]}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": ["push-not-dry"], "ask": []},
}

test_deny[note] if {
	some note, case in _cases
	{finding.rule | some finding in tested.deny with input as case.input} == {rule | some rule in case.deny}
}

test_policy if tested.policy == "push_dry_run"

_push := {"complete": true, "dry_run": false}

_rules(line, push, facts) := lines.rules(found) if {
	found := tested.deny with input as object.union(lines.git(line, {"push": object.union(_push, push)}), facts)
}

_made(line, push, facts) := said if {
	said := tested.transform with input as object.union(lines.git(line, {"push": object.union(_push, push)}), facts)
}

test_alone if {
	_rules("git push origin a:b", {}, {}) == set()
	_made("git push origin a:b", {}, {}) == {"args": {"command": "git push origin a:b --dry-run"}}
	_made("git push", {}, {"call": {"args": {"timeout": 5}}}) == {"args": {"command": "git push --dry-run", "timeout": 5}}
}

test_not_alone[note] if {
	some note, given in {
		"not known": ["git push x", {"complete": false}],
		"more than a push": ["git push x;ls", {}],
		"the end of options": ["git push -- x", {}],
	}
	_rules(given[0], given[1], {}) == {"push-not-dry"}
	not _made(given[0], given[1], {})
}

_command := lines.git("git push x", {"push": _push}).call.shell.commands[0]

test_more_commands if {
	two := {"call": {"shell": {"commands": [_command, object.union(_command, {"index": 1, "git": {"sub": "status"}})]}}}
	_rules("git push x", {}, two) == {"push-not-dry"}
	not _made("git push x", {}, two)
	redirected := {"call": {"shell": {"commands": [object.union(_command, {"redirects": [{"class": "write"}]})]}}}
	_rules("git push x", {}, redirected) == {"push-not-dry"}
}

test_nothing_to_do if {
	_rules("git push --dry-run", {"dry_run": true}, {}) == set()
	not _made("git push --dry-run", {"dry_run": true}, {})
	status := {"call": {"shell": {"commands": [object.union(_command, {"git": {"sub": "status"}})]}}}
	_rules("git push x", {}, status) == set()
	not _made("git push x", {}, status)
}
