# METADATA
# title: rate of a session
# description: >-
#   At most so many calls in a minute; the 20 last calls of a session are known.
package cookbook.rate_limit

import data.sandgate.lib.rate

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "rate_limit"

default _limit := {"calls": 15, "seconds": 60}

_limit := data.sandgate.config.settings.rate_limit

# METADATA
# title: rate-limit
# description: >-
#   More calls than allowed in the window.
# custom:
#   rule: rate-limit
deny contains {
	"rule": "rate-limit",
	"message": sprintf("more than %d calls in %d seconds", [_limit.calls, _limit.seconds]),
	"remediation": "wait, and do more in one call",
	"severity": "low",
} if {
	rate.over(input.session, input.time, _limit.seconds, _limit.calls)
}
