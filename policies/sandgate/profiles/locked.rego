# METADATA
# title: locked
# description: Nothing runs and no tool is shown.
package sandgate.profiles.locked

# METADATA
# title: locked
# description: Every call is denied.
# custom:
#   rule: locked
deny contains {
	"rule": "locked",
	"message": "this session is locked: no tool may run",
	"remediation": "ask the operator for another profile",
	"severity": "high",
}

# METADATA
# title: hidden
# description: All tools.
hidden contains tool.name if some tool in input.tools

# METADATA
# title: obligations
# description: None, since nothing runs.
obligations := {}
