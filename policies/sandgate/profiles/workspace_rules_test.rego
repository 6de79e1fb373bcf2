package sandgate.profiles.workspace_test

import data.sandgate.profiles.workspace

# One command whose words are inside, so that nothing but its name and its words decides.
_rules_of(words) := _counts(_script([_command(words[0], array.slice(words, 1, count(words)))]))

_rules_of_args(base, args) := _counts(_script([_with(_command(base, []), {"args": args})]))

_inside := {"script-in-workspace"}

test_privilege[program] if {
	some program in [
		"chroot", "doas", "newgrp", "nsenter", "pkexec", "runuser", "setcap", "setpriv", "sg", "su", "sudo", "unshare",
	]
	_rules_of([program]) == {"privilege"}
}

test_the_whole_system[program] if {
	some program in ["chgrp", "chmod", "chown", "mv", "rm"]
	_rules_of([program, "a", "/"]) == {"outside-workspace", "system-destructive"}
	_rules_of([program, "/etc"]) == {"outside-workspace"}
}

test_the_whole_system_is_read[program] if {
	some program in ["ls", "cat"]
	_rules_of([program, "/"]) == {"outside-workspace"}
}

test_clusters[program] if {
	some program in ["helm", "kubectl", "pulumi", "terraform", "tofu"]
	some verb in ["delete", "destroy", "drain", "uninstall"]
	"system-destructive" in _rules_of([program, verb])
}

test_clusters_of_others[verb] if {
	some verb in ["delete", "destroy", "drain", "uninstall"]
	_rules_of(["make", verb]) == _inside
}

test_hidden_features[feature] if {
	some feature in ["bidi", "control_chars", "invalid_utf8", "invisible_chars", "non_ascii_space", "nul"]
	_counts(_line("ls", [feature])) == {"hidden-text"}
}

test_features_that_are_seen[feature] if {
	some feature in ["non_ascii", "comment", "pipeline"]
	_counts(_line("ls", [feature])) == _inside
}

test_redirects_below_git[note] if {
	some class in ["write", "append", "read_write"]
	some key in ["path", "real", "target"]
	note := sprintf("%s %s", [class, key])
	redirect := {"class": class, "network": false, "in_workspace": true, "static": true, key: "/workspace/.git/x"}
	_counts(_script([_with(_command("ls", []), {"redirects": [redirect]})])) == {"repository-internals"}
}

test_redirects_that_may_be_below_git[note] if {
	some class in ["write", "append", "read_write"]
	some key in ["path", "real"]
	note := sprintf("%s %s", [class, key])
	redirect := {"class": class, "network": false, "static": true, "may": [
		{"value": "a", "in_workspace": true},
		{"value": "b", "in_workspace": true, key: "/workspace/.git/x"},
	]}
	_counts(_script([_with(_command("ls", []), {"redirects": [redirect]})])) == {"repository-internals"}
}

test_redirects_that_read_below_git[class] if {
	some class in ["read", "herestring"]
	place := {"path": "/workspace/.git/x", "real": "/workspace/.git/x", "value": "x", "in_workspace": true}
	redirect := object.union(place, {"class": class, "network": false, "target": ".git/x", "static": true, "may": [place]})
	_counts(_script([_with(_command("ls", []), {"redirects": [redirect]})])) == _inside
}

test_words_below_git[key] if {
	some key in ["path", "prefix", "real", "value"]
	arg := {"dynamic": false, "in_workspace": true, key: ".GIT/hooks/x"}
	_rules_of_args("cp", [arg]) == {"repository-internals"}
	_rules_of_args("cat", [arg]) == _inside
}

test_words_that_may_be_below_git[key] if {
	some key in ["path", "real"]
	arg := {"dynamic": true, "may": [{"value": "a", "in_workspace": true, key: "/workspace/.git/x"}]}
	_rules_of_args("cp", [arg]) == {"repository-internals"}
	_rules_of_args("cat", [arg]) == _inside
}

test_words_that_only_look_so[text] if {
	some text in [".gitx/a", "x.git/a", "a.git", ".github", "git/.gitignore", "a/.git2"]
	_rules_of(["cp", text]) == _inside
}

test_files_below_git[note] if {
	some op in ["write", "delete", "edit"]
	some key in ["path", "abs", "real"]
	note := sprintf("%s %s", [op, key])
	file := object.union({"op": op, "path": "a", "in_workspace": true}, {key: "/workspace/.git/x"})
	_counts(_files([file], ["write"])) == {"repository-internals"}
}

test_files_below_git_that_are_read[op] if {
	some op in ["glob", "grep", "list", "read", "search"]
	file := {"op": op, "path": ".git/x", "abs": "/workspace/.git/x", "real": "/workspace/.git/x", "in_workspace": true}
	_counts(_files([file], ["read"])) == {"files-in-workspace"}
}

test_templates_of_git if {
	variable := {"name": "GIT_TEMPLATE_DIR", "value": "x"}
	_counts(_script([_with(_command("git", ["status"]), {"env": [variable]})])) == {"repository-internals"}
	_counts(_script([_with(_command("make", []), {"env": [variable]})])) == _inside
	other := {"name": "GIT_EDITOR", "value": "x"}
	_counts(_script([_with(_command("git", ["status"]), {"env": [other]})])) == _inside
}

_git_rules(words) := _counts(_script([_with(
	_command("git", words),
	{"git": {"sub": words[0], "at": 0, "options": []}},
)]))

test_git_makes_a_repository if {
	_git_rules(["init", "--template=x"]) == {"repository-internals"}
	_git_rules(["init", "--te", "x"]) == {"repository-internals"}
	_git_rules(["init", "x"]) == _inside
	_git_rules(["clone", "--template=x", "y"]) == {"network", "repository-internals"}
	_git_rules(["clone", "y"]) == {"network"}
	_git_rules(["log", "--template=x"]) == _inside
	_git_rules(["lfs", "install"]) == {"repository-internals"}
	_git_rules(["lfs", "track"]) == _inside
	_git_rules(["add", "install"]) == _inside
	_git_rules(["submodule", "status"]) == {"network"}
}

test_installers_of_hooks[program] if {
	some program in ["husky", "lefthook", "pre-commit"]
	_rules_of([program, "install"]) == {"repository-internals"}
	_rules_of([program, "run"]) == _inside
}

test_others_install_no_hooks if _rules_of(["make", "install"]) == _inside

test_the_whole_workspace[program] if {
	some program in ["mv", "rm", "rmdir", "shred", "RM"]
	whole := {"whole-workspace"}
	_rules_of_args(program, [{"dynamic": false, "in_workspace": true, "path": "/workspace"}]) == whole
	_rules_of_args(program, [{"dynamic": false, "in_workspace": true, "path": "/workspace/a", "real": "/workspace"}]) == whole
	every key in ["path", "real"] {
		_rules_of_args(program, [{"dynamic": true, "may": [{"value": "a", "in_workspace": true, key: "/workspace"}]}]) == whole
	}
}

test_the_whole_workspace_is_used[program] if {
	some program in ["ls", "cp", "chmod"]
	_rules_of_args(program, [{"dynamic": false, "in_workspace": true, "path": "/workspace", "real": "/workspace"}]) == _inside
}

test_patterns_of_everything[pattern] if {
	some pattern in ["*", ".*", "{,.}*", "./*", "/workspace/*", "/workspace/.*"]
	arg := {"value": pattern, "glob": true, "dynamic": false, "in_workspace": true}
	_rules_of_args("rm", [arg]) == {"whole-workspace"}
	_rules_of_args("rm", [object.union(arg, {"glob": false})]) == _inside
}

test_patterns_of_something[pattern] if {
	some pattern in ["*.o", "a*", "src/*", "./x*", "*x"]
	_rules_of_args("rm", [{"value": pattern, "glob": true, "dynamic": false, "in_workspace": true}]) == _inside
}

test_find_takes_everything[word] if {
	some word in [
		".", "./", "/workspace", "/workspace/", "-depth", "-mindepth", "-mount", "-type", "-xdev", "1", "d", "f",
	]
	_rules_of(["find", word, "-delete"]) == {"whole-workspace"}
	_rules_of(["find", word]) == _inside
}

test_find_takes_something[word] if {
	some word in ["src", "-name", "-empty", "*.o", "2"]
	_rules_of(["find", word, "-delete"]) == _inside
}

test_others_than_find if _rules_of(["make", ".", "-delete"]) == _inside

_reasons(rules, document) := {finding.message |
	some finding in workspace.deny with input as document
	finding.rule in rules
}

_python_call(program) := {"call": {"tool": "python", "args": {}, "python": program}, "tool": {"effects": ["execute"]}}

test_python_over_the_network[called] if {
	some called in ["requests.get", "socket.create_connection", "urllib.request.urlopen"]
	program := {"calls": [called], "opens": []}
	_counts(_python_call(program)) == {"network"}
	_counts(_script([_with(_command("python3", []), {"python": program})])) == {"network"}
}

test_python_by_itself[called] if {
	some called in ["requestsx.get", "os.getcwd", "print", "requests"]
	program := {"calls": [called], "opens": []}
	_counts(_python_call(program)) == {"opaque-program"}
	_counts(_script([_with(_command("python3", []), {"python": program})])) == _inside
}

_open(op, path, more) := object.union({"op": op, "path": path, "value": path, "in_workspace": false}, more)

test_python_opens[note] if {
	some case in [
		["read outside", _open("read", "/etc/x", {}), {"outside-workspace"}],
		["read the system", _open("read", "/usr/x", {}), {"opaque-program"}],
		["write the system", _open("write", "/usr/x", {}), {"outside-workspace"}],
		["delete of the system", _open("delete", "/usr/x", {}), {"outside-workspace"}],
		["write where it is harmless", _open("write", "/tmp/x", {}), {"opaque-program"}],
		["delete where it is harmless", _open("delete", "/tmp/x", {}), {"opaque-program"}],
		["inside", _open("write", "/workspace/x", {"in_workspace": true}), {"opaque-program"}],
		["not known", {"op": "write", "value": "/etc/x"}, {"opaque-program"}],
	]
	note := case[0]
	_counts(_python_call({"calls": [], "opens": [case[1]]})) == case[2]
}

test_a_path_that_is_only_written_down if {
	document := _python_call({"calls": [], "opens": [{"op": "read", "value": "../x", "in_workspace": false}]})
	_reasons({"outside-workspace"}, document) == {"../x is outside the workspace"}
}

# What one rule asks, another may not allow.
test_nothing_allows_what_is_asked[note] if {
	some note, document in {
		"unparsed": _shell({"parsed": false, "overflow": false, "commands": [], "cwd": {}}),
		"unparsed, with files": object.union(
			_shell({"parsed": false, "overflow": false, "commands": [], "cwd": {}}),
			{"call": {"files": [_file("read", "a", {"in_workspace": true})]}},
		),
		"a dynamic name": _script([{"index": 0, "kind": "simple", "name_static": false, "args": [], "redirects": []}]),
		"a dynamic name among others": _script([
			_command("ls", []),
			{"index": 1, "kind": "simple", "name_static": false, "args": [], "redirects": []},
		]),
		"files, one of which may be anywhere": _files(
			[_file("read", "a", {"in_workspace": true}), _file("read", "b", {})],
			["execute", "read"],
		),
		"a file outside": _files([_file("read", "/etc/x", {"in_workspace": false})], ["execute"]),
		"a program with another effect": {"call": {"tool": "x"}, "tool": {"effects": ["execute", "payment"]}},
		"a script of a tool without effects": object.union(_script([_command("ls", [])]), {"tool": {"effects": []}}),
	}
	_judge(document).allow == set()
}

test_effects_that_stay_here[effect] if {
	some effect in ["execute", "read", "write", "delete"]
	_counts(_files([_file("read", "a", {"in_workspace": true})], [effect])) == {"files-in-workspace"}
}

test_effects_that_do_not[effect] if {
	some effect in ["payment", "browse"]
	_judge(_files([_file("read", "a", {"in_workspace": true})], [effect])).allow == set()
}

test_file_tools_read_the_system[op] if {
	some op in ["read", "list"]
	_counts(_files([_file(op, "/usr/x", {"in_workspace": false})], ["read"])) == {"files-in-workspace"}
}

test_file_tools_do_not_search_the_system[op] if {
	some op in ["glob", "grep", "write"]
	_counts(_files([_file(op, "/usr/x", {"in_workspace": false})], ["read"])) == {"outside-workspace"}
}

test_the_whole_cage if {
	workspace.obligations == {"sandbox": {"network": "none", "reuse": "session", "workspace": "rw"}}
}

test_the_network_of_awk[program] if {
	some program in ["awk", "gawk", "AWK"]
	_rules_of([program, "a/inet/tcp"]) == {"network"}
	_rules_of([program, "inet"]) == _inside
}

test_others_have_no_inet if _rules_of(["cat", "a/inet/tcp"]) == _inside

test_managers[program] if {
	some program in [
		"apk", "apt", "apt-get", "brew", "dnf", "docker", "helm", "httpie", "kubectl", "nerdctl", "pacman", "podman",
		"snap", "yum",
	]
	_rules_of([program, "x"]) == {"network"}
	_rules_of([program]) == {"network"}
	_rules_of([program, "kustomize", "x"]) == _inside
	every word in ["--help", "--version", "-h", "completion"] {
		_rules_of([program, word]) == _inside
		_rules_of([program, word, "x"]) == {"network"}
	}
}

test_verbs_that_fetch[note] if {
	some case in [
		["npm", "x"], ["pipx", "inject"], ["pnpm", "publish"], ["poetry", "lock"], ["yarn", "publish"],
		["bundle", "install"], ["composer", "require"], ["pip3", "wheel"], ["uv", "sync"],
	]
	note := concat(" ", case)
	_rules_of(case) == {"network"}
	_rules_of(["make", case[1]]) == _inside
	_rules_of([case[0], "run-x"]) == _inside
}

test_modules_of_go[note] if {
	some case in [
		[["go", "mod", "download"], {"network"}], [["go", "mod", "tidy"], {"network"}],
		[["go", "mod", "vendor"], {"network"}], [["go", "mod", "graph"], _inside], [["go", "vendor"], _inside],
		[["go", "list", "vendor"], _inside], [["make", "mod", "vendor"], _inside],
		[["go", "install", "./x"], _inside], [["go", "install", "-v", ".", ".."], _inside],
		[["go", "get", "./x"], {"network"}], [["npm", "install", "./x"], {"network"}],
		[["go", "install", "./x", "y"], {"network"}], [["go", "install", "./x@latest"], {"network"}],
	]
	note := concat(" ", case[0])
	_rules_of(case[0]) == case[1]
}

test_configuration_by_option[option] if {
	some option in ["-e", "--edit", "-f", "--file", "--remove-section", "--rename-section", "--file=x"]
	_git_rules(["config", option, "user.name", "x"]) == {"repository-internals"}
}

test_configuration_by_key if {
	_git_rules(["config", "user.name", "x"]) == _inside
	_git_rules(["config", "--global", "User.Name", "x"]) == _inside
	_git_rules(["config", "user.name", "x", "Core.Pager"]) == {"repository-internals"}
	_git_rules(["config", "x.y", "x"]) == {"repository-internals"}
	_git_rules(["config", "--get", "core.pager"]) == _inside
	_git_rules(["config", "list"]) == _inside
}

test_a_part_of_the_workspace[program] if {
	some program in ["mv", "rm", "rmdir", "shred"]
	part := {"value": "a", "path": "/workspace/a", "real": "/workspace/a", "in_workspace": true}
	_rules_of_args(program, [object.union(part, {"dynamic": false})]) == _inside
	_rules_of_args(program, [{"dynamic": true, "may": [part]}]) == _inside
}

# What a bare script cannot hold is not looked for in it: each of these is found in the same script that is not bare.
test_bare_scripts_are_not_looked_into[note] if {
	some note, case in {
		"a word outside": [_command("cat", ["/etc/shadow"]), "outside-workspace"],
		"a path that climbs": [_with(_command("cat", []), {"args": [{"value": "../../x", "literal": true}]}), "unknown-path"],
		"a file of git": [_with(_command("tee", []), {"args": [{"value": ".git/config", "literal": true}]}), "repository-internals"],
		"a redirect below .git": [_redirecting({"target": ".git/config"}), "repository-internals"],
		"a redirect that may be": [_redirecting({"may": [{"path": "/workspace/.git/config"}]}), "repository-internals"],
	}
	[command, rule] := case
	rule in _counts(_script([command]))
	not rule in _counts(_bare_script([command]))
}

_redirecting(redirect) := _with(
	_command("true", []),
	{"redirects": [object.union({"class": "write", "static": true, "network": false, "in_workspace": true}, redirect)]},
)

_bare_script(commands) := object.union(_script(commands), {"call": {"shell": {"bare": true}}})
