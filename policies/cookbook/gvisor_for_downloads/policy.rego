# METADATA
# title: gVisor for downloaded code
# description: >-
#   Once something was downloaded into a session, what runs in it runs in gVisor: a kernel of its own between that
#   code and the machine.
package cookbook.gvisor_for_downloads

import data.sandgate.lib.session
import data.sandgate.lib.shell

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "gvisor_for_downloads"

# METADATA
# title: labels
# description: >-
#   A download marks the session.
labels contains "downloaded" if _downloads

# METADATA
# title: obligations
# description: >-
#   The other kernel, and a cell that nobody has used.
obligations := {"sandbox": {"isolation": "gvisor", "reuse": "never"}} if {
	session.labelled(input.session, "downloaded")
	"execute" in input.tool.effects
}

_downloads if {
	some command in input.call.shell.commands
	shell.network(command)
}

_downloads if "network" in input.tool.effects
