package sandgate.lib.shell_test

import data.sandgate.lib.facts_test as facts
import data.sandgate.lib.names
import data.sandgate.lib.shell

_plain := facts.script([facts.command(["ls"])])

test_plain if shell.plain(_plain)

test_not_plain[name] if {
	some name, change in {
		"unparsed": {"parsed": false}, "overflow": {"overflow": true}, "truncated": {"truncated": true},
		"opaque": {"opaque": true}, "changes directory": {"changes_directory": true},
		"function": {"functions": ["ls"]},
		"alias": {"aliases": ["ls"]}, "empty": {"commands": []}, "feature": {"features": ["subshell"]},
		"new feature": {"features": ["pipeline", "from_the_future"]}, "outside": {"cwd": {"in_workspace": false}},
		"unknown place": {"cwd": {"in_workspace": null}},
	}
	not shell.plain(object.union(_plain, change))
}

test_plain_needs_every_fact[key] if {
	some key in {
		"parsed", "overflow", "truncated", "opaque", "changes_directory", "features", "commands", "functions",
		"aliases",
		"cwd",
	}
	not shell.plain(object.remove(_plain, {key}))
}

test_runs if {
	shell.runs(facts.command(["ls"]), "ls")
	shell.runs(facts.command(["/usr/bin/ls"]), "ls")
	not shell.runs(facts.command(["./ls"]), "ls")
	not shell.runs(facts.command(["LS"]), "ls")
	not shell.runs(object.union(facts.command(["ls"]), {"env": [{"name": "X", "static": true}]}), "ls")
	not shell.runs(object.union(facts.command(["ls"]), {"opaque": true}), "ls")
	not shell.runs(object.union(facts.command(["ls"]), {"name_static": false}), "ls")
}

_destructive := [
	["rm", "x"], ["/bin/rm", "x"], ["RM", "x"], ["mkfs.ext4", "x"], ["kubectl", "-n", "a", "delete", "pod"],
	["chmod", "-R", "777", "/etc"], ["chown", "--recursive", "x", "/"], ["iptables", "-F"], ["pacman", "-Rns", "x"],
	["docker", "compose", "down"], ["terraform", "state", "rm", "x"], ["umount", "/mnt"], ["pkill", "x"],
	["conda", "remove", "x"], ["find", ".", "-delete"], ["git", "stash", "drop"], ["crontab", "-r"],
]

test_destructive[words] if {
	some words in _destructive
	shell.destructive(facts.command(words))
}

test_copying_onto_a_device_is_destructive if {
	device := object.union(facts.word("/dev/sda"), {"path": "/dev/sda"})
	shell.destructive(facts.with_args("tee", [device]))
	not shell.destructive(facts.with_args("tee", [object.union(device, {"path": "/dev/null"})]))
	not shell.destructive(facts.with_args("ls", [device]))
}

test_package_managers if {
	shell.destructive(facts.command(["apt-get", "-y", "remove", "x"]))
	not shell.destructive(facts.command(["apt-get", "list"]))
	shell.network(facts.command(["APT", "install", "x"]))
	not shell.network(facts.command(["apt", "list"]))
}

test_not_destructive[words] if {
	some words in [
		["ls"], ["chmod", "-R", "x", "src"], ["chmod", "x", "/etc"], ["pacman", "-Q"], ["rmx"],
		["kubectl", "get", "pods"], ["find", "."], ["git", "stash", "list"], ["cp", "a", "b"],
	]
	not shell.destructive(facts.command(words))
}

test_writing_to_a_device_is_destructive if {
	redirect := {"class": "write", "path": "/dev/sda", "target": "/dev/sda"}
	command := object.union(facts.command(["ls"]), {"redirects": [redirect]})
	shell.destructive(command)
	not shell.destructive(object.union(command, {"redirects": [{"class": "write", "target": "/dev/null"}]}))
	not shell.destructive(object.union(command, {"redirects": [{
		"class": "write",
		"path": "/dev/null",
		"target": "/dev/./null",
	}]}))
	not shell.destructive(object.union(command, {"redirects": [{
		"class": "write",
		"path": "/tmp/x",
		"target": "/dev/null/../../tmp/x",
	}]}))
	not shell.destructive(object.union(command, {"redirects": [{"class": "read", "target": "/dev/sda"}]}))
}

_network := [
	["yarn"], ["yarn", "--silent"], ["pacman", "-Syu"], ["mount", "h:/x", "/mnt"], ["mount", "-t", "nfs", "x"],
	["mount", "//h/x", "/mnt"], ["go", "mod", "tidy"], ["psql"], ["scalar", "clone", "x"],
	["curl", "x"], ["/usr/bin/WGET"], ["npm", "--silent", "install"], ["git", "push"],
	["python3", "-m", "pip", "x"],
	["python3.11", "-mhttp.server"], ["pip3.11", "install", "x"], ["go", "get", "x"],
]

test_network[words] if {
	some words in _network
	shell.network(facts.command(words))
}

test_not_network[words] if {
	some words in [
		["yarn", "build"], ["yarn", "--version"], ["mount"], ["mount", "/dev/sdb", "/mnt"], ["pacman", "-Q"],
		["kubectl", "get", "pods"], ["ls"], ["curlx"], ["npm", "run", "x"], ["git", "log"],
		["python3", "-m", "json.tool"], ["pip3.11", "list"],
		["pythonx", "-m", "pip"],
	]
	not shell.network(facts.command(words))
}

test_network_device if {
	shell.network(object.union(facts.command(["cat"]), {"redirects": [{"class": "read", "network": true}]}))
	not shell.network(object.union(facts.command(["cat"]), {"redirects": [{"class": "read", "network": false}]}))
}

test_harmless_redirect[name] if {
	some name, redirect in {
		"read": {"class": "read", "in_workspace": true}, "heredoc": {"class": "heredoc", "static": true},
		"herestring": {"class": "herestring", "static": true}, "streams": {"class": "dup", "target": "1"},
		"null": {"class": "write", "target": "/dev/null"},
		"null with a dot": {"class": "write", "target": "/dev/./null", "path": "/dev/null"},
	}
	shell.harmless_redirect(redirect)
}

test_harmful_redirect[name] if {
	some name, redirect in {
		"write": {"class": "write", "target": "a", "in_workspace": true},
		"outside": {"class": "read", "in_workspace": false},
		"unknown": {"class": "read"}, "expansion": {"class": "heredoc", "static": false},
		"descriptor": {"class": "dup", "target": "3"}, "both": {"class": "read_write", "target": "/dev/null"},
		"nothing": {}, "up": {"class": "write", "target": "/dev/x/../null", "path": "/dev/null"},
		"from null": {"class": "write", "target": "/dev/null/../../tmp/x", "path": "/tmp/x"},
		"to null": {"class": "write", "target": "../dev/null", "path": "/dev/null"},
	}
	not shell.harmless_redirect(redirect)
}

# A program that is not among those that act is asked nothing, so that none of the tables may be forgotten there.
test_all_that_is_asked_about_acts[program] if {
	some program in ((object.keys(names.destructive_verbs) | object.keys(names.network_verbs)) | {
		"apt-get", "bundle", "chattr", "chgrp", "chmod", "chown", "cp", "curl", "git", "git-lfs", "install", "mke2fs.x",
		"mkfs.ext4", "mount", "mv", "pacman", "paru", "pip3.12", "pnpx", "pypy3", "python3", "rm", "setfacl", "tee", "yarn",
		"yay",
	})
	names.acts(program)
}

test_what_is_not_known_does_not_act[program] if {
	some program in ["", "cat", "echo", "ls", "true", "jq"]
	not names.acts(program)
}
