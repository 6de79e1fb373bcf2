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
	some path in calls.named_paths(input.call)
	_secret(path)
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
	some name in {".env", ".netrc", ".ssh", ".aws", "id_rsa", "id_ed25519", "server.key", "server.pem", "credentials.json"}
	glob.match(last, ["/"], name)
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
