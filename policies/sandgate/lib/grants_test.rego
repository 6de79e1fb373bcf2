package sandgate.lib.grants_test

import data.sandgate.lib.grants

_word(text) := {
	"value": text, "literal": true, "quoted": false, "glob": false, "tilde": false, "brace": false, "dynamic": false,
	"splits": false, "real": sprintf("/workspace/%s", [text]), "in_workspace": true,
}

_command(name, words) := {
	"index": 0, "kind": "simple", "name": name, "base": name, "name_static": true, "static": true,
	"args": [_word(word) | some word in words], "env": [], "redirects": [], "context": [], "via": [], "depth": 0,
	"opaque": false,
}

_call(commands) := {
	"tool": "bash", "cwd": "/workspace", "env": {}, "stdin_bytes": 0,
	"shell": {
		"parsed": true, "overflow": false, "truncated": false, "opaque": false, "changes_directory": false,
		"functions": [], "aliases": [], "features": [], "commands": commands, "cwd": {"in_workspace": true},
	},
}

_commit := {
	"id": "g1", "scope": "session", "tool": "bash", "cwd": "/workspace", "rules": ["not-read-only"], "summary": "s",
	"commands": [{
		"name": "git", "sub": "commit", "options": ["-m", "--message", "-a"], "words": [],
		"texts": ["-m", "--message"], "under": ["/workspace/src"],
	}],
}

_finding := {"rule": "not-read-only", "message": "m", "command": 0}

_answered(words) if grants.answers(_commit, _finding, _call([_command("git", words)]))

test_any_message if {
	_answered(["commit", "-m", "first"])
	_answered(["commit", "-a", "-m", "rm -rf /"])
	_answered(["commit", "-m", "a", "-m", "b"])
	message := object.union(_word("--message=x y"), {"eq": {"name": "--message", "value": "x y"}})
	command := object.union(_command("git", ["commit"]), {"args": [_word("commit"), message]})
	grants.answers(_commit, _finding, _call([command]))
}

test_files_of_a_granted_directory if {
	_answered(["commit", "-m", "x", "src/a.go"])
	not _answered(["commit", "-m", "x", "lib/a.go"])
	not _answered(["commit", "-m", "x", "src"])
	away := object.union(_word("src/link"), {"real": "/etc/passwd", "in_workspace": false})
	command := object.union(_command("git", ["commit"]), {"args": [_word("commit"), away]})
	not grants.answers(_commit, _finding, _call([command]))
}

test_nothing_else if {
	every words in [
		["push"], ["commit", "--amend"], ["commit", "-m", "-F"], ["commit", "-m", "-m", "other/x"], ["-a", "commit"],
		["-c", "core.editor=x", "commit"], ["commit", "-m", "x", "--no-verify"], ["commit", "-m", "x", "-F"], [],
	] {
		not _answered(words)
	}
}

_spoiled := {
	"another rule": {"finding": {"rule": "network"}},
	"another program": {"command": {"base": "hub", "name": "hub"}},
	"a program of the workspace": {"command": {"dir": "/workspace"}},
	"not static": {"command": {"static": false}},
	"an unknown name": {"command": {"name_static": false}},
	"run by another": {"command": {"via": ["xargs"]}},
	"nested": {"command": {"depth": 1}},
	"assignments": {"command": {"env": [{"name": "GIT_DIR", "static": true}]}},
	"opaque": {"command": {"opaque": true}},
	"a redirect": {"command": {"redirects": [{"op": ">", "class": "write", "target": "x", "static": true}]}},
	"another command": {"finding": {"command": 1}},
	"unparsed": {"shell": {"parsed": false}},
	"an unknown construct": {"shell": {"features": ["for"]}},
	"another directory": {"shell": {"cwd": {"in_workspace": false}}},
	"variables": {"call": {"env": {"GIT_DIR": "/x"}}},
	"standard input": {"call": {"stdin_bytes": 1}},
	"a terminal": {"call": {"terminal": true}},
	"unknown standard input": {"call": {"stdin_bytes": null}},
	"another tool": {"call": {"tool": "sh"}},
	"another working directory": {"call": {"cwd": "/workspace/sub"}},
}

_spoilt(case) if {
	command := object.union(_command("git", ["commit", "-m", "x"]), object.get(case, "command", {}))
	plain := _call([command])
	shelled := object.union(plain, {"shell": object.union(plain.shell, object.get(case, "shell", {}))})
	call := object.union(shelled, object.get(case, "call", {}))
	grants.answers(_commit, object.union(_finding, object.get(case, "finding", {})), call)
}

test_spoiled[note] if {
	some note, case in _spoiled
	not _spoilt(case)
}

test_unspoiled if _spoilt({})

test_quiet_redirects if {
	_spoilt({"command": {"redirects": [{"op": ">&", "class": "dup", "target": "1", "static": true}]}})
	_spoilt({"command": {"redirects": [{"op": ">", "class": "write", "target": "/dev/null", "static": true}]}})
}

test_the_call_as_a_whole if {
	whole := {"rule": "not-read-only", "message": "m"}
	grants.answers(_commit, whole, _call([_command("git", ["commit"])]))
	not grants.answers(_commit, whole, _call([_command("git", ["commit"]), _command("ls", [])]))
	not grants.answers(_commit, whole, _call([]))
}

_file(real) := {"op": "write", "path": "x", "real": real, "in_workspace": true}

_write(path, real) := {
	"tool": "write_file", "cwd": "/workspace", "env": {}, "stdin_bytes": 0, "args": {"path": path, "content": "c", "append": true},
	"files": [_file(real)],
}

_writing := {
	"id": "g2", "tool": "write_file", "cwd": "/workspace", "rules": ["not-read-only"], "args": {"append": true}, "free": ["content", "path"],
	"under": ["/workspace/docs"],
}

test_arguments if {
	asked := {"rule": "not-read-only"}
	grants.answers(_writing, asked, _write("docs/a", "/workspace/docs/a"))
	not grants.answers(_writing, asked, _write("docs/../a", "/workspace/a"))
	not grants.answers(_writing, asked, object.union(_write("docs/a", "/workspace/docs/a"), {"args": {"append": false}}))
	not grants.answers(_writing, {"rule": "other"}, _write("docs/a", "/workspace/docs/a"))
	same := object.union(object.remove(_writing, ["free", "under"]), {"args": {"path": "p", "content": "c", "append": true}})
	grants.answers(same, asked, _write("p", "/workspace/p"))
	not grants.answers(same, asked, _write("q", "/workspace/q"))
}

test_exactly_these_words if {
	class := {"name": "rm", "options": [], "words": [], "texts": [], "under": [], "argv": ["-rf", "build"]}
	grant := object.union(_commit, {"commands": [class]})
	grants.answers(grant, _finding, _call([_command("rm", ["-rf", "build"])]))
	every words in [[], ["-rf"], ["build", "-rf"], ["-rf", "build", "src"]] {
		not grants.answers(grant, _finding, _call([_command("rm", words)]))
	}
	bare := object.union(_commit, {"commands": [object.union(class, {"argv": []})]})
	grants.answers(bare, _finding, _call([_command("rm", [])]))
	not grants.answers(bare, _finding, _call([_command("rm", ["x"])]))
	hidden := object.union(_command("rm", []), {"args": [_word("-rf"), object.union(_word("build"), {"literal": false})]})
	not grants.answers(grant, _finding, _call([hidden]))
}

test_a_file_as_the_first_word if {
	class := {"name": "touch", "options": [], "words": [], "texts": [], "under": ["/workspace/src"]}
	grant := object.union(_commit, {"commands": [class]})
	grants.answers(grant, _finding, _call([_command("touch", ["src/a"])]))
	not grants.answers(grant, _finding, _call([_command("touch", ["lib/a"])]))
}

_exact := {
	"id": "g3", "tool": "bash", "cwd": "/workspace", "rules": ["not-read-only"], "exact": true,
	"args": {"command": "make"}, "free": ["description"],
}

_make(args, more) := object.union(
	_call([object.union(_command("make", []), {"opaque": true})]),
	object.union({"args": args}, more),
)

test_this_very_call if {
	grants.answers(_exact, _finding, _make({"command": "make"}, {}))
	grants.answers(_exact, {"rule": "not-read-only"}, _make({"command": "make", "description": "again"}, {}))
	not grants.answers(_exact, {"rule": "network"}, _make({"command": "make"}, {}))
	not grants.answers(_exact, _finding, _make({"command": "make", "x": 1}, {}))
	not grants.answers(object.remove(_exact, ["exact"]), _finding, _make({"command": "make"}, {}))
	not grants.answers(object.union(_exact, {"exact": false}), _finding, _make({"command": "make"}, {}))
	every other in [
		{"args": {"command": "make all"}}, {"cwd": "/workspace/sub"}, {"env": {"A": "b"}}, {"stdin_bytes": 1}, {"terminal": true}, {"tool": "sh"},
	] {
		not grants.answers(_exact, _finding, _make({"command": "make"}, other))
	}
	python := {"tool": "python", "cwd": "/workspace", "env": {}, "stdin_bytes": 0, "args": {"code": "1"}}
	grant := object.union(object.remove(_exact, ["args"]), {"tool": "python", "args": {"code": "1"}})
	grants.answers(grant, {"rule": "not-read-only"}, python)
	not grants.answers(grant, {"rule": "not-read-only"}, object.union(python, {"args": {"code": "2"}}))
}

# One use is one run of each command that was granted.
test_no_more_commands_than_were_granted if {
	once := _command("git", ["commit", "-m", "x"])
	again := object.union(once, {"index": 1})
	not grants.answers(_commit, _finding, _call([once, again]))
	twice := object.union(_commit, {"commands": array.concat(_commit.commands, [{
		"name": "mkdir", "options": [], "words": [], "texts": [], "under": ["/workspace/src"],
	}])})
	grants.answers(twice, _finding, _call([once, again]))
	grants.answers(_commit, _finding, _call([once, object.union(_command("ls", []), {"index": 1})]))
}

test_one_file_of_a_directory if {
	asked := {"rule": "not-read-only"}
	one := _write("docs/a", "/workspace/docs/a")
	not grants.answers(_writing, asked, object.union(one, {"files": []}))
	not grants.answers(_writing, asked, object.remove(one, ["files"]))
	not grants.answers(_writing, asked, object.union(one, {"files": [_file("/workspace/docs/a"), _file("/workspace/docs/b")]}))
}
