# METADATA
# title: readonly
# description: >-
#   For looking around in a workspace. Reading with git, ls, cat and grep inside it is allowed; what destroys or
#   reaches the network is denied, however deeply it is wrapped; everything else is asked.
package sandgate.profiles.readonly

import data.sandgate.lib.git
import data.sandgate.lib.paths
import data.sandgate.lib.readers
import data.sandgate.lib.shell

# METADATA
# title: read-only-commands
# description: Every command of the script only reads inside the workspace, and so do its redirects.
# custom:
#   rule: read-only-commands
allow contains {
	"rule": "read-only-commands",
	"message": "every command only reads inside the workspace",
} if {
	input.call.tool == "bash"
	shell.plain(input.call.shell)
	every command in input.call.shell.commands {
		_read_only(command)
		every redirect in command.redirects {
			shell.harmless_redirect(redirect)
		}
	}
	_plain_environment
}

# METADATA
# title: read-only-tool
# description: A tool that only reads, with every path inside the workspace.
# custom:
#   rule: read-only-tool
allow contains {
	"rule": "read-only-tool",
	"message": sprintf("%s only reads inside the workspace", [input.call.tool]),
} if {
	input.call.tool in {"read_file", "list_dir", "glob", "grep"}
	paths.all_inside(input.call.files)
	every file in input.call.files {
		file.op in {"glob", "grep", "list", "read", "search"}
	}
}

# METADATA
# title: destructive-command
# description: A command that destroys data or state, at any depth of the script.
# custom:
#   rule: destructive-command
deny contains {
	"rule": "destructive-command",
	"message": sprintf("%s destroys data or state", [_name(command)]),
	"remediation": "this session may only read; leave the change to the user",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands
	shell.destructive(command)
}

# METADATA
# title: network-command
# description: A command that reaches the network, at any depth of the script.
# custom:
#   rule: network-command
deny contains {
	"rule": "network-command",
	"message": sprintf("%s reaches the network", [_name(command)]),
	"remediation": "work with what is in the workspace; there is no network in this session",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands
	shell.network(command)
}

# METADATA
# title: script-too-large
# description: >-
#   The script is too large or too deeply nested to be analysed as a whole, so what it destroys could not be told.
# custom:
#   rule: script-too-large
deny contains {
	"rule": "script-too-large",
	"message": "the script is too large or too deeply nested to be analysed",
	"remediation": "split it into several short calls",
	"severity": "medium",
} if {
	input.call.shell.overflow != false
}

# METADATA
# title: not-read-only
# description: The script holds something that is not known to only read inside the workspace.
# custom:
#   rule: not-read-only
ask contains {
	"rule": "not-read-only",
	"message": sprintf("%s is not known to only read inside the workspace", [_name(command)]),
	"remediation": "use git, ls, cat or grep with plain paths inside the workspace, or have this call approved",
	"severity": "low",
	"command": command.index,
} if {
	some command in input.call.shell.commands
	not _read_only(command)
}

# METADATA
# title: obligations
# description: >-
#   A small, short-lived cell without network in which the workspace cannot be written. The configuration of
#   a repository can name programs that git runs even to read, so what of it has no place here is overruled.
obligations := {
	"sandbox": {
		"network": "none",
		"reuse": "session",
		"workspace": "ro",
		"wall_time_ms": 30000,
		"pids": 128,
	},
	"exec": {"env_set": {
		"GIT_CONFIG_COUNT": "6",
		"GIT_CONFIG_KEY_0": "core.fsmonitor",
		"GIT_CONFIG_VALUE_0": "false",
		"GIT_CONFIG_KEY_1": "core.hooksPath",
		"GIT_CONFIG_VALUE_1": "/dev/null",
		"GIT_CONFIG_KEY_2": "log.showSignature",
		"GIT_CONFIG_VALUE_2": "false",
		"GIT_CONFIG_KEY_3": "gpg.program",
		"GIT_CONFIG_VALUE_3": "/bin/false",
		"GIT_CONFIG_KEY_4": "gpg.ssh.program",
		"GIT_CONFIG_VALUE_4": "/bin/false",
		"GIT_CONFIG_KEY_5": "gpg.x509.program",
		"GIT_CONFIG_VALUE_5": "/bin/false",
		"GIT_OPTIONAL_LOCKS": "0",
		"GIT_PAGER": "cat",
		"GIT_TERMINAL_PROMPT": "0",
		"PAGER": "cat",
	}},
}

_read_only(command) if readers.read_only(command)

_read_only(command) if {
	command.base == "git"
	git.read_only(command)
}

# A call may bring no variables that change what a program does.
_plain_environment if {
	every name, _ in _environment {
		name in {"CI", "LANG", "LC_ALL", "NO_COLOR", "TERM", "TZ"}
	}
}

# Not by object.get of the call, so that the engine sees that no rule reads its id.
default _environment := {}

_environment := input.call.env

default _name(_) := "a command whose name is not known"

_name(command) := command.name
