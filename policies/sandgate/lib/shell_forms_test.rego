package sandgate.lib.shell_forms_test

import data.sandgate.lib.facts_test as facts
import data.sandgate.lib.shell

test_harmless_features[feature] if {
	some feature in [
		"and_list", "ansi_c_quoting", "brace_expansion", "comment", "glob", "heredoc", "herestring", "negation",
		"non_ascii", "or_list", "pipeline", "redirect", "sequence", "time",
	]
	shell.plain(object.union(facts.script([facts.command(["ls"])]), {"features": [feature]}))
}

test_runs_only_what_the_system_holds[note] if {
	some case in [
		["ls", true], ["/bin/ls", true], ["/usr/bin/ls", true], ["/usr/local/bin/ls", false], ["bin/ls", false],
	]
	note := case[0]
	runs := {name | some name in ["ls"]; shell.runs(facts.command([case[0]]), name)}
	count(runs) == to_number(case[1])
}

test_runs_simple_commands_only if {
	not shell.runs(object.union(facts.command(["ls"]), {"kind": "assign"}), "ls")
	not shell.runs(facts.command(["ls"]), "cat")
}

test_values if {
	command := {"args": [{"value": "a", "literal": true}, {"value": "b", "literal": false}, {"literal": true}]}
	shell.values(command) == {"a"}
}

test_streams_that_are_joined[target] if {
	some target in ["-", "0", "1", "2"]
	shell.harmless_redirect({"class": "dup", "target": target})
	not shell.harmless_redirect({"class": "write", "target": target})
}

test_the_null_device[class] if {
	some class in ["read", "write", "append"]
	shell.harmless_redirect({"class": class, "target": "/dev/null"})
	shell.harmless_redirect({"class": class, "target": "/dev//null", "path": "/dev/null"})
	not shell.harmless_redirect({"class": class, "target": "/dev/../dev/null", "path": "/dev/null"})
	not shell.harmless_redirect({"class": class, "target": "/dev/zero", "path": "/dev/zero"})
	not shell.harmless_redirect({"class": class, "target": "null", "path": "/dev/null"})
}

test_null_of_another_class if {
	not shell.harmless_redirect({"class": "read_write", "target": "/dev//null", "path": "/dev/null"})
}

test_text_is_harmless[class] if {
	some class in ["heredoc", "herestring"]
	shell.harmless_redirect({"class": class, "static": true})
	not shell.harmless_redirect({"class": class, "static": false})
	not shell.harmless_redirect({"class": class})
}

test_static_is_not_enough if not shell.harmless_redirect({"class": "write", "static": true})

_device := object.union(facts.word("/dev/sda"), {"path": "/dev/sda"})

test_copies_onto_a_device[program] if {
	some program in ["cp", "install", "mv", "tee", "CP"]
	shell.destructive(facts.with_args(program, [_device]))
	not shell.destructive(facts.with_args(program, [object.union(_device, {"path": "/dev/null"})]))
}

test_no_copies_onto_a_device[program] if {
	some program in ["openssl", "find", "ls", "chmod"]
	not shell.destructive(facts.with_args(program, [_device]))
}

test_redirects_onto_a_device[class] if {
	some class in ["write", "append", "read_write"]
	redirect := {"class": class, "path": "/dev/sda", "target": "/dev/sda"}
	shell.destructive(object.union(facts.command(["ls"]), {"redirects": [redirect]}))
}

test_reading_from_a_device_destroys_nothing if {
	redirect := {"class": "read", "path": "/dev/sda", "target": "/dev/sda"}
	not shell.destructive(object.union(facts.command(["ls"]), {"redirects": [redirect]}))
}

test_rights_of_a_tree[program] if {
	some program in ["chattr", "chgrp", "chmod", "chown", "setfacl"]
	shell.destructive(facts.command([program, "-R", "x", "/etc"]))
	shell.destructive(facts.command([program, "-vR", "x", "/etc"]))
	shell.destructive(facts.command([program, "--rec", "x", "/etc"]))
	not shell.destructive(facts.command([program, "-R", "x", "src"]))
	not shell.destructive(facts.command([program, "x", "/etc"]))
	not shell.destructive(facts.command([program, "--reference=x", "/etc"]))
}

test_rights_are_not_all_options_of_a_tree if not shell.destructive(facts.command(["cp", "-R", "x", "/etc"]))

test_families[program] if {
	some program in ["mkfs", "mkfs.xfs", "mke2fs", "mke2fs.static"]
	shell.destructive(facts.command([program, "x"]))
}

test_pacman_and_its_like[program] if {
	some program in ["pacman", "yay", "paru"]
	shell.destructive(facts.command([program, "-Rs", "x"]))
	shell.network(facts.command([program, "-Syu"]))
	not shell.destructive(facts.command([program, "-Qi"]))
	not shell.network(facts.command([program, "-Qi"]))
}

test_others_than_pacman if {
	not shell.destructive(facts.command(["cp", "-Rs", "x"]))
	not shell.network(facts.command(["find", "-Syu"]))
}

test_removing[verb] if {
	some verb in ["autoremove", "erase", "purge", "remove", "rm", "uninstall", "unpublish"]
	shell.destructive(facts.command(["dnf", verb, "x"]))
	not shell.destructive(facts.command(["openssl", verb, "x"]))
}

test_installing[verb] if {
	some verb in [
		"add", "dist-upgrade", "download", "full-upgrade", "install", "reinstall", "source", "update", "upgrade",
	]
	shell.network(facts.command(["dnf", verb, "x"]))
	not shell.network(facts.command(["find", verb, "x"]))
}

test_without_a_verb_it_installs[program] if {
	some program in ["bundle", "yarn"]
	shell.network(facts.command([program]))
	shell.network(facts.command([program, "--silent"]))
	not shell.network(facts.command([program, "exec"]))
	not shell.network(facts.with_args(program, [facts.unknown]))
}

test_without_a_verb_others_do_not if not shell.network(facts.command(["npm"]))

test_what_tells_of_itself[word] if {
	some word in ["--help", "--version", "-h", "-v"]
	not shell.network(facts.command(["yarn", word]))
}

test_mounts[note] if {
	some case in [["//h/x", true], ["h:/x", true], ["/dev/sdb", false], ["a=b:/x", false], ["/a:/b", false], ["a,b:/x", false]]
	note := case[0]
	found := {word | some word in [case[0]]; shell.network(facts.command(["mount", word, "m"]))}
	count(found) == to_number(case[1])
}

test_other_programs_mount_nothing if not shell.network(facts.command(["find", "h:/x"]))

test_modules_of_python[module] if {
	some module in ["pip", "http.server", "smtpd", "ensurepip"]
	shell.network(facts.command(["python3", "-m", module]))
	shell.network(facts.command(["pypy3.10", "-m", module]))
	not shell.network(facts.command(["python3", module]))
	not shell.network(facts.command(["python3", "-m", "x", module]))
	not shell.network(facts.command(["pythonw", "-m", module]))
}

test_modules_right_behind_the_letter[word] if {
	some word in ["-mpip", "-mhttp.server"]
	shell.network(facts.command(["python", word]))
	not shell.network(facts.command(["perl", word]))
}

test_numbered_pip[verb] if {
	some verb in ["download", "index", "install", "search", "wheel"]
	shell.network(facts.command(["pip3.12", verb]))
	not shell.network(facts.command(["pipx3", verb]))
}

test_numbered_pip_that_only_lists if not shell.network(facts.command(["pip3.12", "list"]))

test_git_by_its_own_rules if {
	shell.destructive(facts.command(["git", "stash", "drop"]))
	shell.network(facts.command(["git", "fetch"]))
	not shell.destructive(object.union(facts.command(["git", "stash", "drop"]), {"base": "perl"}))
	not shell.network(object.union(facts.command(["git", "fetch"]), {"base": "perl"}))
}
