package cookbook.two_person_delete_test

import data.cookbook.lines_test as lines
import data.cookbook.two_person_delete as tested

# Calls with the facts that sandgate derives from them, and the rules that they break.
_cases := {
	"ls": {"input": {"call": {"tool": "bash", "args": {"command": "ls"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "ls", "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"rm a.txt": {"input": {"call": {"tool": "bash", "args": {"command": "rm a.txt"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "rm", "args": [{"literal": true, "value": "a.txt", "path": "/workspace/a.txt"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"git push origin x": {"input": {"call": {"tool": "bash", "args": {"command": "git push origin x"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "git", "git": {"sub": "push", "at": 0, "options": [], "own": true, "remotes": ["origin"], "push": {"complete": true, "remote": "origin", "force": false, "lease": false, "delete": false, "mirror": false, "all": false, "tags": false, "dry_run": false, "refs": [{"src": "x", "dst": "x", "force": false, "delete": false}]}}, "args": [{"literal": true, "value": "push", "path": "/workspace/push"}, {"literal": true, "value": "origin", "path": "/workspace/origin"}, {"literal": true, "value": "x", "path": "/workspace/x"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"find . -name x": {"input": {"call": {"tool": "bash", "args": {"command": "find . -name x"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "find", "args": [{"literal": true, "value": ".", "path": "/workspace"}, {"literal": true, "value": "-name"}, {"literal": true, "value": "x", "path": "/workspace/x"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"psql -c \"select 1\"": {"input": {"call": {"tool": "bash", "args": {"command": "psql -c \"select 1\""}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "psql", "args": [{"literal": true, "value": "-c"}, {"literal": true, "value": "select 1", "path": "/workspace/select 1"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"kubectl delete pod x --dry-run=client": {"input": {"call": {"tool": "bash", "args": {"command": "kubectl delete pod x --dry-run=client"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "kubectl", "kubectl": {"complete": true, "verb": "delete", "known": true, "resources": [{"type": "pods", "name": "x"}], "all_namespaces": false, "dry_run": "client", "flags": {"dry-run": ["client"]}, "files": []}, "args": [{"literal": true, "value": "delete", "path": "/workspace/delete"}, {"literal": true, "value": "pod", "path": "/workspace/pod"}, {"literal": true, "value": "x", "path": "/workspace/x"}, {"eq": {"name": "--dry-run", "value": "client", "path": "/workspace/client", "real": "/workspace/client", "exists": false, "in_workspace": true}, "literal": true, "value": "--dry-run=client"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"rm -rf build": {"input": {"call": {"tool": "bash", "args": {"command": "rm -rf build"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "rm", "args": [{"literal": true, "value": "-rf"}, {"literal": true, "value": "build", "path": "/workspace/build"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["deletion"]},
	"rm --recursive x": {"input": {"call": {"tool": "bash", "args": {"command": "rm --recursive x"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "rm", "args": [{"literal": true, "value": "--recursive"}, {"literal": true, "value": "x", "path": "/workspace/x"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["deletion"]},
	"find . -name \"*.tmp\" -delete": {"input": {"call": {"tool": "bash", "args": {"command": "find . -name \"*.tmp\" -delete"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "find", "args": [{"literal": true, "value": ".", "path": "/workspace"}, {"literal": true, "value": "-name"}, {"literal": true, "value": "*.tmp", "path": "/workspace/*.tmp"}, {"literal": true, "value": "-delete"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["deletion"]},
	"git push origin :old": {"input": {"call": {"tool": "bash", "args": {"command": "git push origin :old"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "git", "git": {"sub": "push", "at": 0, "options": [], "own": true, "remotes": ["origin"], "push": {"complete": true, "remote": "origin", "force": false, "lease": false, "delete": true, "mirror": false, "all": false, "tags": false, "dry_run": false, "refs": [{"dst": "old", "force": false, "delete": true}]}}, "args": [{"literal": true, "value": "push", "path": "/workspace/push"}, {"literal": true, "value": "origin", "path": "/workspace/origin"}, {"literal": true, "value": ":old", "path": "/workspace/:old"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["deletion"]},
	"git push --delete origin x": {"input": {"call": {"tool": "bash", "args": {"command": "git push --delete origin x"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "git", "git": {"sub": "push", "at": 0, "options": [], "own": true, "remotes": ["origin"], "push": {"complete": true, "remote": "origin", "force": false, "lease": false, "delete": true, "mirror": false, "all": false, "tags": false, "dry_run": false, "refs": [{"dst": "x", "force": false, "delete": true}]}}, "args": [{"literal": true, "value": "push", "path": "/workspace/push"}, {"literal": true, "value": "--delete"}, {"literal": true, "value": "origin", "path": "/workspace/origin"}, {"literal": true, "value": "x", "path": "/workspace/x"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["deletion"]},
	"kubectl delete pod x": {"input": {"call": {"tool": "bash", "args": {"command": "kubectl delete pod x"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "kubectl", "kubectl": {"complete": true, "verb": "delete", "known": true, "resources": [{"type": "pods", "name": "x"}], "all_namespaces": false, "dry_run": "none", "flags": {}, "files": []}, "args": [{"literal": true, "value": "delete", "path": "/workspace/delete"}, {"literal": true, "value": "pod", "path": "/workspace/pod"}, {"literal": true, "value": "x", "path": "/workspace/x"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["deletion"]},
	"psql -c \"drop table users\"": {"input": {"call": {"tool": "bash", "args": {"command": "psql -c \"drop table users\""}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "psql", "args": [{"literal": true, "value": "-c"}, {"literal": true, "value": "drop table users", "path": "/workspace/drop table users"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["deletion"]},
	"psql -c \"delete from users\"": {"input": {"call": {"tool": "bash", "args": {"command": "psql -c \"delete from users\""}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "psql", "args": [{"literal": true, "value": "-c"}, {"literal": true, "value": "delete from users", "path": "/workspace/delete from users"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["deletion"]},
	"git reset --hard": {"input": {"call": {"tool": "bash", "args": {"command": "git reset --hard"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "git", "git": {"sub": "reset", "at": 0, "options": [], "own": true}, "args": [{"literal": true, "value": "reset", "path": "/workspace/reset"}, {"literal": true, "value": "--hard"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["deletion"]},
	"shred x": {"input": {"call": {"tool": "bash", "args": {"command": "shred x"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "shred", "args": [{"literal": true, "value": "x", "path": "/workspace/x"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["deletion"]},
	"mysql -e \"TRUNCATE t\"": {"input": {"call": {"tool": "bash", "args": {"command": "mysql -e \"TRUNCATE t\""}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "mysql", "args": [{"literal": true, "value": "-e"}, {"literal": true, "value": "TRUNCATE t", "path": "/workspace/TRUNCATE t"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["deletion"]},
	"xargs rm -r": {"input": {"call": {"tool": "bash", "args": {"command": "xargs rm -r"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "xargs", "args": [{"literal": true, "value": "rm", "path": "/workspace/rm"}, {"literal": true, "value": "-r"}], "redirects": []}, {"index": 1, "base": "rm", "args": [{"literal": true, "value": "-r"}, {"literal": false}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["deletion"]},
}

_not_denied := {note: case |
	some note, case in _cases
	case.deny == []
}

test_ask[note] if {
	some note, case in _not_denied
	{finding.rule | some finding in tested.ask with input as case.input} == {rule | some rule in case.ask}
}

test_policy if tested.policy == "two_person_delete"

test_each_program[program] if {
	some program in ["blkdiscard", "dropdb", "dropuser", "rimraf", "shred", "srm", "wipe", "wipefs", "SHRED"]
	lines.rules(tested.ask) == {"deletion"} with input as lines.call(sprintf("%s x", [program]))
}

_removing := [
	"aws", "az", "azcopy", "borg", "doctl", "eksctl", "fly", "flyctl", "gcloud", "gh", "glab", "gsutil", "hcloud", "helm",
	"heroku", "k3d", "kind", "linode-cli", "minikube", "mysqladmin", "oci", "pulumi", "rclone", "restic", "s3cmd", "terraform",
	"terragrunt", "tofu", "vagrant", "velero", "virsh", "zfs", "zpool",
]

test_each_remover[program] if {
	some program in _removing
	lines.rules(tested.ask) == {"deletion"} with input as lines.call(sprintf("%s destroy x", [program]))
	count(tested.ask) == 0 with input as lines.call(sprintf("%s list x", [program]))
	every option in ["--dry-run", "--dryrun", "--dry-run=client", "--what-if"] {
		count(tested.ask) == 0 with input as lines.call(sprintf("%s destroy %s", [program, option]))
	}
}

test_each_plan[option] if {
	some option in ["--dry-run", "--dryrun", "--dry-run=client", "--what-if"]
	count(tested.ask) == 0 with input as lines.call(sprintf("terraform destroy %s", [option]))
}

test_each_container_tool[program] if {
	some program in ["docker", "docker-compose", "nerdctl", "podman", "podman-compose"]
	lines.rules(tested.ask) == {"deletion"} with input as lines.call(sprintf("%s rm x", [program]))
	lines.rules(tested.ask) == {"deletion"} with input as lines.call(sprintf("%s down -v", [program]))
}

test_deletes[line] if {
	some line in [
		"rm -r x", "rm -fR x", "rm --recursive x", "find . -delete", "docker volume prune", "docker rmi x", "docker compose down --rmi",
		"docker compose down --volumes", "rsync --delete a b", "rsync --remove-source-files a b", "redis-cli flushall", "valkey-cli FLUSHDB",
		"npx rimraf x", "aws ec2 terminate-instances", "gcloud x delete", "helm uninstall x", "heroku apps:destroy",
	]
	lines.rules(tested.ask) == {"deletion"} with input as lines.call(line)
}

test_leaves_alone[line] if {
	some line in [
		"ls", "ls -r", "ls -delete", "ls rm", "rm x", "rm -f x", "find . -name x", "docker ps -v", "docker compose down", "docker compose up --volumes",
		"make prune", "make down -v", "rsync -a b c", "cp --delete a b", "redis-cli get x", "echo flushall", "npx prettier rimraf", "npm rimraf",
		"psql", "mongosh x", "kubectl get pods",
	]
	count(tested.ask) == 0 with input as lines.call(line)
}

_asks(line, facts) := lines.rules(found) if {
	found := tested.ask with input as lines.about(line, facts)
}

_text(text) := [{"literal": true, "value": "-c"}, {"literal": true, "value": text}]

_program(name) := {"python": {"imports": [], "calls": [name], "names": []}}

test_facts_that_delete[note] if {
	some note, given in {
		"rm with an option that is not known": ["rm x", {"args": [{"dynamic": true, "prefix": "-"}]}],
		"kubectl": ["kubectl x", {"kubectl": {"verb": "delete", "complete": true}}],
		"a push": ["git push", {"git": {"sub": "push", "at": 0, "push": {"delete": true}}}],
		"git": ["git reset --hard", {"git": {"sub": "reset", "at": 0}}],
		"SQL": ["psql", {"args": _text("drop table t")}],
		"mongo": ["mongo", {"args": _text("db.dropDatabase()")}],
		"mongosh": ["mongosh", {"args": _text("db.a.deleteMany ({})")}],
		"SQL from a pipe": ["psql", {"context": ["|"]}],
		"Python": ["python x.py", _program("shutil.rmtree")],
	}
	_asks(given[0], given[1]) == {"deletion"}
}

test_facts_that_do_not[note] if {
	some note, given in {
		"rm with a file that is not known": ["rm x", {"args": [{"dynamic": true, "prefix": "a"}]}],
		"other programs": ["ls", {"args": [{"dynamic": true, "prefix": "-"}]}],
		"kubectl": ["kubectl x", {"kubectl": {"verb": "get", "complete": true}}],
		"a push": ["git push", {"git": {"sub": "push", "at": 0, "push": {"delete": false}}}],
		"git": ["git status", {"git": {"sub": "status", "at": 0}}],
		"SQL": ["psql", {"args": _text("select 1")}],
		"mongosh": ["mongosh", {"args": _text("db.a.find({})")}],
		"what only names it": ["echo", {"args": _text("db.dropDatabase()")}],
		"a pipe": ["cat", {"context": ["|"]}],
		"SQL in a substitution": ["psql", {"context": ["cmdsubst"]}],
		"SQL with a statement from a pipe": ["psql", {"context": ["|"], "args": _text("select 1")}],
		"Python": ["python x.py", _program("shutil.copy")],
	}
	_asks(given[0], given[1]) == set()
}

_of_tool(effects, source) := lines.rules(found) if {
	found := tested.ask with input as {"call": {"tool": "x"}, "tool": {"effects": effects, "source": source}}
}

test_tools if {
	_of_tool(["read", "delete"], "operator") == {"deletion"}
	_of_tool(["read"], "operator") == set()
	_of_tool(["delete"], "builtin") == set()
	input_ := object.union(lines.call("ls"), {"tool": {"effects": ["delete"], "source": "operator"}})
	count(tested.ask) == 0 with input as input_
}

test_two_persons if {
	tested.ask_terms == {"quorum": 2} with input as lines.call("shred x")
	not tested.ask_terms with input as lines.call("ls")
}
