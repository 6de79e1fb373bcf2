# METADATA
# title: workspace
# description: >-
#   Edit and build inside the workspace. What is known to reach outside it is
#   denied, what wants the network is asked, and what nobody can know before it
#   runs (a build script, a variable) is left to the cage, which holds neither
#   network nor other files.
package sandgate.profiles.workspace

# METADATA
# title: overflow
# description: The script is larger than the analysis, so its end is unknown.
# custom:
#   rule: script-too-large
deny contains {
	"rule": "script-too-large",
	"message": "the script is too large to be analysed as a whole",
	"remediation": "split it into several calls, or write it to a file of the workspace and run that",
	"severity": "high",
} if {
	input.call.shell.overflow
}

# METADATA
# title: privilege
# description: Commands that change who runs.
# custom:
#   rule: privilege
deny contains {
	"rule": "privilege",
	"message": sprintf("%s changes privileges; everything here runs as one plain user", [command.base]),
	"remediation": "run the command itself, without it",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands
	command.base in _privilege
}

# METADATA
# title: system-destructive
# description: Commands that harm a machine or a cluster, not files of the workspace.
# custom:
#   rule: system-destructive
deny contains {
	"rule": "system-destructive",
	"message": sprintf("%s acts on the system, not on the workspace", [command.base]),
	"remediation": "change only files of the workspace",
	"severity": "critical",
	"command": command.index,
} if {
	some command in input.call.shell.commands
	_system_destructive(command)
}

# METADATA
# title: outside-workspace
# description: A path that is known to be outside, given to a command.
# custom:
#   rule: outside-workspace
deny contains {
	"rule": "outside-workspace",
	"message": sprintf("%s is outside the workspace", [outside]),
	"remediation": "use paths below /workspace, or /tmp for what need not stay",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands
	some outside in _outside(command)
}

# METADATA
# title: outside-workspace
# description: A path that is known to be outside, given to a file tool.
# custom:
#   rule: outside-workspace
deny contains {
	"rule": "outside-workspace",
	"message": sprintf("%s is outside the workspace", [file.path]),
	"remediation": "use paths below /workspace",
	"severity": "high",
} if {
	some file in input.call.files
	file.in_workspace == false
	not _readable_file(file)
}

# METADATA
# title: outside-workspace
# description: The working directory of the call is not in the workspace.
# custom:
#   rule: outside-workspace
deny contains {
	"rule": "outside-workspace",
	"message": sprintf("the working directory %s is outside the workspace", [input.call.cwd]),
	"remediation": "use /workspace or a directory below it",
	"severity": "high",
} if {
	input.call.shell.cwd.in_workspace == false
}

# METADATA
# title: network
# description: Commands that reach the network, which the cage does not have.
# custom:
#   rule: network
ask contains {
	"rule": "network",
	"message": sprintf("%s needs the network", [command.base]),
	"remediation": "work with what is in the workspace; there is no network in the sandbox",
	"severity": "medium",
	"command": command.index,
} if {
	some command in input.call.shell.commands
	_network(command)
}

# METADATA
# title: network
# description: Bash's own network devices.
# custom:
#   rule: network
ask contains {
	"rule": "network",
	"message": "a redirection below /dev/tcp or /dev/udp is a network connection",
	"remediation": "work with what is in the workspace; there is no network in the sandbox",
	"severity": "medium",
	"command": command.index,
} if {
	some command in input.call.shell.commands
	some redirect in command.redirects
	redirect.network
}

# METADATA
# title: network
# description: Tools that are declared to use the network.
# custom:
#   rule: network
ask contains {
	"rule": "network",
	"message": sprintf("the tool %s needs the network", [input.call.tool]),
	"severity": "medium",
} if {
	"network" in input.tool.effects
}

# METADATA
# title: unparsed-script
# description: What bash would do with the script is not known.
# custom:
#   rule: unparsed-script
ask contains {
	"rule": "unparsed-script",
	"message": sprintf("the script cannot be parsed: %s", [object.get(input.call.shell, "error", "unknown error")]),
	"remediation": "correct the syntax and send it again",
	"severity": "medium",
} if {
	input.call.shell
	not input.call.shell.parsed
}

# METADATA
# title: missing-facts
# description: A script without its analysis cannot be judged.
# custom:
#   rule: missing-facts
deny contains {
	"rule": "missing-facts",
	"message": "the script was not analysed",
	"severity": "high",
} if {
	input.call.tool == "bash"
	not input.call.shell
}

# METADATA
# title: dynamic-command
# description: The name of a command is made while the script runs.
# custom:
#   rule: dynamic-command
ask contains {
	"rule": "dynamic-command",
	"message": "the name of a command is only known when it runs",
	"remediation": "write the name of the command as it is",
	"severity": "medium",
	"command": command.index,
} if {
	some command in input.call.shell.commands
	not _named(command)
}

# METADATA
# title: unknown-path
# description: Whether a path of a file tool is in the workspace is not known.
# custom:
#   rule: unknown-path
ask contains {
	"rule": "unknown-path",
	"message": sprintf("it is not known where %s leads", [file.path]),
	"severity": "medium",
} if {
	some file in input.call.files
	not _known(file)
}

# METADATA
# title: script-in-workspace
# description: Every command of a fully parsed script is one that the profile has nothing against.
# custom:
#   rule: script-in-workspace
allow contains {
	"rule": "script-in-workspace",
	"message": "the script stays in the workspace as far as it can be known",
} if {
	input.call.shell.parsed
	every command in input.call.shell.commands {
		_named(command)
	}
	_local_effects
}

# METADATA
# title: files-in-workspace
# description: A tool without a script, all of whose files are known to be inside or harmless to read.
# custom:
#   rule: files-in-workspace
allow contains {
	"rule": "files-in-workspace",
	"message": "the tool works on files of the workspace",
} if {
	not input.call.shell
	count(input.call.files) > 0
	every file in input.call.files {
		_inside_or_readable(file)
	}
	_local_effects
}

# METADATA
# title: opaque-program
# description: A tool that runs a program nobody can read beforehand, such as python, within the cage.
# custom:
#   rule: opaque-program
allow contains {
	"rule": "opaque-program",
	"message": "the program is left to the sandbox, which holds only the workspace",
} if {
	not input.call.shell
	not input.call.files
	"execute" in input.tool.effects
	_local_effects
}

# METADATA
# title: obligations
# description: A cell without network, for this session only.
obligations := {"sandbox": {
	"network": "none",
	"reuse": "session",
	"workspace": "rw",
}}

_local_effects if {
	count(input.tool.effects) > 0
	every effect in input.tool.effects {
		effect in {"execute", "read", "write", "delete"}
	}
}

_named(command) if command.name_static

_named(command) if command.kind in {"assign", "redirect"}

_known(file) if is_boolean(file.in_workspace)

_inside_or_readable(file) if file.in_workspace

_inside_or_readable(file) if _readable_file(file)

# Reading what every cell holds anyway.
_readable_file(file) if {
	file.op in {"read", "list"}
	_below(file.abs, _readable)
}

# Words that name a path outside. A word that is not literal is not known, and a
# tilde is a home directory, which is never the workspace.
_outside(command) := paths if {
	paths := {path |
		some arg in command.args
		some path in _outside_word(command, arg)
	} | {path |
		some redirect in command.redirects
		path := _outside_redirect(redirect)
	}
}

_outside_word(command, arg) := {path |
	_takes_paths(command)
	some candidate in [arg, object.get(arg, "eq", {})]
	candidate.in_workspace == false
	path := candidate.path
	_looks_like_path(arg)
	not _below(path, _readable)
} | {"the home directory" |
	arg.tilde
	_takes_paths(command)
} if {
	not arg.dynamic
	not arg.glob
}

# An unfinished word whose known beginning is outside already.
_outside_word(command, arg) := {arg.prefix} if {
	arg.dynamic
	startswith(arg.prefix, "/")
	_takes_paths(command)
	not _below(arg.prefix, _readable | {"/workspace"})
}

# A pattern that is absolute, or all or some of whose matches are outside.
_outside_word(command, arg) := {arg.value} if {
	arg.glob
	not arg.dynamic
	_takes_paths(command)
	_matches_outside(arg)
}

_matches_outside(arg) if {
	startswith(arg.value, "/")
	not _below(arg.value, _readable | {"/workspace"})
}

_matches_outside(arg) if {
	arg.in_workspace == false
	not startswith(arg.value, "/")
}

# `-rf` or `HEAD..main` is not a path, but an option can hold one that climbs.
_looks_like_path(arg) if not startswith(arg.value, "-")

_looks_like_path(arg) if contains(arg.value, "../")

_looks_like_path(arg) if arg.eq

# These print or match their words and open none that looks like a path
# outside: a pattern such as /api/v1 is not a file.
_takes_paths(command) if not _matches_words(command)

_matches_words(command) if command.base in {
	"echo", "printf", "grep", "egrep", "fgrep", "rg", "sed", "awk", "gawk", "expr", "test", "[",
}

_outside_redirect(redirect) := redirect.path if {
	redirect.class in {"write", "append", "read_write"}
	redirect.in_workspace == false
	not redirect.network
	not _below(redirect.path, _writable)
}

_outside_redirect(redirect) := redirect.path if {
	redirect.class == "read"
	redirect.in_workspace == false
	not redirect.network
	not _below(redirect.path, _readable)
}

_below(path, roots) if path in roots

_below(path, roots) if {
	some root in roots
	startswith(path, concat("", [root, "/"]))
}

_writable := {
	"/tmp", "/var/tmp", "/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty", "/dev/fd", "/dev/shm",
}

_readable := _writable | {
	"/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/dev/stdin", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/full",
}

_privilege := {"sudo", "su", "doas", "pkexec", "runuser", "setpriv", "chroot", "nsenter", "unshare", "setcap", "newgrp", "sg"}

_system_destructive(command) if command.base in {
	"mkfs", "mkswap", "wipefs", "fdisk", "sfdisk", "parted", "blkdiscard", "losetup", "mount", "umount", "swapon", "swapoff",
	"shutdown", "reboot", "halt", "poweroff", "init", "telinit", "systemctl", "service", "insmod", "rmmod", "modprobe",
	"iptables", "ip6tables", "nft", "useradd", "userdel", "usermod", "groupadd", "groupdel", "passwd", "chpasswd", "visudo",
	"crontab", "at", "batch",
}

_system_destructive(command) if startswith(command.base, "mkfs.")

_system_destructive(command) if {
	command.base in {"kubectl", "helm", "terraform", "tofu", "pulumi"}
	some arg in command.args
	arg.value in {"delete", "destroy", "uninstall", "drain"}
}

_system_destructive(command) if {
	command.base in {"rm", "chmod", "chown", "chgrp", "mv"}
	some arg in command.args
	arg.path == "/"
}

_network(command) if command.base in {
	"curl", "wget", "ssh", "scp", "sftp", "rsync", "ftp", "lftp", "telnet", "nc", "ncat", "netcat", "socat", "ping", "traceroute",
	"dig", "nslookup", "host", "whois", "aria2c", "httpie", "http", "https", "xh", "gh", "glab", "aws", "gcloud", "az", "docker",
	"podman", "kubectl", "helm", "skopeo", "apt", "apt-get", "dnf", "yum", "apk", "pacman", "brew", "snap",
}

_network(command) if command.git.sub in {
	"clone", "fetch", "pull", "push", "ls-remote", "submodule", "send-email", "svn", "p4", "archive-remote",
}

_network(command) if {
	command.base == "git"
	command.git.sub == "remote"
	some arg in command.args
	arg.value in {"show", "update", "prune"}
}

_network(command) if {
	subcommands := _package_managers[command.base]
	some arg in command.args
	arg.value in subcommands
}

# yarn alone installs; go install with a version does; python -m pip is pip.
_network(command) if {
	command.base == "yarn"
	count(command.args) == 0
}

_network(command) if {
	command.base == "go"
	command.args[0].value == "install"
	some arg in command.args
	contains(arg.value, "@")
}

_network(command) if {
	startswith(command.base, "python")
	some i
	command.args[i].value == "-m"
	command.args[i + 1].value == "pip"
	command.args[i + 2].value in _package_managers.pip
}

_network(command) if {
	command.base == "openssl"
	command.args[0].value in {"s_client", "s_time"}
}

_package_managers := {
	"pip": {"install", "download", "wheel", "search"},
	"pip3": {"install", "download", "wheel", "search"},
	"uv": {"add", "sync", "lock", "pip", "tool"},
	"poetry": {"add", "install", "update", "lock"},
	"npm": {"install", "i", "ci", "add", "update", "publish", "audit"},
	"pnpm": {"install", "i", "add", "update", "publish"},
	"yarn": {"install", "add", "upgrade", "publish"},
	"npx": {"--yes", "-y"},
	"gem": {"install", "update", "push"},
	"bundle": {"install", "update"},
	"cargo": {"install", "add", "update", "fetch", "publish"},
	"go": {"get", "download"},
	"composer": {"install", "require", "update"},
}
