# METADATA
# title: no network after untrusted content
# description: >-
#   Once a session has seen content from outside, nothing in it may reach the network: what was read may have told
#   the model to send something. Network calls put the label saw:untrusted on the session.
package cookbook.untrusted_no_network

import data.sandgate.lib.session
import data.sandgate.lib.shell

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "untrusted_no_network"

# METADATA
# title: network-after-untrusted
# description: >-
#   A network call in a session that has seen untrusted content.
# custom:
#   rule: network-after-untrusted
deny contains {
	"rule": "network-after-untrusted",
	"message": "this session has seen untrusted content, so it may not reach the network any more",
	"remediation": "finish without the network, or begin a new session",
	"severity": "high",
} if {
	session.labelled(input.session, "saw:untrusted")
	_network
}

# METADATA
# title: labels
# description: >-
#   What a network call brings in is untrusted.
labels contains "saw:untrusted" if _network

_network if "network" in input.tool.effects

_network if input.tool.annotations.openWorldHint

_network if {
	some command in input.call.shell.commands
	shell.network(command)
}
