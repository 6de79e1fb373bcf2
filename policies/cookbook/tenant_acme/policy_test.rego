package sandgate.tenants.acme_test # lint:ignore package-directory: an example that is copied from here

import data.cookbook.lines_test as lines
import data.sandgate.tenants.acme as tested

# Calls with the facts that sandgate derives from them, and the rules that they break.
_cases := {
	"ls": {"input": {"call": {"tool": "bash", "args": {"command": "ls"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "ls", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}, "caller": {"tenant": "acme"}}, "deny": [], "ask": []},
	"terraform apply": {"input": {"call": {"tool": "bash", "args": {"command": "terraform apply"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "terraform", "args": [{"literal": true, "value": "apply", "path": "/workspace/apply"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}, "caller": {"tenant": "acme"}}, "deny": ["acme-no-deploy"], "ask": []},
	"kubectl get pods": {"input": {"call": {"tool": "bash", "args": {"command": "kubectl get pods"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "kubectl", "kubectl": {"complete": true, "verb": "get", "known": true, "resources": [{"type": "pods"}], "all_namespaces": false, "dry_run": "none", "flags": {}, "files": []}, "args": [{"literal": true, "value": "get", "path": "/workspace/get"}, {"literal": true, "value": "pods", "path": "/workspace/pods"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}, "caller": {"tenant": "acme"}}, "deny": ["acme-no-deploy"], "ask": []},
	"the release notes": {"input": {"call": {"tool": "write_file", "args": {"path": "RELEASE_NOTES.md", "content": "x"}, "files": [{"op": "write", "path": "RELEASE_NOTES.md", "abs": "/workspace/RELEASE_NOTES.md", "real": "/workspace/RELEASE_NOTES.md", "exists": false, "in_workspace": true}]}, "tool": {"name": "write_file", "source": "builtin", "effects": ["write"], "risk": "medium", "annotations": {"destructiveHint": true, "idempotentHint": true, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}, "caller": {"tenant": "acme"}}, "deny": [], "ask": ["acme-release-notes"]},
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

test_each_program[program] if {
	some program in ["helm", "kubectl", "pulumi", "terraform", "tofu", "HELM"]
	lines.rules(tested.deny) == {"acme-no-deploy"} with input as lines.call(program)
	count(tested.deny) == 0 with input as lines.call(sprintf("ls %s", [program]))
}

_of_file(op, path) := lines.rules(found) if {
	found := tested.ask with input as {"call": {"files": [{"op": op, "path": path}]}}
}

test_release_notes if {
	_of_file("write", "RELEASE_NOTES.md") == {"acme-release-notes"}
	_of_file("edit", "/workspace/RELEASE_NOTES.md") == {"acme-release-notes"}
	_of_file("read", "RELEASE_NOTES.md") == set()
	_of_file("write", "README.md") == set()
}

test_obligations if tested.obligations == {"sandbox": {"memory_bytes": 536870912}, "output": {"labels": ["tenant:acme"]}}
