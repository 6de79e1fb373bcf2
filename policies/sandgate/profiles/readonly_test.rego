package sandgate.profiles.readonly_test

import data.sandgate.lib.facts_test as facts
import data.sandgate.profiles.readonly

_judge(document) := {
	"allow": {finding.rule | some finding in readonly.allow with input as document},
	"ask": {finding.rule | some finding in readonly.ask with input as document},
	"deny": {finding.rule | some finding in readonly.deny with input as document},
}

_nothing := {"allow": set(), "ask": set(), "deny": set()}

_only(effect, rule) := object.union(_nothing, {effect: {rule}})

_bash(commands) := facts.document(facts.script([facts.command(words) | some words in commands]))

_tool(name, files) := {"call": {"tool": name, "args": {}, "files": files}}

_file(op, in_workspace) := {"op": op, "path": "x", "in_workspace": in_workspace}

_cases := {
	"reading": {"input": _bash([["ls"], ["git", "status"]]), "want": _only("allow", "read-only-commands")},
	"unlisted": {"input": _bash([["ls"], ["cp", "a", "b"]]), "want": _only("ask", "not-read-only")},
	"outside": {"input": _bash([["cat", "/etc/passwd"]]), "want": _only("ask", "not-read-only")},
	"destructive": {
		"input": _bash([["ls"], ["rm", "x"]]),
		"want": object.union(_only("ask", "not-read-only"), {"deny": {"destructive-command"}}),
	},
	"network": {
		"input": _bash([["curl", "x"], ["ls"]]),
		"want": object.union(_only("ask", "not-read-only"), {"deny": {"network-command"}}),
	},
	"unparsed": {
		"input": facts.document(object.union(facts.script([facts.command(["ls"])]), {"parsed": false})),
		"want": _nothing,
	},
	"overflow": {
		"input": facts.document(object.union(facts.script([facts.command(["ls"])]), {"overflow": true})),
		"want": _only("deny", "script-too-large"),
	},
	"write redirect": {
		"input": facts.document(facts.script([object.union(
			facts.command(["ls"]),
			{"redirects": [{"class": "write", "target": "x", "in_workspace": true, "network": false}]},
		)])),
		"want": _nothing,
	},
	"harmless environment": {
		"input": object.union(_bash([["ls"]]), {"call": {"env": {"CI": "1"}}}),
		"want": _only("allow", "read-only-commands"),
	},
	"environment": {"input": object.union(_bash([["ls"]]), {"call": {"env": {"LD_PRELOAD": "x"}}}), "want": _nothing},
	"name not known": {
		"input": facts.document(facts.script([object.remove(
			object.union(facts.command(["ls"]), {"name_static": false}),
			{"name", "base"},
		)])),
		"want": _only("ask", "not-read-only"),
	},
	"no script": {"input": _bash([]), "want": _nothing},
	"no facts": {"input": {"call": {"tool": "bash", "args": {"command": "ls"}}}, "want": _nothing},
	"empty input": {"input": {}, "want": _nothing},
	"read tool": {"input": _tool("read_file", [_file("read", true)]), "want": _only("allow", "read-only-tool")},
	"read tool outside": {"input": _tool("read_file", [_file("read", false)]), "want": _nothing},
	"read tool, unknown path": {"input": _tool("read_file", [{"op": "read", "path": "x"}]), "want": _nothing},
	"read tool without files": {"input": _tool("read_file", []), "want": _nothing},
	"read tool that writes": {"input": _tool("read_file", [_file("write", true)]), "want": _nothing},
	"write tool": {"input": _tool("write_file", [_file("write", true)]), "want": _nothing},
	"unknown tool": {"input": _tool("x", [_file("read", true)]), "want": _nothing},
}

test_cases[name] if {
	some name, case in _cases
	_judge(case.input) == case.want
}

test_sixty_one_segments if {
	commands := array.concat([["ls"] | some _ in numbers.range(1, 60)], [["curl", "http://evil.test"]])
	"network-command" in _judge(_bash(commands)).deny
}

test_a_deny_names_its_command if {
	some finding in readonly.deny with input as _bash([["ls"], ["rm", "x"]])
	finding.command == 0
	contains(finding.message, "rm")
}

test_an_unnamed_command_has_a_message if {
	document := facts.document(facts.script([object.remove(facts.command(["x"]), {"name"})]))
	some finding in readonly.ask with input as document
	startswith(finding.message, "a command whose name")
}

test_obligations if readonly.obligations.sandbox.network == "none"

test_the_pinned_configuration_is_complete if {
	env := readonly.obligations.exec.env_set
	count([name | some name, _ in env; startswith(name, "GIT_CONFIG_KEY_")]) == to_number(env.GIT_CONFIG_COUNT)
	pinned := {env[sprintf("GIT_CONFIG_KEY_%d", [i])]: env[sprintf("GIT_CONFIG_VALUE_%d", [i])] |
		some i in numbers.range(0, to_number(env.GIT_CONFIG_COUNT) - 1)
	}
	pinned["gpg.program"] == "/bin/false"
	pinned["gpg.ssh.program"] == "/bin/false"
	pinned["gpg.x509.program"] == "/bin/false"
	pinned["core.fsmonitor"] == "false"
}
