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
