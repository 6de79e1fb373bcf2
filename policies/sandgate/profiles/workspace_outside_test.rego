package sandgate.profiles.workspace_test

import data.sandgate.profiles.workspace

# A script as text: commands joined by &&, words by single spaces, redirects as one word. The facts are those that are
# told of it where nothing but the words is known. An expansion is $X, a pattern holds *.
_line(line, features) := {
	"call": {"tool": "bash", "cwd": "/workspace", "args": {"command": line}, "shell": {
		"parsed": true,
		"overflow": false,
		"changes_directory": count({command | some command in commands; command.base in {"cd", "pushd"}}) > 0,
		"features": features,
		"cwd": {"path": "/workspace", "in_workspace": true},
		"commands": commands,
	}},
	"tool": {"name": "bash", "effects": ["execute", "read", "write", "delete"]},
} if {
	commands := [_parsed(i, split(text, " ")) | some i, text in split(line, " && ")]
}

_parsed(i, words) := object.union(_program(words), {
	"index": i,
	"kind": "simple",
	"name_static": true,
	"context": ["&&"],
	"via": [],
	"args": [_facts(word) | some j, word in words; j > 0; not regex.match(`^[<>]`, word)],
	"redirects": [_target(word) | some word in words; regex.match(`^[<>]`, word)],
})

_program(words) := {"name": words[0], "base": parts[count(parts) - 1], "dir": dir} if {
	parts := split(words[0], "/")
	dir := concat("/", array.slice(parts, 0, count(parts) - 1))
	words[0] != "git"
}

_program(words) := {"name": "git", "base": "git", "git": {"sub": words[1], "at": 0, "options": []}} if words[0] == "git"

_facts(word) := object.union(_place(word), {
	"value": word,
	"literal": true,
	"dynamic": false,
	"glob": false,
	"tilde": false,
	"kind": "dir",
	"eq": object.union({"name": split(word, "=")[0], "value": split(word, "=")[1]}, _place(split(word, "=")[1])),
}) if {
	contains(word, "=")
} else := {"literal": false, "dynamic": true, "glob": false, "tilde": false, "prefix": split(word, "$")[0]} if {
	contains(word, "$")
} else := {"literal": false, "dynamic": false, "glob": false, "tilde": true} if {
	startswith(word, "~")
} else := object.union(_place(word), {
	"value": word,
	"literal": true,
	"dynamic": false,
	"glob": contains(word, "*"),
	"tilde": false,
	"kind": "dir",
})

_target(word) := {"class": _class(word), "static": false, "network": false} if regex.match(`^.(~|.*[$*])`, word)

_target(word) := object.union(_place(substring(word, 1, -1)), {
	"class": _class(word),
	"static": true,
	"network": false,
	"target": substring(word, 1, -1),
}) if {
	not regex.match(`^.(~|.*[$*])`, word)
}

_class(word) := {">": "write", "<": "read"}[substring(word, 0, 1)]

# What climbs twice is outside of every directory that is used here; once, it depends.
_place(word) := {"path": word, "real": word, "in_workspace": false} if {
	startswith(word, "/")
	not startswith(word, "/workspace")
} else := {"path": word, "real": word, "in_workspace": true} if {
	startswith(word, "/")
} else := {"in_workspace": false} if {
	startswith(word, "../..")
} else := {} if {
	contains(word, "..")
} else := {"path": "/workspace", "real": "/workspace", "in_workspace": true} if {
	word == "."
} else := {"path": path, "real": path, "in_workspace": true} if {
	path := concat("/", ["/workspace", word])
}

_plain_features := ["and_list", "redirect"]

_outside_lines := {
	"cd src && cat ../../etc/passwd", "cd src && cat >../../x", "cd src && cat <../../x", "cat ../$X", "cat /etc/$X",
	"cat /usr/../$X", "ls ../*", "ls ../../*", "ls /etc/*", "cat ~", "cp -t/etc a", "tar -xC/etc a", "sort -o/usr/x a",
	"make -C../x", "cp -t/etc/$X a", "rm /usr/x", "cp a /usr/x", "dd of=/usr/x", "sed -i s/a/b/ /usr/x",
	"dd if=/etc/x", "x --y=../../z", "../evil", "/etc/evil", "/usr/../evil", "cat >/etc/x", "cat </etc/x", "grep x /etc/x",
	"grep -f /etc/x y", "grep -- -A /etc/x", "grep -e -A /etc/x", "sed -ie p /etc/x", "rg --files /etc",
	"git add /etc/x",
	"git commit -F /etc/x",
	"git checkout -m /etc/x",
	"git grep x /etc",
	"cd && cat x",
	"cd src && cat ../../a && cd ..",
}

_text_lines := {
	"echo /etc/x", "grep /api a", "grep -e /api a", "grep -rie /api a", "grep -A 3 /api a", "grep --include=/x y a",
	"rg --type go /api a", "awk -F / x a", "awk -F/ x a", "cut -d/ -f1 a", "sed -n /x/p a", "git commit -m /x",
	"git commit -m/x", "git commit --message=/x", "git log --grep /x", "git log -S /x", "git grep /x a",
	"gcc -I/usr/include -o/tmp/x a", "cat >/tmp/x", "cat </usr/x", "/usr/bin/make", "./a",
	"cd src && cat ../a",
	"cd src && gcc -I../x a",
	"cd src && ../a",
	"cd src && cat ../$X",
	"make && cd ..",
	"cd src && make && cd .. && make",
	"find . -path /x",
	"cd",
	"cat >$X", "make go=/usr/x", "cp a b", "find . -name x", "cat .git/config", "git config user.name x",
	"git config --get core.pager", "go install ./...", "go mod verify", "ls .",
}

_other_lines := {
	"pushd src && cat ../a": "unknown-path",
	"cd $X && cat >../y": "unknown-path",
	"cd $X && ../y": "unknown-path",
	"cd $X && cat ../$Y": "unknown-path",
	"cd $X && gcc -I../y a": "unknown-path",
	"cd .. && cat a": "unknown-path", "cd src && cd .. && cd .. && cat a": "unknown-path",
	"cd src && cd .. && cat ../a": "unknown-path",
	"rm -rf .": "whole-workspace",
	"rm -rf *": "whole-workspace",
	"mv /workspace /tmp/x": "whole-workspace",
	"rm -rf .git": "repository-internals",
	"cp a .git/hooks/$X": "repository-internals",
	"cp -t.git/hooks a": "repository-internals",
	"dd of=.git/config": "repository-internals",
	"find .git -delete": "repository-internals",
	"cat >.git/hooks/x": "repository-internals",
	"git config core.pager x": "repository-internals",
	"git config user.name x core.pager": "repository-internals",
	"git config -e": "repository-internals",
	"git config --file=x user.name y": "repository-internals",
	"git config merge.x.driver y": "repository-internals",
	"git lfs install": "repository-internals",
	"pre-commit install": "repository-internals",
	"npx cowsay": "network",
	"go mod tidy": "network",
	"uv sync": "network",
	"docker ps": "network",
	"git submodule status": "network",
	"SUDO ls": "privilege",
}

test_outside[line] if {
	some line in _outside_lines
	"outside-workspace" in _judge(_line(line, _plain_features)).deny
}

test_text[line] if {
	some line in _text_lines
	_judge(_line(line, _plain_features)) == {"deny": set(), "ask": set(), "allow": {"script-in-workspace"}}
}

test_other[line] if {
	some line, rule in _other_lines
	_counts(_line(line, _plain_features)) == {rule}
}

# A directory that is there is entered, whatever joins the commands.
test_sequence[line] if {
	some line, rule in {
		"cd src && cat ../a": "script-in-workspace",
		"make && cd src && cat ../a": "unknown-path",
	}
	_counts(_line(line, ["sequence"])) == {rule}
}

test_a_loop_may_run_anywhere if _counts(_line("cd src && cat ../a", ["for"])) == {"unknown-path"}

# Of a target that is not literal the facts keep nothing.
_targets := [
	{"line": "cat >~/x", "features": ["tilde"], "rules": {"outside-workspace"}},
	{"line": "cat >/etc/*", "features": ["glob"], "rules": {"outside-workspace"}},
	{"line": "cat >/etc/$X", "features": ["parameter_expansion"], "rules": {"outside-workspace"}},
	{"line": "cat >../$X", "features": ["parameter_expansion"], "rules": {"outside-workspace"}},
	{"line": "cat >~$X", "features": ["parameter_expansion", "tilde"], "rules": {"outside-workspace"}},
	{"line": "cat >$X", "features": ["parameter_expansion", "tilde"], "rules": {"unknown-path"}},
	{"line": "cat >$X", "features": ["glob", "parameter_expansion"], "rules": {"script-in-workspace"}},
	{"line": "cat >/tmp/$X", "features": ["parameter_expansion"], "rules": {"script-in-workspace"}},
]

test_targets[note] if {
	some case in _targets
	note := sprintf("%s %v", [case.line, case.features])
	case.rules & _counts(_line(case.line, case.features)) == case.rules
}

test_hidden_text if _counts(_line("ls", ["bidi"])) == {"hidden-text"}

test_a_file_of_the_repository if {
	file := {"in_workspace": true}
	_counts(_files([_file("write", ".git/hooks/x", file)], ["write"])) == {"repository-internals"}
	_counts(_files([_file("read", ".git/config", file)], ["read"])) == {"files-in-workspace"}
}

test_the_first_word_stands_in_for_a_missing_path if {
	document := _line("cd src && cat ../../etc/passwd", _plain_features)
	{finding.message | some finding in workspace.deny with input as document} == {"../../etc/passwd is outside the workspace"}
}

# The words of a command that another one runs are its own.
_running(outer, inner) := object.union(_line(outer, _plain_features), {"call": {"shell": {"commands": [
	_parsed(0, split(outer, " ")),
	object.union(_parsed(1, split(inner, " ")), {"via": [split(outer, " ")[0]]}),
]}}})

test_inner[note] if {
	some case in [
		["xargs grep -n /api", "grep -n /api", "script-in-workspace"],
		["find . -exec grep /api {} +", "grep /api {}", "script-in-workspace"],
		["xargs cat /etc/x", "cat /etc/x", "outside-workspace"],
		["xargs -a /etc/x grep y", "grep y", "outside-workspace"],
	]
	note := case[0]
	_counts(_running(case[0], case[1])) == {case[2]}
}
