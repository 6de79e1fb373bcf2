package sandgate.lib.helpers_test

import data.sandgate.lib.calls
import data.sandgate.lib.kubectl
import data.sandgate.lib.python
import data.sandgate.lib.rate
import data.sandgate.lib.session
import data.sandgate.lib.sql
import data.sandgate.lib.time as clock

_kubectl(verb, changes) := object.union(
	{"complete": true, "known": true, "verb": verb, "resources": [], "dry_run": "none", "flags": {}, "context": "dev"},
	changes,
)

test_kubectl_read_only if {
	kubectl.read_only(_kubectl("get", {}))
	kubectl.read_only(_kubectl("rollout", {"sub": "status"}))
	every facts in [
		_kubectl("delete", {}), _kubectl("get", {"complete": false}), _kubectl("get", {"known": false}),
		_kubectl("rollout", {"sub": "undo"}), _kubectl("get", {"resources": [{"type": "pods"}, {"type": "secrets"}]}),
		_kubectl("get", {"flags": {"raw": ["/api"]}}), _kubectl("config", {"sub": "view", "flags": {"raw": ["true"]}}), {},
	] {
		not kubectl.read_only(facts)
	}
}

test_kubectl_shows_secrets if {
	kubectl.shows_secrets(_kubectl("config", {"sub": "view", "flags": {"raw": ["true"]}}))
	not kubectl.shows_secrets(_kubectl("config", {"sub": "view"}))
	not kubectl.shows_secrets(_kubectl("get", {"flags": {"raw": ["/x"]}}))
}

test_kubectl_dry_run if {
	kubectl.dry_run(_kubectl("apply", {"dry_run": "server"}))
	kubectl.dry_run(_kubectl("delete", {"dry_run": "client"}))
	not kubectl.dry_run(_kubectl("apply", {}))
	not kubectl.dry_run(_kubectl("exec", {"dry_run": "client"}))
	not kubectl.dry_run(_kubectl("apply", {"dry_run": "server", "complete": false}))
}

test_kubectl_deletes if {
	kubectl.deletes(_kubectl("delete", {}))
	kubectl.deletes(_kubectl("drain", {}))
	kubectl.deletes(_kubectl("apply", {"flags": {"prune": ["true"]}}))
	kubectl.deletes(_kubectl("replace", {"flags": {"force": ["true"]}}))
	not kubectl.deletes(_kubectl("apply", {}))
	not kubectl.deletes(_kubectl("get", {"flags": {"force": ["true"]}}))
	not kubectl.deletes(_kubectl("delete", {"dry_run": "client"}))
	not kubectl.deletes(_kubectl("apply", {"flags": {"prune": ["true"]}, "dry_run": "server"}))
}

test_kubectl_somewhere_in if {
	kubectl.somewhere_in(_kubectl("get", {"context": "EU-Prod"}), {"*prod*"})
	kubectl.somewhere_in(_kubectl("get", {"namespace": "prod"}), {"prod"})
	kubectl.somewhere_in({"complete": true, "verb": "get"}, {"*prod*"})
	kubectl.somewhere_in(_kubectl("get", {"complete": false}), {"*prod*"})
	kubectl.somewhere_in(_kubectl("get", {"kubeconfig": "x"}), {"*prod*"})
	not kubectl.somewhere_in(_kubectl("get", {}), {"*prod*"})
	not kubectl.somewhere_in({"complete": true, "cluster": "dev"}, {"*prod*"})
	not kubectl.somewhere_in({"complete": true, "server": "dev"}, {"*prod*"})
}

_session := {"labels": ["read:secrets"], "counts": {"allow": 3, "deny": 2}, "recent": [
	{"tool": "a", "outcome": "DENIED", "time": "2026-11-23T09:00:00Z"},
	{"tool": "b", "outcome": "EXITED", "time": "2026-11-23T09:00:30Z"},
	{"tool": "c", "outcome": "NOT_RUN"},
	{"tool": "a", "outcome": "DENIED", "time": "2026-11-23T09:01:00Z"},
	{"tool": "d", "outcome": "APPROVAL_REQUIRED", "time": "2026-11-23T09:01:00Z"},
]}

test_session if {
	session.labelled(_session, "read:secrets")
	not session.labelled(_session, "read:")
	session.labelled_like(_session, "read:")
	not session.labelled_like(_session, "saw:")
	session.decided(_session, "deny") == 2
	session.decided(_session, "ask") == 0
	session.decided({}, "ask") == 0
	session.calls(_session) == 5
	session.refused_lately(_session, 2) == 1
	session.refused_lately(_session, 4) == 1
	session.refused_lately(_session, 5) == 2
	session.refused_lately(_session, 50) == 2
	session.used(_session, "b")
	every tool in ["a", "c", "d", "e"] {
		not session.used(_session, tool)
	}
}

test_time if {
	clock.hour("2026-11-23T23:30:00Z", "Europe/Berlin") == 0
	clock.day("2026-11-22T23:30:00Z", "Europe/Berlin") == "Monday"
	clock.day("2026-11-22T23:30:00Z", "UTC") == "Sunday"
	clock.within_hours("2026-11-23T08:00:00Z", "UTC", 8, 18)
	clock.within_hours("2026-11-23T17:59:59Z", "UTC", 8, 18)
	not clock.within_hours("2026-11-23T18:00:00Z", "UTC", 8, 18)
	not clock.within_hours("2026-11-23T07:59:59Z", "UTC", 8, 18)
	clock.within_hours("2026-11-23T22:00:00Z", "UTC", 22, 6)
	clock.within_hours("2026-11-23T05:59:00Z", "UTC", 22, 6)
	not clock.within_hours("2026-11-23T06:00:00Z", "UTC", 22, 6)
	not clock.within_hours("2026-11-23T21:59:00Z", "UTC", 22, 6)
	not clock.within_hours("2026-11-23T08:00:00Z", "UTC", 8, 8)
	clock.working_hours("2026-11-23T09:00:00Z", "UTC", 8, 18)
	not clock.working_hours("2026-11-22T09:00:00Z", "UTC", 8, 18)
	not clock.working_hours("2026-11-21T09:00:00Z", "UTC", 8, 18)
	not clock.working_hours("2026-11-23T19:00:00Z", "UTC", 8, 18)
	clock.seconds_between("2026-11-23T09:00:00Z", "2026-11-23T09:01:30Z") == 90
}

# The call without a time counts.
test_rate if {
	rate.lately(_session, "2026-11-23T09:01:00Z", 60) == 5
	rate.lately(_session, "2026-11-23T09:01:01Z", 60) == 4
	rate.lately(_session, "2026-11-23T10:00:00Z", 60) == 1
	rate.lately_with(_session, "2026-11-23T09:01:00Z", 60, "a") == 2
	rate.lately_with(_session, "2026-11-23T09:01:30Z", 60, "a") == 1
	rate.over(_session, "2026-11-23T09:01:00Z", 60, 5)
	not rate.over(_session, "2026-11-23T09:01:00Z", 60, 6)
}

_python(imports, called, names, dynamic) := {
	"parsed": true, "imports": imports, "calls": called, "names": names, "dynamic": dynamic,
}

test_python if {
	python.transparent(_python([], [], [], []))
	not python.transparent(_python([], [], [], ["eval"]))
	not python.transparent({"parsed": false, "dynamic": []})
	not python.transparent({})
	python.imports(_python(["os.path"], [], [], []), "os")
	not python.imports(_python(["osx"], [], [], []), "os")
	python.calls(_python([], ["os.system"], [], []), "os.system")
	python.calls(_python([], [], ["os.system"], []), "os")
	not python.calls(_python([], ["os.systems"], [], []), "os.system")
	python.touches(_python(["subprocess"], [], [], []), python.starts_programs)
	python.touches(_python(["os"], ["os.system"], [], []), python.starts_programs)
	not python.touches(_python(["os"], ["os.getcwd"], [], []), python.starts_programs)
	not python.touches(_python(["json"], [], [], []), python.uses_network)
	python.touches(_python(["urllib.request"], [], [], []), python.uses_network)
}

_word(text) := {"value": text, "literal": true}

_command(base, words) := {"base": base, "args": [_word(word) | some word in words], "redirects": [], "context": []}

test_sql if {
	sql.changes_schema("psql", _command("psql", ["-c", "alter table t add c int"]))
	not sql.changes_schema("psql", _command("psql", ["-c", "select created from dropped"]))
	not sql.changes_schema("psql", _command("psql", ["-c", "select 1 -- drop table t"]))
	not sql.changes_schema("psql", _command("psql", ["-c", "select /* drop table t */ 1"]))
	not sql.changes_schema("echo", _command("echo", ["drop table t"]))
	sql.destroys("mysql", _command("mysql", ["-e", "delete  from t"]))
	sql.destroys("mysql", _command("mysql", ["-e", "truncate t"]))
	not sql.destroys("mysql", _command("mysql", ["-e", "alter table t add c int"]))
	sql.unreadable("psql", _command("psql", ["-f", "x.sql"]))
	sql.unreadable("psql", object.union(_command("psql", []), {"context": ["|"]}))
	sql.unreadable("psql", object.union(_command("psql", []), {"redirects": [{"class": "read"}]}))
	sql.unreadable("psql", object.union(_command("psql", []), {"args": [{"literal": false}]}))
	not sql.unreadable("psql", _command("psql", ["-c", "select 1"]))
	not sql.unreadable("cat", _command("cat", ["-f"]))
	sql.destroys("psql", object.union(_command("psql", []), {"redirects": [{"class": "herestring", "static": true, "target": "drop table t"}]}))
}

_call(commands) := {"shell": {"commands": commands}, "args": {"command": "https://ignored.example"}}

test_calls_hosts if {
	calls.hosts(_call([_command("curl", ["https://u:p@A.example.com:8443/x?y", "http://[::1]:80/"])])) == {"a.example.com", "[::1]"}
	calls.hosts(_call([_command("git", ["clone", "git@github.com:a/b"])])) == {"github.com"}
	calls.hosts(_call([_command("echo", ["git@github.com:a/b"])])) == set()
	calls.hosts({"args": {"url": "https://b.example", "n": 1}}) == {"b.example"}
	calls.hosts(_call([_command("curl", ["https://a.example\\@b.example/"])])) == {"a.example", "b.example"}
}

test_calls_paths if {
	call := {
		"files": [{"op": "read", "path": "a", "abs": "/workspace/a", "real": "/workspace/b"}],
		"shell": {"commands": [{
			"base": "cp",
			"args": [_word("-r"), object.union(_word("s"), {"path": "/workspace/s"}), object.union(_word("d"), {"path": "/workspace/d", "real": "/x/d"})],
			"redirects": [
				{"class": "write", "target": "o", "path": "/workspace/o"}, {"class": "read", "target": "i", "path": "/workspace/i"},
				{"class": "write", "target": "/dev/null", "path": "/dev/null"}, {"class": "dup", "target": "1"},
				{"class": "append"},
			],
			"files": [{"op": "delete", "value": "z", "path": "/workspace/z"}, {"op": "read", "value": "y"}],
		}]},
	}
	calls.written_paths(call) == {"/x/d", "/workspace/o", "?", "/workspace/z"}
	named := calls.named_paths(call)
	{"/workspace/b", "a", "/workspace/s", "/x/d", "i", "y", "/workspace/z"} - named == set()
	not "1" in named
	calls.written_paths({"files": [{"op": "write", "path": "a", "abs": "/workspace/a"}, {"op": "delete", "path": "b"}]}) == {"/workspace/a", "b"}
	calls.written_paths(_call([_command("rm", ["-f", "x"])])) == {"?"}
}

test_calls_below if {
	calls.below("/a", "/a")
	calls.below("/a/b", "/a")
	not calls.below("/ab", "/a")
}
