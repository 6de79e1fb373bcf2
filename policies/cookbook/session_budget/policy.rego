# METADATA
# title: budget of a session
# description: >-
#   A session gets so many calls and no more; near the end they are asked. An agent that runs in a circle stops.
package cookbook.session_budget

import data.sandgate.lib.session

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "session_budget"

default _budget := {"calls": 500, "ask_from": 400}

_budget := data.sandgate.config.settings.session_budget

# METADATA
# title: session-budget
# description: >-
#   The session has had all its calls.
# custom:
#   rule: session-budget
deny contains {
	"rule": "session-budget",
	"message": sprintf("this session has had its %d calls", [_budget.calls]),
	"remediation": "say what was done and what is left; the user can begin a new session",
	"severity": "medium",
} if {
	session.calls(input.session) >= _budget.calls
}

# METADATA
# title: session-budget-near
# description: >-
#   The session comes to its end.
# custom:
#   rule: session-budget-near
ask contains {
	"rule": "session-budget-near",
	"message": sprintf("this session has had %d of its %d calls", [session.calls(input.session), _budget.calls]),
	"remediation": "finish what is begun",
	"severity": "low",
} if {
	session.calls(input.session) >= _budget.ask_from
}

# METADATA
# title: no-session
# description: >-
#   A call outside of any session cannot be counted.
# custom:
#   rule: no-session
deny contains {
	"rule": "no-session",
	"message": "calls without a session cannot be counted, so they are not run",
	"remediation": "name a session",
	"severity": "low",
} if {
	not input.session.id
}
