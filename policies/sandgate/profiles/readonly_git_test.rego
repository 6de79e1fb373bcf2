# METADATA
# title: readonly git
# description: >-
#   The configuration under which git runs in the readonly profile, told as git reads it (git-config(1),
#   GIT_CONFIG_COUNT): no program that the repository's own configuration names is started while something is read.
package sandgate.profiles.readonly_git_test

import data.sandgate.profiles.readonly

_env := readonly.obligations.exec.env_set

_configured := {name: value |
	some i in numbers.range(0, to_number(_env.GIT_CONFIG_COUNT) - 1)
	name := _env[sprintf("GIT_CONFIG_KEY_%d", [i])]
	value := _env[sprintf("GIT_CONFIG_VALUE_%d", [i])]
}

test_no_program_of_the_configuration[name] if {
	some name, value in {
		"core.fsmonitor": "false", "core.hooksPath": "/dev/null", "log.showSignature": "false", "gpg.program": "/bin/false",
		"gpg.ssh.program": "/bin/false", "gpg.x509.program": "/bin/false",
	}
	_configured[name] == value
}

# A key beyond the count would be ignored.
test_every_key_counts if count([name | some name, _ in _env; startswith(name, "GIT_CONFIG_KEY_")]) == count(_configured)

test_no_pager_and_no_questions[name] if {
	some name, value in {"GIT_PAGER": "cat", "PAGER": "cat", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
	_env[name] == value
}

test_the_cage if {
	readonly.obligations.sandbox.network == "none"
	readonly.obligations.sandbox.workspace == "ro"
	readonly.obligations.sandbox.reuse == "session"
	readonly.obligations.sandbox.wall_time_ms == 30000
	readonly.obligations.sandbox.pids == 128
}
