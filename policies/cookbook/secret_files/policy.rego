# METADATA
# title: secret files are never read
# description: >-
#   Private keys, credentials and .env files are out of reach of every tool and every command that names them, also
#   through symlinks and globs; what of them gets into output all the same is taken out.
package cookbook.secret_files

import data.sandgate.lib.calls

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "secret_files"

# Names of files, as patterns of the last part of a path.
default _patterns := {
	".env", ".env.*", ".git-credentials", ".netrc", "_netrc", ".npmrc", ".pgpass", ".pypirc", ".vault-token", "*.jks",
	"*.kdbx", "*.key", "*.p12", "*.pem", "*.pfx", "credentials.json", "id_dsa", "id_ecdsa", "id_ed25519", "id_rsa",
	"service-account*.json", "terraform.tfstate", "terraform.tfvars",
}

_patterns := data.sandgate.config.settings.secret_files.names

_directories := {".aws", ".azure", ".gnupg", ".kube", ".ssh", "secrets"}

_harmless := {".env.dist", ".env.example", ".env.sample", ".env.template", "ca.pem", "cacert.pem"}

# METADATA
# title: secret-file
# description: >-
#   A path of the call is that of a secret.
# custom:
#   rule: secret-file
deny contains {
	"rule": "secret-file",
	"message": sprintf("%s holds secrets", [path]),
	"remediation": "work without the secret: ask the user for what you need to know",
	"severity": "high",
} if {
	some path in calls.named_paths(_reading)
	_secret(path)
}

# METADATA
# title: secret-file-in-word
# description: >-
#   A file that is named in a part of a word, such as a revision and a path of git or the two sides of a mount, or by
#   a variable that is set for a program.
# custom:
#   rule: secret-file-in-word
deny contains {
	"rule": "secret-file-in-word",
	"message": sprintf("%s holds secrets", [part]),
	"remediation": "work without the secret: ask the user for what you need to know",
	"severity": "high",
	"command": command.index,
} if {
	some command in _reading.shell.commands
	some part in _parts(command)
	_secret(part)
}

_parts(command) := {part |
	some arg in command.args
	contains(arg.value, ":")
	not regex.match(`[\s]`, arg.value)
	some part in split(arg.value, ":")
} | {variable.value | some variable in command.env}

# METADATA
# title: reading
# description: The call without the words that are only printed or compared, and without the patterns of grep.
_reading := input.call if not input.call.shell

_reading := object.union(input.call, {"shell": {"commands": [object.union(command, {"args": _files(command)}) |
	some command in input.call.shell.commands
]}}) if {
	input.call.shell
}

_files(command) := [] if {
	_mentions(command)
} else := [arg | some i, arg in command.args; i != _pattern(command)]

_mentions(command) if {
	lower(command.base) in {"[", "basename", "dirname", "echo", "printf", "test"}
	every around in command.context {
		not around in {"cmdsubst", "procsubst", "|"}
	}
}

default _pattern(_) := -1

# The first operand, unless an option before it could take or be the pattern.
_pattern(command) := min([i | some i, arg in command.args; not startswith(arg.value, "-")]) if {
	lower(command.base) in {"egrep", "fgrep", "grep"}
	every arg in command.args {
		arg.value
		not regex.match(`^(-[A-Za-z0-9]*[efABCmdD]|--[a-z-]+$)`, arg.value)
	}
}

# METADATA
# title: secret-file-by-pattern
# description: >-
#   A pattern of the shell matches the name of a secret.
# custom:
#   rule: secret-file-by-pattern
deny contains {
	"rule": "secret-file-by-pattern",
	"message": sprintf("the pattern %s matches files that hold secrets", [arg.value]),
	"remediation": "name the files one by one",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	some arg in command.args
	arg.glob
	last := _last(arg.value)
	last != "*"
	some name in _samples
	glob.match(last, ["/"], name)
}

# METADATA
# title: secret-file-by-pattern
# description: A pattern that a program matches itself; find when it hands on what it finds, grep --include, rg --glob.
# custom:
#   rule: secret-file-by-pattern
deny contains {
	"rule": "secret-file-by-pattern",
	"message": sprintf("the pattern %s matches files that hold secrets", [pattern]),
	"remediation": "name the files one by one",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands
	some pattern in _all_patterns(command)
	last := _last(pattern)
	last != "*"
	some name in _samples
	glob.match(last, ["/"], name)
}

# Names that a pattern must not match.
_samples := {".env", ".netrc", ".ssh", ".aws", "id_rsa", "id_ed25519", "server.key", "server.pem", "credentials.json"}

_all_patterns(command) := _looped(command) | {pattern |
	some pattern in _own_patterns(lower(command.base), command)
}

# What a loop over a pattern gives to a variable.
_looped(command) := {possible.value |
	some arg in command.args
	some possible in arg.may
	regex.match(`[*?\[]`, possible.value)
}

_own_patterns("find", command) := {command.args[i + 1].value |
	some i, arg in command.args
	arg.value in {"-iname", "-ipath", "-iwholename", "-name", "-path", "-wholename"}
} if {
	_hands_on(command)
}

_own_patterns(program, command) := {arg.eq.value |
	some arg in command.args
	arg.eq.name in {"--glob", "--iglob", "--include"}
} | {command.args[i + 1].value |
	some i, arg in command.args
	arg.value in {"--glob", "--iglob", "--include", "-g"}
} if {
	program in {"egrep", "fgrep", "grep", "rg"}
}

_hands_on(command) if {
	some around in command.context
	around in {"cmdsubst", "procsubst", "|"}
}

_hands_on(command) if {
	some arg in command.args
	arg.value in {"-exec", "-execdir", "-ok", "-okdir"}
}

# METADATA
# title: home-path
# description: >-
#   A path of somebody's home directory, which the shell makes.
# custom:
#   rule: home-path
ask contains {
	"rule": "home-path",
	"message": "it is not known which file of the home directory this is",
	"remediation": "write the path out, below /workspace",
	"severity": "low",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	some arg in command.args
	arg.tilde
}

# METADATA
# title: obligations
# description: >-
#   What looks like a key is taken out of the output.
obligations := {"output": {"redact": [
	"aws-key", "aws-secret", "bearer", "github-token", "gitlab-token", "google-key", "jwt", "package-token", "private-key",
	"sk-key", "slack-token", "stripe-key", "url-password",
]}}

_secret(path) if {
	last := trim_left(lower(_last(path)), "@<")
	not last in _harmless
	not endswith(last, ".pub")
	some pattern in _patterns
	glob.match(pattern, ["/"], last)
}

_secret(path) if {
	some part in split(lower(path), "/")
	part in _directories
}

_last(path) := last if {
	parts := [part | some part in split(path, "/"); part != ""]
	last := parts[count(parts) - 1]
}
