# METADATA
# title: rules for commits
# description: >-
#   Commit messages have the form type: text, hooks run, signatures are not switched off.
package cookbook.commit_rules

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "commit_rules"

default _pattern := `^(build|chore|ci|docs|feat|fix|perf|refactor|revert|style|test)(\([a-z0-9./-]+\))?!?: \S`

_pattern := data.sandgate.config.settings.commit_rules.pattern

# METADATA
# title: commit-message
# description: >-
#   The subject has another form.
# custom:
#   rule: commit-message
deny contains {
	"rule": "commit-message",
	"message": sprintf("the message %q does not match %s", [substring(message, 0, 80), _pattern]),
	"remediation": "write: fix(parser): say what and why",
	"severity": "low",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	command.git.sub == "commit"
	message := _subject(command.args)
	not regex.match(_pattern, message)
}

# METADATA
# title: commit-unchecked
# description: >-
#   Hooks or signatures are left out.
# custom:
#   rule: commit-unchecked
deny contains {
	"rule": "commit-unchecked",
	"message": sprintf("%s leaves out what this repository asks of a commit", [word]),
	"remediation": "run the hooks and mend what they find",
	"severity": "medium",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	command.git.sub in {"am", "cherry-pick", "commit", "merge", "push", "rebase", "revert"}
	some arg in command.args
	word := arg.value
	_unchecked(command.git.sub, word)
}

# METADATA
# title: commit-unchecked-by-configuration
# description: >-
#   Hooks or signatures are switched off by configuration.
# custom:
#   rule: commit-unchecked
deny contains {
	"rule": "commit-unchecked",
	"message": sprintf("the setting %s leaves out what this repository asks of a commit", [setting.name]),
	"remediation": "leave hooks and signatures as they are configured",
	"severity": "medium",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	some setting in command.git.settings
	lower(setting.name) in {"commit.gpgsign", "core.hookspath", "tag.gpgsign"}
}

_unchecked(_, word) if word in {"--no-gpg-sign", "--no-verify", "--no-verif", "--no-veri", "--no-ver"}

_unchecked("commit", word) if regex.match(`^-[a-zA-Z]*n[a-zA-Z]*$`, _before_value(word))

# Of a cluster what stands before a letter that takes a value.
_before_value(word) := regex.replace(word, `^(-[a-zA-Z]*?)[mFcCtuS].*$`, "$1")

# The first -m is the subject.
_subject(args) := messages[min(object.keys(messages))] if {
	messages := {i: message |
		some i, arg in args
		message := _message(args, i, arg.value)
	}
}

_message(args, i, word) := args[i + 1].value if regex.match(`^(-[a-ln-zA-Z]*m|--message)$`, word)

_message(_, _, word) := substring(word, 2, -1) if regex.match(`^-m.`, word)

_message(_, _, word) := trim_prefix(word, "--message=") if startswith(word, "--message=")
