# METADATA
# title: tables
# description: >-
#   The verbs of kubectl, the modules of Python, and the words of network programs that the library goes by, each in a
#   case of its own: what is forgotten in the library fails here.
package sandgate.lib.tables_test

import data.sandgate.lib.calls
import data.sandgate.lib.facts_test as facts
import data.sandgate.lib.kubectl
import data.sandgate.lib.python

_lines(table) := {line | some line in split(table, "\n"); line != ""}

_words(text) := {word | some word in regex.split(`\s+`, text); word != ""}

_kubectl(words) := object.union(_sub(words), {
	"complete": true, "known": true, "verb": words[0], "resources": [], "flags": {}, "dry_run": "none",
})

_sub(words) := {"sub": words[1]} if {
	count(words) > 1
} else := {}

test_kubectl_reads[line] if {
	some line in [
		"api-resources", "api-versions", "cluster-info", "describe", "diff", "events", "explain", "get", "logs", "options",
		"top", "version", "wait", "auth can-i", "auth whoami", "config current-context", "config get-clusters",
		"config get-contexts", "config get-users", "config view", "rollout history", "rollout status", "plugin list",
	]
	told := _kubectl(split(line, " "))
	kubectl.read_only(told)
	not kubectl.read_only(object.union(told, {"complete": false}))
	not kubectl.read_only(object.union(told, {"known": false}))
	not kubectl.read_only(object.union(told, {"flags": {"raw": ["/x"]}}))
	not kubectl.read_only(object.union(told, {"resources": [{"type": "secrets"}]}))
}

test_kubectl_changes[line] if {
	some line in [
		"annotate", "apply", "attach", "autoscale", "certificate approve", "config set-context", "config use-context", "cordon",
		"cp", "create", "debug", "delete", "drain", "edit", "exec", "expose", "label", "patch", "port-forward", "proxy", "replace",
		"rollout restart", "rollout undo", "run", "scale", "set image", "taint", "uncordon", "auth reconcile", "plugin",
	]
	not kubectl.read_only(_kubectl(split(line, " ")))
}

test_kubectl_only_tells[verb] if {
	some verb in [
		"annotate", "apply", "autoscale", "cordon", "create", "delete", "drain", "expose", "label", "patch", "replace", "run",
		"scale", "set", "taint", "uncordon",
	]
	every kind in ["client", "server"] {
		kubectl.dry_run(object.union(_kubectl([verb]), {"dry_run": kind}))
	}
	not kubectl.dry_run(_kubectl([verb]))
	not kubectl.dry_run(object.union(_kubectl([verb]), {"dry_run": "client", "complete": false}))
}

test_kubectl_takes_out[line] if {
	some line in ["delete", "drain"]
	kubectl.deletes(_kubectl([line]))
}

test_kubectl_takes_out_by_flag[name] if {
	some verb in ["apply", "replace"]
	some flag in ["force", "prune"]
	name := concat(" ", [verb, flag])
	kubectl.deletes(object.union(_kubectl([verb]), {"flags": {flag: ["true"]}}))
}

test_raw_shows_secrets_of_config_only if {
	kubectl.shows_secrets(object.union(_kubectl(["config", "view"]), {"flags": {"raw": ["true"]}}))
	not kubectl.shows_secrets(object.union(_kubectl(["config", "get-users"]), {"flags": {"raw": ["true"]}}))
	not kubectl.shows_secrets(object.union(_kubectl(["other", "view"]), {"flags": {"raw": ["true"]}}))
}

# Functions of the modules os, asyncio and pty, and the modules, of Python 3.13 and of the package index.
_starts := `
asyncio.create_subprocess_exec asyncio.create_subprocess_shell asyncio.subprocess commands.getoutput
multiprocessing.Process os.execl os.execle os.execlp os.execlpe os.execv os.execve os.execvp os.execvpe os.fork
os.forkpty os.popen os.posix_spawn os.posix_spawnp os.spawnl os.spawnle os.spawnlp os.spawnlpe os.spawnv os.spawnve
os.spawnvp os.spawnvpe os.system pexpect.spawn plumbum.cmd pty.spawn sh.ls subprocess.run
`

_network := `
aiohttp boto3 botocore ftplib google.cloud grpc http.client http.server httpx imaplib nntplib paramiko poplib pycurl
requests smtplib socket socketserver ssl telnetlib urllib.request urllib3 websocket websockets xmlrpc.client
`

_python(imported, called) := {"parsed": true, "imports": imported, "calls": called, "names": [], "dynamic": []}

test_python_starts[name] if {
	some name in _words(_starts)
	python.touches(_python([], [name]), python.starts_programs)
	not python.touches(_python([], [name]), python.uses_network)
}

test_python_connects[name] if {
	some name in _words(_network)
	python.touches(_python([name], []), python.uses_network)
	not python.touches(_python([name], []), python.starts_programs)
}

test_python_neither[name] if {
	some name in ["os", "os.path", "json", "http", "urllib", "urllib.parse", "shlex", "google", "asyncio", "sockets"]
	every names in [python.starts_programs, python.uses_network] {
		not python.touches(_python([name], []), names)
		not python.touches(_python([], [name]), names)
	}
}

# Options whose value is no host, after curl(1), wget(1), ssh(1), ping(8) and nc(1).
test_takes_text[option] if {
	some option in _words("-A -C -D -E -F -H -K -O -P -Q -T -U -X -b -c -d -e -f -i -m -n -o -p -r -u -w -y -z --header --data")
	command := facts.command(["psql", option, "a.example"])
	calls.takes_text(command, 1)
	not calls.takes_text(command, 0)
}

test_takes_no_text[line] if {
	some line in _lines(`
wget -c a.example
wget -r a.example
wget -m a.example
wget -p a.example
wget -d a.example
wget -E a.example
wget -H a.example
wget -K a.example
wget -b a.example
wget -F a.example
curl -O a.example
curl -f a.example
curl -i a.example
curl -n a.example
curl -p a.example
ssh -A a.example
ssh -C a.example
ssh -K a.example
ssh -T a.example
ssh -X a.example
ssh -n a.example
nc -u a.example
nc -z a.example
nc -r a.example
ncat -u a.example
ssh -f a.example
curl --compressed a.example
curl --fail a.example
curl --get a.example
curl --globoff a.example
curl --head a.example
curl --host a.example
curl --http1.1 a.example
curl --http2 a.example
curl --include a.example
curl --insecure a.example
curl --ipv4 a.example
curl --ipv6 a.example
curl --location a.example
wget --no-check-certificate a.example
curl --no-progress-meter a.example
curl --preproxy a.example
curl --proxy a.example
wget --quiet a.example
curl --remote-name a.example
curl --server a.example
curl --show-error a.example
curl --silent a.example
curl --socks5 a.example
curl --url a.example
curl --verbose a.example
curl --header=x a.example
curl -s a.example
`)
	not calls.takes_text(facts.command(split(line, " ")), 1)
}

# The facts of paths: which of them count as written, by the program and by the operation.
_at(name) := object.union(facts.word(name), {"path": concat("", ["/workspace/", name])})

_runs(base, args) := {"shell": {"commands": [{
	"base": base, "args": args, "redirects": [], "files": [],
}]}}

test_writes_all_operands[program] if {
	some program in ["mkdir", "mkfifo", "mv", "rm", "rmdir", "shred", "tee", "touch", "truncate", "unlink"]
	calls.written_paths(_runs(program, [_at("a"), _at("b")])) == {"/workspace/a", "/workspace/b"}
	calls.written_paths(_runs(upper(program), [facts.word("-x"), _at("a")])) == {"/workspace/a"}
}

test_writes_last_operand[program] if {
	some program in ["cp", "install", "ln", "rsync"]
	calls.written_paths(_runs(program, [_at("a"), _at("b")])) == {"/workspace/b"}
	calls.written_paths(_runs(program, [_at("a"), facts.word("-b")])) == set()
}

test_writes_nothing[program] if {
	some program in ["cat", "ls", "grep", "diff", "echo"]
	calls.written_paths(_runs(program, [_at("a"), _at("b")])) == set()
}

test_operations_of_files[op] if {
	some op, written in {
		"glob": set(), "grep": set(), "list": set(), "read": set(), "search": set(), "write": {"/workspace/a"},
		"delete": {"/workspace/a"}, "edit": {"/workspace/a"},
	}
	calls.written_paths({"files": [{"op": op, "path": "a", "abs": "/workspace/a"}]}) == written
}

test_operations_of_commands[op] if {
	some op, written in {"read": set(), "write": {"/workspace/a"}, "delete": {"/workspace/a"}}
	calls.written_paths({"shell": {"commands": [{
		"base": "x", "args": [], "redirects": [],
		"files": [{"op": op, "value": "a", "path": "/workspace/a"}],
	}]}}) == written
}

test_classes_of_redirects[class] if {
	some class, written in {
		"append": {"/workspace/a"}, "read_write": {"/workspace/a"}, "write": {"/workspace/a"}, "read": set(), "dup": set(),
	}
	calls.written_paths({"shell": {"commands": [{
		"base": "x", "args": [], "files": [],
		"redirects": [{"class": class, "target": "a", "path": "/workspace/a"}],
	}]}}) == written
}

test_named_by_every_fact[fact] if {
	some fact in ["path", "abs", "real"]
	calls.named_paths({"files": [{fact: "/x"}]}) == {"/x"}
}

test_words_named_by_every_fact[fact] if {
	some fact in ["path", "real", "value"]
	calls.named_paths(_runs("x", [{fact: "/x"}])) == {"/x"}
	calls.named_paths({"shell": {"commands": [{"base": "x", "args": [], "redirects": [], "files": [{fact: "/x"}]}]}}) == {"/x"}
}

test_redirects_named_by_every_fact[fact] if {
	some fact in ["path", "real", "target"]
	calls.named_paths({"shell": {"commands": [{
		"base": "x", "args": [], "files": [],
		"redirects": [{"class": "read", fact: "/x"}],
	}]}}) == {"/x"}
	every class in ["dup", "heredoc", "herestring"] {
		calls.named_paths({"shell": {"commands": [{
			"base": "x", "args": [], "files": [],
			"redirects": [{"class": class, fact: "/x"}],
		}]}}) == set()
	}
}
