# METADATA
# title: rate
# description: >-
#   How much a session did lately, told from input.session.recent, which holds its last 20 calls. A rate over 20 in the
#   window cannot be told from 20: ask for at most that many.
package sandgate.lib.rate

import data.sandgate.lib.time as clock

# METADATA
# title: lately
# description: >-
#   How many remembered calls were decided within the last seconds. One without a time counts, since it may have been.
lately(session, now, seconds) := count([call | some call in session.recent; _within(call, now, seconds)])

# METADATA
# title: lately with
# description: The same for the calls of one tool.
lately_with(session, now, seconds, tool) := count([call |
	some call in session.recent
	call.tool == tool
	_within(call, now, seconds)
])

_within(call, now, seconds) if clock.seconds_between(call.time, now) <= seconds

_within(call, _, _) if not call.time

# METADATA
# title: over
# description: The call would be more than `most` within the last seconds.
over(session, now, seconds, most) if lately(session, now, seconds) >= most
