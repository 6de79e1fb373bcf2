# Command lines as the inputs of calls, for the tables of the cookbook's tests.
package cookbook.lines_test

# The call of a line: what begins with $ is not known before it runs.
call(line) := about(line, {})

# With more facts about the command.
about(line, facts) := {"call": {
	"tool": "bash",
	"args": {"command": line},
	"shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [object.union(
		{
			"index": 0, "base": words[0], "redirects": [], "context": [], "env": [],
			"args": [_arg(word) | some i, word in words; i > 0],
		},
		facts,
	)]},
}} if {
	words := split(line, " ")
}

# A line of git, whose first word is the subcommand, with more facts about it.
git(line, facts) := about(line, {"git": object.union({"sub": split(line, " ")[1], "at": 0, "options": []}, facts)})

_arg(word) := {"literal": true, "value": word} if {
	not startswith(word, "$")
} else := {"literal": false, "dynamic": true}

rules(findings) := {finding.rule | some finding in findings}
