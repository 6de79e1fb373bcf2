# METADATA
# title: python without programs and network
# description: >-
#   The tool python runs programs that start no others and import nothing for the network; one that hides what it
#   does is asked.
package cookbook.python_contained

import data.sandgate.lib.python

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "python_contained"

# METADATA
# title: python-program
# description: >-
#   The program starts others.
# custom:
#   rule: python-program
deny contains {
	"rule": "python-program",
	"message": "this program starts other programs",
	"remediation": "use the tool bash for commands",
	"severity": "medium",
} if {
	python.touches(input.call.python, python.starts_programs)
}

# METADATA
# title: python-network
# description: >-
#   The program uses the network.
# custom:
#   rule: python-network
deny contains {
	"rule": "python-network",
	"message": "this program uses the network",
	"remediation": "work with what is in the workspace",
	"severity": "medium",
} if {
	python.touches(input.call.python, python.uses_network)
}

# METADATA
# title: python-opaque
# description: >-
#   It cannot be told what the program does.
# custom:
#   rule: python-opaque
ask contains {
	"rule": "python-opaque",
	"message": "it cannot be told from its text what this program does",
	"remediation": "write it without eval, exec, getattr and dynamic imports",
	"severity": "low",
} if {
	input.call.tool == "python"
	not _transparent
}

_transparent if python.transparent(input.call.python)
