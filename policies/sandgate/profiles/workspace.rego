# METADATA
# title: workspace
# description: >-
#   Edit and build inside the workspace. What is known to reach outside it is
#   denied, what wants the network is asked, and what nobody can know before it
#   runs (a build script, a variable) is left to the cage, which holds neither
#   network nor other files.
package sandgate.profiles.workspace

import data.sandgate.lib.git
import data.sandgate.lib.python
import data.sandgate.lib.shell

# Most scripts hold nothing but programs with plain words: they are bare. What only redirects, variables, directories and
# words that lead elsewhere can do need not be asked of them.

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
	lower(command.base) in {
		"chroot", "doas", "newgrp", "nsenter", "pkexec", "runuser", "setcap", "setpriv", "sg", "su", "sudo", "unshare",
	}
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
	_system_destructive(lower(command.base), command)
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
	not input.call.shell.bare
	some command in input.call.shell.commands
	_leads(command)
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
	_network(lower(command.base), command)
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
	not input.call.shell.bare
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
# title: network
# description: A Python program that is seen to call for the network, in the tool or in a script.
# custom:
#   rule: network
ask contains {
	"rule": "network",
	"message": "this Python program needs the network",
	"remediation": "work with what is in the workspace; there is no network in the sandbox",
	"severity": "medium",
} if {
	some program in _python_programs
	some called in program.calls
	some module in python.uses_network
	startswith(called, concat("", [module, "."]))
}

_python_programs contains input.call.python

_python_programs contains command.python if some command in input.call.shell.commands

# METADATA
# title: outside-workspace
# description: A file that a program of the tool python is seen to open outside.
# custom:
#   rule: outside-workspace
deny contains {
	"rule": "outside-workspace",
	"message": sprintf("%s is outside the workspace", [_text(open)]),
	"remediation": "use paths below /workspace, or /tmp for what need not stay",
	"severity": "high",
} if {
	some open in input.call.python.opens
	open.in_workspace == false
	not _below(_text(open), _file_roots(open))
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
# description: A path that climbs, while the directory it starts from is not known.
# custom:
#   rule: unknown-path
ask contains {
	"rule": "unknown-path",
	"message": sprintf("it is not known where %s leads", [text]),
	"remediation": "use a path from /workspace, such as /workspace/src",
	"severity": "medium",
	"command": command.index,
} if {
	not input.call.shell.bare
	some command in input.call.shell.commands
	_wanders(command)
	some text in _uncertain(command)
}

# METADATA
# title: hidden-text
# description: Characters that a reader does not see, or sees elsewhere than they are.
# custom:
#   rule: hidden-text
ask contains {
	"rule": "hidden-text",
	"message": "the script holds characters that are not seen as they are",
	"remediation": "write it without control characters and without characters that change the direction",
	"severity": "medium",
} if {
	some feature in input.call.shell.features
	feature in {"bidi", "control_chars", "invalid_utf8", "invisible_chars", "non_ascii_space", "nul"}
}

# METADATA
# title: repository-internals
# description: >-
#   What is written below .git is run or obeyed later by the git of the host, and what is removed there is lost.
# custom:
#   rule: repository-internals
ask contains {
	"rule": "repository-internals",
	"message": sprintf("%s may change what git does outside the sandbox, or lose the history", [command.base]),
	"remediation": "leave .git to git, and its hooks and configuration to the user",
	"severity": "high",
	"command": command.index,
} if {
	not input.call.shell.bare
	some command in input.call.shell.commands
	_touches_repository(lower(command.base), command)
}

# METADATA
# title: repository-internals
# description: What git itself is told to change in its configuration, its hooks and its templates.
# custom:
#   rule: repository-internals
ask contains {
	"rule": "repository-internals",
	"message": sprintf("%s may change what git does outside the sandbox, or lose the history", [command.base]),
	"remediation": "leave .git to git, and its hooks and configuration to the user",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands
	_configures_repository(lower(command.base), command)
}

# METADATA
# title: repository-internals
# description: A redirect that writes below .git.
# custom:
#   rule: repository-internals
ask contains {
	"rule": "repository-internals",
	"message": "a redirect writes below .git",
	"remediation": "leave .git to git, and its hooks and configuration to the user",
	"severity": "high",
	"command": command.index,
} if {
	not input.call.shell.bare
	some command in input.call.shell.commands
	some redirect in command.redirects
	redirect.class in {"write", "append", "read_write"}
	some key in ["path", "real", "target"]
	_in_repository(redirect[key])
}

# METADATA
# title: repository-internals
# description: A redirect to a variable that the script makes a file below .git.
# custom:
#   rule: repository-internals
ask contains {
	"rule": "repository-internals",
	"message": "a redirect writes below .git",
	"remediation": "leave .git to git, and its hooks and configuration to the user",
	"severity": "high",
	"command": command.index,
} if {
	not input.call.shell.bare
	some command in input.call.shell.commands
	some redirect in command.redirects
	redirect.class in {"write", "append", "read_write"}
	some possible in redirect.may
	some key in ["path", "real"]
	_in_repository(possible[key])
}

# METADATA
# title: repository-internals
# description: A file tool that writes below .git.
# custom:
#   rule: repository-internals
ask contains {
	"rule": "repository-internals",
	"message": sprintf("%s is a file of the repository itself", [file.path]),
	"remediation": "leave .git to git, and its hooks and configuration to the user",
	"severity": "high",
} if {
	some file in input.call.files
	not file.op in {"glob", "grep", "list", "read", "search"}
	some key in ["path", "abs", "real"]
	_in_repository(file[key])
}

# METADATA
# title: whole-workspace
# description: The workspace itself is removed or moved away, not something in it.
# custom:
#   rule: whole-workspace
ask contains {
	"rule": "whole-workspace",
	"message": sprintf("%s takes the whole workspace", [command.base]),
	"remediation": "name the files and directories that are meant",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands
	lower(command.base) in {"mv", "rm", "rmdir", "shred"}
	some arg in command.args
	_whole_workspace(arg)
}

# METADATA
# title: whole-workspace
# description: find deletes whatever is in the workspace when no test of it says which files.
# custom:
#   rule: whole-workspace
ask contains {
	"rule": "whole-workspace",
	"message": "find takes the whole workspace",
	"remediation": "name the files and directories that are meant",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands
	lower(command.base) == "find"
	"-delete" in shell.values(command)
	every arg in command.args {
		arg.value in {
			".", "./", "/workspace", "/workspace/", "-delete", "-depth", "-mindepth", "-mount", "-type", "-xdev", "1", "d", "f",
		}
	}
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

_below(path, roots) if path in roots

_below(path, roots) if {
	some root in roots
	startswith(path, concat("", [root, "/"]))
}

_writable := {
	"/tmp", "/var/tmp", "/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty", "/dev/fd", "/dev/shm",
}

# What is writable as well, the system, and what tells which system it is.
_readable := {
	"/tmp", "/var/tmp", "/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty", "/dev/fd", "/dev/shm",
	"/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/dev/stdin", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/full",
	"/etc/alpine-release", "/etc/debian_version", "/etc/lsb-release", "/etc/os-release", "/proc/cpuinfo", "/proc/loadavg",
	"/proc/meminfo", "/proc/uptime", "/proc/version",
}

# In these functions the program stands by itself, in lower case, so that OPA's index leaves out what is about others.
# Commands other than git that are given something below .git and do more than read it.
_touches_repository(program, command) if {
	some arg in command.args
	some key in ["path", "prefix", "real", "value"]
	contains(lower(arg[key]), ".git")
	_in_repository(arg[key])
	not _reads(program, command)
	not startswith(object.get(arg, "value", ""), "--ex")
}

_touches_repository(program, command) if {
	some arg in command.args
	some possible in arg.may
	some key in ["path", "real"]
	_in_repository(possible[key])
	not _reads(program, command)
}

# A template holds hooks.
_touches_repository(program, command) if {
	startswith(program, "git")
	some variable in command.env
	variable.name == "GIT_TEMPLATE_DIR"
}

# Configuration names programs; only keys that are mere values are left alone.
_configures_repository(program, command) if {
	startswith(program, "git")
	_git_touches(git.subcommand(command), command)
}

_configures_repository(program, command) if {
	program in {"husky", "lefthook", "pre-commit"}
	"install" in shell.values(command)
}

_git_touches(sub, command) if {
	sub == "config"
	_config_writes(command)
	not _harmless_keys(git.words(command))
}

_git_touches(sub, command) if {
	sub in {"clone", "init"}
	some word in git.words(command)
	startswith(word, "--te")
}

_git_touches(sub, command) if {
	sub == "lfs"
	"install" in git.words(command)
}

_reads(program, _) if program in {
	"[", "basename", "cat", "diff", "dirname", "du", "echo", "egrep", "fgrep", "file", "git", "grep", "head", "jq", "less",
	"ls", "md5sum", "printf", "readlink", "realpath", "rg", "sha256sum", "stat", "tail", "test", "tree", "wc",
}

_reads("find", command) if {
	not shell.values(command) & {"-delete", "-fls", "-fprint", "-fprint0", "-fprintf"} != set()
}

_in_repository(text) if regex.match(`(^|[/=]|^-[a-z]+)\.git(/|$)`, lower(text))

_config_writes(command) if {
	every word in git.words(command) {
		not word in {"get", "list", "-l"}
		not regex.match(`^--(get|list)`, word)
	}
}

_harmless_keys(words) if {
	some word in words
	_harmless_key(word)
	every other in words {
		not _running_key(other)
	}
}

_harmless_key(word) if {
	regex.match(
		`^(user|color|advice|push|pull|branch|merge|rebase|fetch|init|commit|tag|status|log)\.[a-z0-9.-]+$`,
		lower(word),
	)
}

_running_key(word) if regex.match(
	`^(core|alias|filter|include|includeif|credential|gpg|sequence|pager|diff|difftool|mergetool|uploadpack|url|http)\.`,
	lower(word),
)

_running_key(word) if regex.match(`(driver|program|command|hookspath|template|templatedir)$`, lower(word))

_running_key(word) if word in {"-e", "--edit", "-f", "--file", "--remove-section", "--rename-section"}

_running_key(word) if startswith(word, "--file=")

_whole_workspace(arg) if arg.path == "/workspace"

_whole_workspace(arg) if {
	some possible in arg.may
	some key in ["path", "real"]
	possible[key] == "/workspace"
}

_whole_workspace(arg) if arg.real == "/workspace"

_whole_workspace(arg) if {
	arg.glob
	regex.match(`^(/workspace/|\./)?(\*|\.\*|\{,\.\}\*)$`, arg.value)
}

_system_destructive(program, _) if program in {
	"mkfs", "mkswap", "wipefs", "fdisk", "sfdisk", "parted", "blkdiscard", "losetup", "mount", "umount", "swapon", "swapoff",
	"shutdown", "reboot", "halt", "poweroff", "init", "telinit", "systemctl", "service", "insmod", "rmmod", "modprobe",
	"iptables", "ip6tables", "nft", "useradd", "userdel", "usermod", "groupadd", "groupdel", "passwd", "chpasswd", "visudo",
	"crontab", "at", "batch",
}

_system_destructive(program, _) if startswith(program, "mkfs.")

_system_destructive(program, command) if {
	program in {"kubectl", "helm", "terraform", "tofu", "pulumi"}
	some arg in command.args
	arg.value in {"delete", "destroy", "uninstall", "drain"}
}

_system_destructive(program, command) if {
	program in {"rm", "chmod", "chown", "chgrp", "mv"}
	some arg in command.args
	arg.path == "/"
}

# The library knows the commands; some more want the network for nearly all they do.
_network(_, command) if {
	shell.network(command)
	not _local_install(command)
}

_network(program, command) if {
	program in {"awk", "gawk"}
	some arg in command.args
	contains(arg.value, "/inet")
}

_network(program, command) if {
	_wants_network(program)
	not _tells(command)
}

# Of itself, without asking anybody.
_tells(command) if {
	count(command.args) == 1
	command.args[0].value in {"--help", "--version", "-h", "completion"}
}

_tells(command) if command.args[0].value == "kustomize"

_wants_network(program) if program in {
	"apk", "apt", "apt-get", "brew", "dnf", "docker", "helm", "httpie", "kubectl", "nerdctl", "pacman", "podman",
	"snap", "yum",
}

_network(program, command) if {
	startswith(program, "git")
	git.subcommand(command) == "submodule"
}

_network(program, command) if {
	program in {"npm", "pipx", "pnpm", "poetry", "yarn"}
	_network_verbs[program] in shell.values(command)
}

_network(program, command) if {
	program == "go"
	command.args[0].value == "mod"
	command.args[1].value == "vendor"
}

# go install of a package of the workspace is a build; with a version, or a path that is none of the workspace, it
# fetches.
_local_install(command) if {
	command.base == "go"
	command.args[0].value == "install"
	every arg in array.slice(command.args, 1, count(command.args)) {
		regex.match(`^(-[a-z]+(=.*)?|\.{1,2}(/[^@]*)?)$`, shell.value(arg))
	}
}

_network_verbs := {"npm": "x", "pipx": "inject", "pnpm": "publish", "poetry": "lock", "yarn": "publish"}
