package sandgate.profiles.workspace_test

import data.sandgate.profiles.workspace

# A word that is a path inside the workspace, or outside when it is absolute.
_word(value) := {
	"value": value,
	"literal": true,
	"dynamic": false,
	"tilde": false,
	"path": _absolute(value),
	"in_workspace": startswith(_absolute(value), "/workspace"),
}

_absolute(value) := value if startswith(value, "/")

_absolute(value) := concat("/", ["/workspace", value]) if not startswith(value, "/")

_command(base, words) := {
	"index": 0,
	"kind": "simple",
	"name": base,
	"base": base,
	"name_static": true,
	"args": [_word(word) | some word in words],
	"redirects": [],
}

_with(command, more) := object.union(command, more)

_script(commands) := _shell({"parsed": true, "overflow": false, "commands": commands, "cwd": {"in_workspace": true}})

_shell(shell) := {
	"call": {"tool": "bash", "cwd": "/workspace", "args": {}, "shell": shell},
	"tool": {"name": "bash", "effects": ["execute", "read", "write", "delete"]},
}

_files(files, effects) := {
	"call": {"tool": "any_tool", "args": {}, "files": files},
	"tool": {"name": "any_tool", "effects": effects},
}

_file(op, path, more) := object.union({"op": op, "path": path, "abs": path}, more)

_redirect(class, path) := {
	"class": class,
	"path": path,
	"in_workspace": startswith(path, "/workspace"),
	"network": startswith(path, "/dev/tcp"),
}

_judge(document) := {
	"deny": {finding.rule | some finding in workspace.deny with input as document},
	"ask": {finding.rule | some finding in workspace.ask with input as document},
	"allow": {finding.rule | some finding in workspace.allow with input as document},
}

_nothing := {"deny": set(), "ask": set(), "allow": set()}

# What is decided of a script by a deny or an ask; that it is allowed as well does not count.
_counts(document) := judged.deny if {
	judged := _judge(document)
	count(judged.deny) > 0
} else := judged.ask if {
	judged := _judge(document)
	count(judged.ask) > 0
} else := _judge(document).allow

_cases := {
	"inside": {"input": _script([_command("cp", ["a", "b"])]), "rule": "script-in-workspace"},
	"no command at all": {"input": _script([]), "rule": "script-in-workspace"},
	"an assignment": {
		"input": _script([{"index": 0, "kind": "assign", "name_static": false, "args": [], "redirects": []}]),
		"rule": "script-in-workspace",
	},
	"a redirect alone": {
		"input": _script([{
			"index": 0,
			"kind": "redirect",
			"name_static": false,
			"args": [],
			"redirects": [_redirect("write", "/workspace/x")],
		}]),
		"rule": "script-in-workspace",
	},
	"readable outside": {"input": _script([_command("cat", ["/usr/include/x.h"])]), "rule": "script-in-workspace"},
	"a pattern": {"input": _script([_command("grep", ["/etc/x", "f"])]), "rule": "script-in-workspace"},
	"an option": {"input": _script([_command("ls", ["-la"])]), "rule": "script-in-workspace"},
	"outside": {"input": _script([_command("cat", ["/etc/passwd"])]), "rule": "outside-workspace"},
	"climbing": {
		"input": _script([_with(_command("cat", []), {"args": [{
			"value": "-../../x",
			"dynamic": false,
			"tilde": false,
			"path": "/x",
			"in_workspace": false,
		}]})]),
		"rule": "outside-workspace",
	},
	"through a symlink that leaves": {
		"input": _script([_with(_command("cat", []), {"args": [{
			"value": "link/passwd",
			"dynamic": false,
			"tilde": false,
			"path": "/workspace/link/passwd",
			"real": "/etc/passwd",
			"in_workspace": false,
		}]})]),
		"rule": "outside-workspace",
	},
	"an option with a path": {
		"input": _script([_with(_command("tar", []), {"args": [{
			"value": "--directory=/etc",
			"dynamic": false,
			"tilde": false,
			"path": "/workspace/--directory=/etc",
			"in_workspace": true,
			"eq": {"name": "--directory", "value": "/etc", "path": "/etc", "in_workspace": false},
		}]})]),
		"rule": "outside-workspace",
	},
	"the home directory": {
		"input": _script([_with(_command("cat", []), {"args": [{"tilde": true, "dynamic": false}]})]),
		"rule": "outside-workspace",
	},
	"an unfinished path outside": {
		"input": _script([_with(_command("cat", []), {"args": [{"tilde": false, "dynamic": true, "prefix": "/etc/"}]})]),
		"rule": "outside-workspace",
	},
	"an unfinished path inside": {
		"input": _script([_with(_command("cat", []), {"args": [{"tilde": false, "dynamic": true, "prefix": "/workspace/"}]})]),
		"rule": "script-in-workspace",
	},
	"a pattern outside": {
		"input": _script([_with(_command("rm", []), {"args": [{"value": "/*", "glob": true, "tilde": false, "dynamic": false}]})]),
		"rule": "outside-workspace",
	},
	"a pattern that climbs": {
		"input": _script([_with(_command("rm", []), {"args": [{
			"value": "../*",
			"glob": true,
			"tilde": false,
			"dynamic": false,
			"in_workspace": false,
		}]})]),
		"rule": "outside-workspace",
	},
	"a pattern inside": {
		"input": _script([_with(_command("rm", []), {"args": [{
			"value": "*.o",
			"glob": true,
			"tilde": false,
			"dynamic": false,
			"in_workspace": true,
		}]})]),
		"rule": "script-in-workspace",
	},
	"a pattern of headers": {
		"input": _script([_with(_command("ls", []), {"args": [{
			"value": "/usr/include/*.h",
			"glob": true,
			"tilde": false,
			"dynamic": false,
			"in_workspace": false,
		}]})]),
		"rule": "script-in-workspace",
	},
	"a variable": {
		"input": _script([_with(_command("cat", []), {"args": [{"tilde": false, "dynamic": true}]})]),
		"rule": "script-in-workspace",
	},
	"written outside": {
		"input": _script([_with(_command("ls", []), {"redirects": [_redirect("append", "/etc/x")]})]),
		"rule": "outside-workspace",
	},
	"written where only reading is harmless": {
		"input": _script([_with(_command("ls", []), {"redirects": [_redirect("write", "/usr/x")]})]),
		"rule": "outside-workspace",
	},
	"written to /tmp": {
		"input": _script([_with(_command("ls", []), {"redirects": [_redirect("write", "/tmp/x")]})]),
		"rule": "script-in-workspace",
	},
	"thrown away": {
		"input": _script([_with(_command("ls", []), {"redirects": [_redirect("write", "/dev/null")]})]),
		"rule": "script-in-workspace",
	},
	"read outside by redirect": {
		"input": _script([_with(_command("cat", []), {"redirects": [_redirect("read", "/etc/x")]})]),
		"rule": "outside-workspace",
	},
	"a network device": {
		"input": _script([_with(_command("cat", []), {"redirects": [_redirect("read", "/dev/tcp/h/80")]})]),
		"rule": "network",
	},
	"a working directory outside": {
		"input": _shell({"parsed": true, "overflow": false, "commands": [], "cwd": {"in_workspace": false}}),
		"rule": "outside-workspace",
	},
	"too large": {
		"input": _shell({"parsed": true, "overflow": true, "commands": [], "cwd": {}}),
		"rule": "script-too-large",
	},
	"unparsed": {
		"input": _shell({"parsed": false, "overflow": false, "commands": [], "cwd": {}}),
		"rule": "unparsed-script",
	},
	"unparsed and destructive": {
		"input": _shell({"parsed": false, "overflow": false, "commands": [_command("rm", ["/"])], "cwd": {}}),
		"rules": {"outside-workspace", "system-destructive"},
	},
	"no facts": {"input": {"call": {"tool": "bash"}, "tool": {"effects": ["execute"]}}, "rule": "missing-facts"},
	"a dynamic name": {
		"input": _script([{"index": 0, "kind": "simple", "name_static": false, "args": [], "redirects": []}]),
		"rule": "dynamic-command",
	},
	"sudo": {"input": _script([_command("sudo", ["ls"])]), "rule": "privilege"},
	"shutdown": {"input": _script([_command("shutdown", ["now"])]), "rule": "system-destructive"},
	"mkfs.ext4": {"input": _script([_command("mkfs.ext4", ["img"])]), "rule": "system-destructive"},
	"terraform destroy": {"input": _script([_command("terraform", ["destroy"])]), "rule": "system-destructive"},
	"terraform plan": {"input": _script([_command("terraform", ["plan"])]), "rule": "script-in-workspace"},
	"curl": {"input": _script([_command("curl", ["h"])]), "rule": "network"},
	"git push": {"input": _script([_with(_command("git", ["push"]), {"git": {"sub": "push", "at": 0, "options": []}})]), "rule": "network"},
	"git remote update": {
		"input": _script([_with(_command("git", ["remote", "update"]), {"git": {"sub": "remote", "at": 0, "options": []}})]),
		"rule": "network",
	},
	"git commit": {
		"input": _script([_with(_command("git", ["commit"]), {"git": {"sub": "commit", "at": 0, "options": []}})]),
		"rule": "script-in-workspace",
	},
	"yarn": {"input": _script([_command("yarn", [])]), "rule": "network"},
	"yarn test": {"input": _script([_command("yarn", ["test"])]), "rule": "script-in-workspace"},
	"go install of a module": {"input": _script([_command("go", ["install", "a.b/c@latest"])]), "rule": "network"},
	"go install of a package": {"input": _script([_command("go", ["install", "./c"])]), "rule": "script-in-workspace"},
	"python -m pip": {"input": _script([_command("python3", ["-m", "pip", "install", "x"])]), "rule": "network"},
	"python -m pytest": {"input": _script([_command("python3", ["-m", "pytest"])]), "rule": "script-in-workspace"},
	"openssl": {"input": _script([_command("openssl", ["s_client"])]), "rule": "network"},
	"npm ci": {"input": _script([_command("npm", ["ci"])]), "rule": "network"},
	"npm test": {"input": _script([_command("npm", ["test"])]), "rule": "script-in-workspace"},
	"a file inside": {
		"input": _files([_file("write", "a", {"in_workspace": true})], ["write"]),
		"rule": "files-in-workspace",
	},
	"a header": {
		"input": _files([_file("read", "/usr/include/x.h", {"in_workspace": false})], ["read"]),
		"rule": "files-in-workspace",
	},
	"a file outside": {
		"input": _files([_file("read", "/etc/x", {"in_workspace": false})], ["read"]),
		"rule": "outside-workspace",
	},
	"a header that is written": {
		"input": _files([_file("write", "/usr/include/x.h", {"in_workspace": false})], ["write"]),
		"rule": "outside-workspace",
	},
	"a file that may be anywhere": {"input": _files([_file("read", "link/x", {})], ["read"]), "rule": "unknown-path"},
	"one file inside and one anywhere": {
		"input": _files([_file("read", "a", {"in_workspace": true}), _file("read", "link/x", {})], ["read"]),
		"rule": "unknown-path",
	},
	"a program": {"input": {"call": {"tool": "python"}, "tool": {"effects": ["execute"]}}, "rule": "opaque-program"},
	"a tool that uses the network": {
		"input": {"call": {"tool": "fetch"}, "tool": {"effects": ["network"]}},
		"rule": "network",
	},
}

test_cases[note] if {
	some note, case in _cases
	_counts(case.input) == object.get(case, "rules", {object.get(case, "rule", "")})
}

# What no rule speaks of is not allowed, so that the decision is ask.
_unknown := {
	"no effects": _files([_file("read", "a", {"in_workspace": true})], []),
	"an effect of another kind": _files([_file("read", "a", {"in_workspace": true})], ["read", "payment"]),
	"a tool without files that runs nothing": _files([], ["read"]),
	"a tool of which nothing is known": {"call": {"tool": "x"}, "tool": {"name": "x"}},
	"an empty input": {},
}

test_not_allowed[note] if {
	some note, document in _unknown
	_judge(document) == _nothing
}

test_the_index_of_the_command_is_told if {
	document := _script([_command("ls", []), _with(_command("sudo", []), {"index": 1})])
	{finding.command | some finding in workspace.deny with input as document} == {1}
}

test_obligations if {
	workspace.obligations.sandbox.network == "none"
	workspace.obligations.sandbox.workspace == "rw"
}
