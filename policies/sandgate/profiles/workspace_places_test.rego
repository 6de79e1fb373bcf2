package sandgate.profiles.workspace_test

import data.sandgate.profiles.workspace

# The places outside that the profile tells of a command, and those of which it does not know where they lead.
_places(document) := {trim_suffix(finding.message, " is outside the workspace") |
	some finding in workspace.deny with input as document
	finding.rule == "outside-workspace"
}

_doubts(document) := {trim_suffix(trim_prefix(finding.message, "it is not known where "), " leads") |
	some finding in workspace.ask with input as document
	finding.rule == "unknown-path"
}

_places_of(base, words) := _places(_script([_command(base, words)]))

_places_of_arg(base, arg) := _places(_featured(_script([_with(_command(base, []), {"args": [arg]})]), []))

_bare(more) := object.union({"dynamic": false, "glob": false, "tilde": false}, more)

_args := [
	{"arg": {"value": "/etc/x", "path": "/etc/x", "in_workspace": false}, "want": {"/etc/x"}},
	{"arg": {"value": "../x", "in_workspace": false}, "want": {"../x"}},
	{"arg": {"value": "/usr/x", "path": "/usr/x", "in_workspace": false}, "want": set()},
	{"arg": {"value": "a", "path": "/workspace/a", "in_workspace": true}, "want": set()},
	{"arg": {"value": "a/../b", "path": "/b"}, "want": set()},
	{"arg": {"value": "/usr/../etc/x", "path": "/etc/x"}, "want": {"/etc/x"}},
	{"arg": {"value": "/usr/../usr/x", "path": "/usr/x"}, "want": set()},
	{"arg": {"value": "/usr/../workspace/x", "path": "/workspace/x"}, "want": set()},
	{"arg": {"value": "/etc/../etc/link", "path": "/etc/link", "in_workspace": true}, "want": set()},
	{"arg": {"dynamic": true, "value": "/usr/../etc/x", "path": "/etc/x"}, "want": set()},
	{"arg": {"dynamic": true, "prefix": "/etc/"}, "want": {"/etc/"}},
	{"arg": {"dynamic": true, "prefix": "/usr/"}, "want": set()},
	{"arg": {"dynamic": true, "prefix": "/usr/../"}, "want": {"/usr/../"}},
	{"arg": {"dynamic": true, "prefix": "../"}, "want": {"../"}},
	{"arg": {"dynamic": true, "prefix": "./../"}, "want": {"./../"}},
	{"arg": {"dynamic": true, "prefix": "a/../"}, "want": set()},
	{"arg": {"dynamic": true}, "want": set()},
	{"arg": {"dynamic": true, "value": "/etc/x", "path": "/etc/x", "in_workspace": false}, "want": set()},
	{"arg": {"dynamic": false, "prefix": "/etc/", "value": "-a"}, "want": set()},
	{"arg": {"glob": true, "value": "/etc/*"}, "want": {"/etc/*"}},
	{"arg": {"glob": true, "value": "/usr/*", "path": "/usr", "in_workspace": false}, "want": set()},
	{"arg": {"glob": true, "value": "/usr/../*"}, "want": {"/usr/../*"}},
	{"arg": {"glob": true, "value": "../*"}, "want": {"../*"}},
	{"arg": {"glob": true, "value": "link/*", "path": "/etc", "in_workspace": false}, "want": {"link/*"}},
	{"arg": {"glob": true, "value": "a/*", "in_workspace": true}, "want": set()},
	{"arg": {"glob": true, "dynamic": true, "value": "/etc/*"}, "want": set()},
	{"arg": {"tilde": true}, "want": {"the home directory"}},
	{"arg": {"value": "-rf", "path": "/x", "in_workspace": false}, "want": set()},
	{"arg": {"value": "-x../../y", "path": "/y", "in_workspace": false}, "want": {"/y", "../../y"}},
	{"arg": {"value": "-f/etc/x"}, "want": {"/etc/x"}},
	{"arg": {"value": "-f/usr/x"}, "want": set()},
	{"arg": {"value": "-B/usr/x"}, "want": {"/usr/x"}},
	{"arg": {"value": "-o/usr/x"}, "want": {"/usr/x"}},
	{"arg": {"value": "-t/usr/x"}, "want": {"/usr/x"}},
	{"arg": {"value": "-xt/usr/x"}, "want": {"/usr/x"}},
	{"arg": {"value": "-t/tmp/x"}, "want": set()},
	{"arg": {"value": "-f../x"}, "want": {"../x"}},
	{"arg": {"value": "-f.."}, "want": {".."}},
	{"arg": {"value": "-fa/../x"}, "want": {"/../x"}},
	{"arg": {"dynamic": true, "prefix": "-f/etc/"}, "want": {"/etc/"}},
	{
		"arg": {
			"value": "--a=/etc/x", "in_workspace": true, "path": "/workspace/--a=/etc/x",
			"eq": {"name": "--a", "value": "/etc/x", "path": "/etc/x", "in_workspace": false},
		},
		"want": {"/etc/x"},
	},
	{
		"arg": {"value": "a=/etc/x", "eq": {"name": "a", "value": "/etc/x", "in_workspace": false}},
		"want": {"/etc/x"},
	},
	{
		"arg": {"value": "a=/usr/../etc/x", "eq": {"name": "a", "value": "/usr/../etc/x", "path": "/etc/x"}},
		"want": {"/etc/x"},
	},
	{
		"arg": {"value": "--a=/usr/x", "eq": {"name": "--a", "value": "/usr/x", "path": "/usr/x", "in_workspace": false}},
		"want": set(),
	},
	{"arg": {"dynamic": true, "may": [{"value": "~"}]}, "want": {"~"}},
	{"arg": {"dynamic": true, "may": [{"value": "~/x"}]}, "want": {"~/x"}},
	{"arg": {"dynamic": true, "may": [{"value": "~x"}]}, "want": set()},
	{
		"arg": {"dynamic": true, "may": [
			{"value": "a", "path": "/workspace/a", "in_workspace": true},
			{"value": "/etc/x", "path": "/etc/x", "in_workspace": false},
		]},
		"want": {"/etc/x"},
	},
	{"arg": {"dynamic": true, "may": [{"value": "../x", "in_workspace": false}]}, "want": {"../x"}},
	{"arg": {"dynamic": true, "may": [{"value": "/usr/x", "path": "/usr/x", "in_workspace": false}]}, "want": set()},
	{"arg": {"dynamic": true, "may": [{"value": "-x", "path": "/x", "in_workspace": false}]}, "want": set()},
	{"arg": {"dynamic": true, "may": [{"value": "/usr/../etc/x", "path": "/etc/x"}]}, "want": {"/usr/../etc/x"}},
	{"arg": {"dynamic": true, "may": [{"value": "/usr/../usr/x", "path": "/usr/x"}]}, "want": set()},
	{"arg": {"dynamic": true, "may": [{"value": "/usr/../workspace/x", "path": "/workspace/x"}]}, "want": set()},
	{
		"arg": {"dynamic": true, "may": [{"value": "/etc/../etc/x", "path": "/etc/x", "in_workspace": true}]},
		"want": set(),
	},
]

test_places_of_words[note] if {
	some case in _args
	note := json.marshal(case.arg)
	_places_of_arg("make", _bare(case.arg)) == case.want
}

# A pattern of one of these is printed as what it matches, so it is a place after all.
test_patterns_that_are_printed[program] if {
	some program in ["echo", "printf"]
	_places_of_arg(program, _bare({"glob": true, "value": "/etc/*"})) == {"/etc/*"}
	_places_of(program, ["/etc/x"]) == set()
}

test_what_is_only_text[program] if {
	some program in ["[", "basename", "dirname", "expr", "seq", "test", "tr", "TEST"]
	_places_of(program, ["/etc/x", "/etc/y"]) == set()
}

test_what_is_changed[program] if {
	some program in [
		"chgrp", "chmod", "chown", "mkdir", "mkfifo", "mv", "rm", "rmdir", "shred", "tee", "touch", "truncate", "unlink",
	]
	_places_of(program, ["/usr/a", "/tmp/b"]) == {"/usr/a"}
	_places_of_arg(program, _bare({"dynamic": true, "may": [{
		"value": "x",
		"path": "/usr/x",
		"in_workspace": false,
	}]})) == {"x"}
}

test_the_last_word_is_changed[program] if {
	some program in ["cp", "install", "rsync"]
	_places_of(program, ["/usr/a", "/usr/b"]) == {"/usr/b"}
	_places_of(program, ["/usr/a"]) == set()
	_places_of(program, ["/usr/a", "/tmp/b"]) == set()
}

test_no_word_is_changed[program] if {
	some program in ["cat", "make", "diff"]
	_places_of(program, ["/usr/a", "/usr/b"]) == set()
}

test_the_output_of_compilers[program] if {
	some program in ["as", "c++", "cc", "clang", "clang++", "g++", "gcc", "go", "ld", "rustc"]
	_places_of(program, ["/usr/a", "-o", "/usr/b", "/usr/c"]) == {"/usr/b"}
	every name in ["-o", "--output"] {
		_places_of_arg(program, _assigned(name)) == {"/usr/x"}
	}
	_places_of_arg(program, _assigned("-I")) == set()
}

_assigned(name) := _bare({
	"value": sprintf("%s=/usr/x", [name]),
	"in_workspace": true,
	"eq": {"name": name, "value": "/usr/x", "path": "/usr/x", "in_workspace": false},
})

test_the_output_of_others if {
	_places_of("make", ["-o", "/usr/b"]) == set()
	_places_of_arg("make", _assigned("-o")) == set()
	_places_of_arg("make", _assigned("of")) == set()
}

test_named_targets[program] if {
	some program in ["cp", "dd", "install"]
	every name in ["of", "--target-directory"] {
		_places_of_arg(program, _assigned(name)) == {"/usr/x"}
	}
	_places_of_arg(program, _assigned("if")) == set()
}

test_sed_in_place[word] if {
	some word in ["-i", "-ni", "-nEi.bak", "--in-place", "--in-place=.bak"]
	_places_of("sed", [word, "p", "/usr/x"]) == {"/usr/x"}
	_places_of("make", [word, "p", "/usr/x"]) == set()
}

test_sed_elsewhere[word] if {
	some word in ["-n", "-E", "-s"]
	_places_of("sed", [word, "p", "/usr/x"]) == set()
}

_redirects(redirects) := _script([_with(_command("ls", []), {"redirects": redirects})])

_to(class, more) := object.union({"class": class, "network": false, "static": true}, more)

test_where_redirects_write[class] if {
	some class in ["write", "append", "read_write"]
	every case in [
		[{"target": "/etc/x", "path": "/etc/x", "in_workspace": false}, {"/etc/x"}],
		[{"target": "/usr/x", "path": "/usr/x", "in_workspace": false}, {"/usr/x"}],
		[{"target": "/tmp/x", "path": "/tmp/x", "in_workspace": false}, set()],
		[{"target": "../x", "in_workspace": false}, {"../x"}],
		[{"target": "a", "path": "/workspace/a", "in_workspace": true}, set()],
		[{"target": "/tmp/../usr/x", "path": "/usr/x"}, {"/usr/x"}],
		[{"target": "/usr/../tmp/x", "path": "/tmp/x"}, set()],
		[{"target": "/usr/../workspace/x", "path": "/workspace/x"}, set()],
		[{"target": "/usr/../etc/x", "path": "/etc/x", "in_workspace": true}, set()],
		[{"target": "/usr/../etc/x", "path": "/etc/x", "network": true}, set()],
		[{"target": "/etc/x", "path": "/etc/x", "in_workspace": false, "network": true}, set()],
		[{"may": [{"value": "/usr/x", "path": "/usr/x", "in_workspace": false}]}, {"/usr/x"}],
		[{"may": [{"value": "/tmp/x", "path": "/tmp/x", "in_workspace": false}]}, set()],
		[{"network": true, "may": [{"value": "/usr/x", "path": "/usr/x", "in_workspace": false}]}, set()],
		[{"may": [{"value": "~"}]}, {"~"}],
	] {
		_places(_redirects([_to(class, case[0])])) == case[1]
	}
}

test_where_redirects_read if {
	every case in [
		[{"target": "/etc/x", "path": "/etc/x", "in_workspace": false}, {"/etc/x"}],
		[{"target": "/usr/x", "path": "/usr/x", "in_workspace": false}, set()],
		[{"target": "../x", "in_workspace": false}, {"../x"}],
		[{"target": "a", "path": "/workspace/a", "in_workspace": true}, set()],
		[{"target": "/tmp/../usr/x", "path": "/usr/x"}, set()],
		[{"target": "/usr/../etc/x", "path": "/etc/x"}, {"/etc/x"}],
		[{"target": "/usr/../etc/x", "path": "/etc/x", "in_workspace": true}, set()],
		[{"target": "/etc/x", "path": "/etc/x", "in_workspace": false, "network": true}, set()],
		[{"may": [{"value": "/usr/x", "path": "/usr/x", "in_workspace": false}]}, set()],
		[{"may": [{"value": "/etc/x", "path": "/etc/x", "in_workspace": false}]}, {"/etc/x"}],
	] {
		_places(_redirects([_to("read", case[0])])) == case[1]
	}
}

test_text_is_no_place[class] if {
	some class in ["heredoc", "herestring", "dup"]
	every facts in [
		{"target": "/etc/x", "path": "/etc/x", "in_workspace": false},
		{"target": "/usr/../etc/x", "path": "/etc/x"},
		{"target": "../x"},
		{"static": false, "target": "x"},
	] {
		_places(_featured(_redirects([_to(class, facts)]), ["glob", "tilde"])) == set()
		_doubts(_featured(_redirects([_to(class, facts)]), ["glob", "tilde"])) == set()
	}
}

_featured(document, features) := object.union(document, {"call": {
	"args": {"command": "ls > /etc/x"},
	"shell": {
		"features": features,
		"changes_directory": false,
		"cwd": {"path": "/workspace", "in_workspace": true},
	},
}})

_not_literal(class, command, features) := object.union(
	_featured(_redirects([{"class": class, "static": false, "network": false}]), features),
	{"call": {"args": {"command": command}}},
)

test_targets_that_are_not_literal[class] if {
	some class in ["read", "write", "append", "read_write"]
	_places(_not_literal(class, "cat > /etc/$X", ["parameter_expansion"])) == {"/etc/$X"}
	_places(_not_literal(class, "cat >| '/etc/'$X", ["parameter_expansion"])) == {"/etc/"}
	_places(_not_literal(class, "cat < ~joe", ["parameter_expansion"])) == {"~joe"}
	_places(_not_literal(class, "cat > /usr/$X", ["parameter_expansion"])) == set()
	_places(_not_literal(class, "cat > /usr/../$X", ["parameter_expansion"])) == {"/usr/../$X"}
	_places(_not_literal(class, "cat > ../$X", ["parameter_expansion"])) == {"../$X"}
	_places(_not_literal(class, "cat > $X", ["parameter_expansion"])) == set()
	_doubts(_not_literal(class, "cat > $X", ["tilde", "parameter_expansion"])) == {"a redirect"}
	_doubts(_not_literal(class, "cat > $X", ["parameter_expansion"])) == set()
}

test_patterns_and_tildes_of_targets[feature] if {
	some feature in ["extglob", "glob", "tilde"]
	some_place := {"a redirect to a pattern or a home directory"}
	_places(_not_literal("write", "cat > x", [feature])) == some_place
	every expansion in ["arithmetic", "command_substitution", "parameter_expansion", "process_substitution"] {
		_places(_not_literal("write", "cat > x", [feature, expansion])) == set()
	}
	_places(_not_literal("write", "cat > x", [feature, "pipeline"])) == some_place
}

test_no_patterns_of_targets if _places(_not_literal("write", "cat > x", ["pipeline"])) == set()

_uses(op, path, in_workspace) := _places(_script([_with(_command("make", []), {"files": [{
	"op": op,
	"path": path,
	"value": path,
	"in_workspace": in_workspace,
}]})]))

test_files_that_a_program_names if {
	_uses("read", "/etc/x", false) == {"/etc/x"}
	_uses("read", "/usr/x", false) == set()
	_uses("write", "/usr/x", false) == {"/usr/x"}
	_uses("delete", "/usr/x", false) == {"/usr/x"}
	_uses("write", "/tmp/x", false) == set()
	_uses("write", "/etc/x", true) == set()
}

test_programs_outside[note] if {
	some case in [
		["/etc", {"/etc"}], ["/usr/..", {"/usr/.."}], ["..", {".."}], ["./..", {"./.."}], [".", set()], ["a/..", set()],
		["/bin", set()], ["/sbin", set()], ["/usr/local/bin", set()], ["/opt/x", set()], ["/tmp", set()],
		["/var/tmp", set()], ["/workspace/x", set()], ["/usrx", {"/usrx"}],
	]
	note := case[0]
	document := _featured(_script([_with(_command("x", []), {"dir": case[0]})]), [])
	_places(document) == case[1]
}

test_variables_that_are_places[name] if {
	some name in [
		"BASH_ENV", "CDPATH", "ENV", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_CONFIG",
		"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY",
		"GIT_TEMPLATE_DIR", "GIT_WORK_TREE", "KUBECONFIG", "RIPGREP_CONFIG_PATH",
	]
	every case in [["/etc/x", {"/etc/x"}], ["/usr/x", set()], ["../x", {"../x"}], ["x", set()]] {
		variable := {"name": name, "value": case[0]}
		_places(_featured(_script([_with(_command("x", []), {"env": [variable]})]), [])) == case[1]
	}
}

test_variables_that_are_none if {
	_places(_script([_with(_command("x", []), {"env": [{"name": "FOO", "value": "/etc/x"}]})])) == set()
}

# A change of directory that everything after it depends on, and what makes it none.
_changing(changes) := object.union(_line("cd src && cat ../a", ["and_list"]), {"call": {"shell": changes}})

_entering(changes) := _with(_parsed(0, ["cd", "src"]), changes)

_then(changes) := _changing({"commands": [_entering(changes), _parsed(1, ["cat", "../a"])]})

test_settled_features[feature] if {
	some feature in [
		"and_list", "ansi_c_quoting", "brace_expansion", "comment", "glob", "heredoc", "herestring", "non_ascii",
		"parameter_expansion", "pipeline", "redirect", "sequence", "tilde", "time",
	]
	_doubts(_changing({"features": [feature]})) == set()
}

test_unsettled_features[feature] if {
	some feature in ["or_list", "background", "subshell", "function", "while", "negation"]
	_doubts(_changing({"features": [feature]})) == {"../a"}
}

test_changes_that_do_not_settle[note] if {
	some note, changes in {
		"by another program": {"via": ["command"]}, "to two places": {"args": [_facts("src"), _facts("lib")]},
		"in a pipe": {"context": ["|"]}, "after a pipe": {"context": ["&&", "|"]},
		"by another command": {"base": "pushd"},
		"through a symlink": {"args": [object.union(_facts("src"), {"real": "/workspace/a/b"})]},
		"to an unknown place": {"args": [object.remove(_facts("src"), ["in_workspace"])]},
	}
	"../a" in _doubts(_then(changes))
}

test_a_change_that_settles if _doubts(_then({})) == set()

test_a_sequence_needs_a_directory if {
	features := {"features": ["sequence"]}
	_doubts(object.union(_then({}), {"call": {"shell": features}})) == set()
	no_directory := _then({"args": [object.union(_facts("src"), {"kind": "file"})]})
	_doubts(object.union(no_directory, {"call": {"shell": features}})) == {"../a"}
	later := _changing({"features": ["sequence"], "commands": [
		_parsed(0, ["make"]), object.union(_entering({}), {"index": 1}), _parsed(2, ["cat", "../a"]),
	]})
	_doubts(later) == {"../a"}
}

_lines_of_changes := [
	["cd src && cd link && cat ../a", {"../a"}], ["cd a/b && cd .. && cat ../a", set()],
	["cd a/b && cd .. && cat ../../a", {"../../a"}], ["cd a/b && cd ../ && cat ../a", set()],
	["cd a/b && cd ../.. && cat a", set()], ["cd a/b && cd ../../.. && cat a", {"../../.."}],
	["cd a/b && cat ../../a", set()],
	["cd src && eval x && cat ../a", {"../a"}],
	["cd src && source x && cat ../a", {"../a"}],
	["cd src && popd && cat ../a", {"../a"}],
	["cd src && . && cat ../a", {"../a"}],
	["cat src/../../a", {"src/../../a"}], ["cat a..b", set()], ["cat x=src/../../a", {"src/../../a", "x=src/../../a"}],
	["make -fsrc/../a", {"-fsrc/../a"}], ["cat a/../b", {"a/../b"}], ["cat a/../$X", {"a/../"}],
	["cat <a/../b", {"a/../b"}], ["make -f/../a", {"-f/../a"}],
	["cd src && x", set()], ["a/../b", {"a/.."}],
]

test_lines_of_changes[line] if {
	some case in _lines_of_changes
	line := case[0]
	_doubts(_line(line, ["and_list"])) - _places(_line(line, ["and_list"])) == case[1] - _places(_line(line, ["and_list"]))
}

test_home if {
	_places(_line("cd && ls", [])) == {"the home directory"}
	_places(_line("ls && cd", [])) == set()
	_places(_line("cd src && ls", [])) == set()
	_places(_line("make && ls", [])) == set()
}

# Words of text, and the same where they are none.
_texts := [
	["git log --after /x", set()], ["git log --author /x", set()], ["git log --before /x", set()],
	["git log --committer /x", set()], ["git log --date /x", set()], ["git log --format /x", set()],
	["git log --grep /x", set()], ["git log --message /x", set()], ["git log --pretty /x", set()],
	["git log --since /x", set()], ["git log --subject-prefix /x", set()], ["git log --trailer /x", set()],
	["git log --until /x", set()], ["git log --other /x", {"/x"}], ["make --grep /x", {"/x"}],
	["make --grep=/x", {"/x"}],
	["git log --grep=/x", set()],
	["git commit -am /x", set()], ["git tag -m /x", set()], ["git stash -m /x", set()], ["git merge -m /x", set()],
	["git notes -m /x", set()], ["git log -m /x", {"/x"}], ["git commit -mx /x", {"/x"}],
	["git log -S /x", set()], ["git show -G /x", set()], ["git diff -S /x", set()], ["git shortlog -G /x", set()],
	["git rev-list -S /x", set()], ["git commit -S /x", {"/x"}], ["git log -T /x", {"/x"}],
	["git log -S/x", set()], ["git commit -S/x", {"/x"}], ["git commit -m/x", set()],
]

_patterns := [
	["rg y --regexp /x", set()], ["rg y --glob /x", set()], ["rg y --iglob /x", set()], ["rg y --replace /x", set()],
	["rg y --type-not /x", set()], ["rg y -g /x", set()], ["rg y -r /x", set()], ["rg y -j /x", set()],
	["sed -l /x p a", set()], ["sed p -l /x", set()], ["sort -t /x", set()], ["sort -rt /x", set()],
	["sort -tk /x", {"/x"}], ["grep -fA /x", {"/x"}], ["grep y -iA /x", {"/x"}], ["grep y -nA /x", set()],
	["grep y -- -A /x", {"/x"}], ["grep -A -A /x y", set()], ["grep x -A -A /y", {"/y"}], ["cat -A /x", {"/x"}],
	["find . -newermt /x", set()],
	["find . -name -name /x", {"/x"}],
	["make -name /x", {"/x"}],
	["grep -- /x a", set()], ["grep -- x /a", {"/a"}], ["grep /x /a", {"/a"}], ["grep -n /x /a", {"/a"}],
	["jq /x /a", {"/a"}], ["jq -f /x", {"/x"}], ["jq -e /x", set()], ["gawk -E /x", {"/x"}], ["gawk /x", set()],
	["mawk -f /x", {"/x"}], ["mawk -e /x", set()], ["awk -f /x", {"/x"}], ["rg --files /x", {"/x"}],
	["rg --files-with-matches /x", set()], ["grep --files-without-match /x", set()], ["grep --fixed-strings /x", set()],
	["grep --file x /x", {"/x"}], ["grep --regexp x /x", {"/x"}], ["jq --from-file x /x", {"/x"}],
	["sed --expression x /x", {"/x"}], ["git grep /x", set()], ["git grep x /x", {"/x"}], ["git grep -e x /x", {"/x"}],
	["git log /x", {"/x"}], ["grep --include=/x y", set()], ["grep --exclude=/x y", set()],
	["grep --exclude-dir=/x y", set()], ["grep --regexp=/x y", set()], ["sed --expression=/x y", set()],
	["rg --glob=/x y", set()], ["awk --field-separator=/x y", set()], ["make --include=/x", {"/x"}],
	["grep --other=/x y", {"/x"}], ["cut -d/x a", set()], ["cut -x/y a", {"/y"}], ["make -d/x", {"/x"}],
]

test_texts[line] if {
	some case in _texts
	line := case[0]
	_places(_line(line, [])) == case[1]
}

test_patterns[line] if {
	some case in _patterns
	line := case[0]
	_places(_line(line, [])) == case[1]
}

# A letter that no program has gives no pattern.
test_letters_that_give_no_pattern[program] if {
	some program in ["awk", "egrep", "fgrep", "gawk", "grep", "jq", "mawk", "rg", "sed"]
	every word in ["-~", "-q"] {
		_places_of(program, [word, "/x", "a"]) == set()
	}
	_places_of(program, ["/x", "/y"]) == {"/y"}
	_places_of(program, ["-f", "/x", "a"]) == {"/x"}
}

test_letters_that_want_the_next_word[note] if {
	some program, letters in {
		"awk": ["F", "v"], "column": ["o", "s"], "cut": ["d", "f"], "egrep": ["A", "B", "C", "D", "d", "m"],
		"fgrep": ["A", "B", "C", "D", "d", "m"], "gawk": ["F", "v"], "grep": ["A", "B", "C", "D", "d", "m"],
		"join": ["t"], "ls": ["I"], "mawk": ["F", "v"], "paste": ["d"],
		"rg": ["A", "B", "C", "E", "M", "T", "d", "g", "j", "m", "r", "t"], "sed": ["l"], "sort": ["k", "t"],
		"xargs": ["E", "I", "d"],
	}
	some letter in letters
	note := sprintf("%s %s", [program, letter])
	_places_of(program, ["y", sprintf("-%s", [letter]), "/x"]) == set()
	_places_of(program, ["y", sprintf("-%s/x", [letter])]) == set()
	_places_of(program, ["y", "-Z", "/x"]) == {"/x"}
}

test_letters_that_give_the_pattern[program] if {
	some program in ["awk", "egrep", "fgrep", "gawk", "grep", "rg", "sed"]
	_places_of(program, ["-e", "/x", "a"]) == set()
	_places_of(program, ["-e/x", "a"]) == set()
	_places_of(program, ["-e", "x", "/y"]) == {"/y"}
}

test_words_of_find[name] if {
	some name in [
		"-iname", "-ipath", "-iregex", "-iwholename", "-name", "-newermt", "-path", "-printf", "-regex", "-wholename",
	]
	_places_of("find", [".", name, "/x"]) == set()
}

test_words_of_rg[name] if {
	some name in [
		"--context", "--glob", "--iglob", "--max-count", "--max-depth", "--replace", "--type", "--type-not",
	]
	_places_of("rg", ["y", name, "/x"]) == set()
}

test_clusters_of_letters_before_a_pattern[program] if {
	some program in ["egrep", "fgrep", "grep", "rg"]
	_places_of(program, ["-rie", "/x", "a"]) == set()
	_places_of(program, ["-rife", "/x", "a"]) == {"/x"}
}

test_sed_has_a_suffix_there if _places_of("sed", ["-nie", "/etc/x", "a"]) == {"/etc/x"}

# What a subshell enters and leaves again is none of the commands after it.
test_a_deeper_working_directory if {
	script := {
		"changes_directory": false,
		"cwd": {"path": "/workspace/a/b", "in_workspace": true},
		"commands": [
			_parsed(0, ["cd", "x"]), _parsed(1, ["cd", ".."]), _parsed(2, ["cat", "y/../z"]),
			_parsed(3, ["cat", "y/../../z"]), _parsed(4, ["cat", "y/../../../z"]),
		],
	}
	_doubts(_changing(script)) == {"y/../../../z"}
}
