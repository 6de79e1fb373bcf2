package cookbook.python_contained_test

import data.cookbook.lines_test as lines
import data.cookbook.python_contained as tested

# Calls with the facts that sandgate derives from them, and the rules that they break.
_cases := {
	"plain": {"input": {"call": {"tool": "python", "args": {"code": "import json\nprint(json.dumps({}))\n"}, "python": {"parsed": true, "imports": ["json"], "calls": ["json.dumps", "print"], "names": [], "opens": [], "dynamic": [], "runs": []}}, "tool": {"name": "python", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"subprocess": {"input": {"call": {"tool": "python", "args": {"code": "import subprocess\nsubprocess.run([\"ls\"])\n"}, "python": {"parsed": true, "imports": ["subprocess"], "calls": ["subprocess.run"], "names": [], "opens": [], "dynamic": [], "runs": [{"argv": ["ls"], "complete": true}]}}, "tool": {"name": "python", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": ["python-program"], "ask": []},
	"os.system": {"input": {"call": {"tool": "python", "args": {"code": "from os import system as s\ns(\"ls\")\n"}, "python": {"parsed": true, "imports": ["os"], "calls": ["os.system"], "names": ["os.system"], "opens": [], "dynamic": [], "runs": [{"script": "ls", "complete": true}]}}, "tool": {"name": "python", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": ["python-program"], "ask": []},
	"requests": {"input": {"call": {"tool": "python", "args": {"code": "import requests\n"}, "python": {"parsed": true, "imports": ["requests"], "calls": [], "names": [], "opens": [], "dynamic": [], "runs": []}}, "tool": {"name": "python", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": ["python-network"], "ask": []},
	"urllib": {"input": {"call": {"tool": "python", "args": {"code": "from urllib.request import urlopen\n"}, "python": {"parsed": true, "imports": ["urllib.request"], "calls": [], "names": ["urllib.request.urlopen"], "opens": [], "dynamic": [], "runs": []}}, "tool": {"name": "python", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": ["python-network"], "ask": []},
	"os.path is harmless": {"input": {"call": {"tool": "python", "args": {"code": "import os.path\nprint(os.path.join(\"a\",\"b\"))\n"}, "python": {"parsed": true, "imports": ["os.path"], "calls": ["os.path.join", "print"], "names": [], "opens": [], "dynamic": [], "runs": []}}, "tool": {"name": "python", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"exec": {"input": {"call": {"tool": "python", "args": {"code": "exec(\"import os\")\n"}, "python": {"parsed": true, "imports": [], "calls": ["exec"], "names": [], "opens": [], "dynamic": ["exec"], "runs": []}}, "tool": {"name": "python", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["python-opaque"]},
	"no Python": {"input": {"call": {"tool": "python", "args": {"code": "def (\n"}, "python": {"parsed": false, "error": "not a Python 3 program that can be read: \"(\" stands where it may not, at byte 4", "imports": [], "calls": [], "names": [], "opens": [], "dynamic": [], "runs": []}}, "tool": {"name": "python", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["python-opaque"]},
	"a module with a like name": {"input": {"call": {"tool": "python", "args": {"code": "import subprocess_helper_x\n"}, "python": {"parsed": true, "imports": ["subprocess_helper_x"], "calls": [], "names": [], "opens": [], "dynamic": [], "runs": []}}, "tool": {"name": "python", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
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

test_policy if tested.policy == "python_contained"

_rules(tool, program) := {"deny": lines.rules(denied), "ask": lines.rules(asked)} if {
	denied := tested.deny with input as {"call": {"tool": tool, "python": program}}
	asked := tested.ask with input as {"call": {"tool": tool, "python": program}}
}

_program := {"parsed": true, "dynamic": [], "imports": [], "calls": [], "names": []}

test_programs if {
	_rules("python", _program) == {"deny": set(), "ask": set()}
	_rules("python", object.union(_program, {"parsed": false})) == {"deny": set(), "ask": {"python-opaque"}}
	_rules("bash", object.union(_program, {"parsed": false})) == {"deny": set(), "ask": set()}
	_rules("python", object.union(_program, {"imports": ["subprocess"]})) == {"deny": {"python-program"}, "ask": set()}
	_rules("python", object.union(_program, {"calls": ["socket.socket"]})) == {"deny": {"python-network"}, "ask": set()}
}
