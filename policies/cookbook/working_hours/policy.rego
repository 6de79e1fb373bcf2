# METADATA
# title: working hours
# description: >-
#   Calls that change something run only while somebody is there to look: Monday to Friday, 8 to 18 in Europe/Berlin
#   unless data.sandgate.config.settings.working_hours says otherwise.
package cookbook.working_hours

import data.sandgate.lib.time as clock

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "working_hours"

default _hours := {"zone": "Europe/Berlin", "from": 8, "to": 18}

_hours := data.sandgate.config.settings.working_hours

# METADATA
# title: working-hours
# description: >-
#   A call that may change something outside of working hours.
# custom:
#   rule: working-hours
deny contains {
	"rule": "working-hours",
	"message": sprintf("calls that may change something run from %d to %d (%s), Monday to Friday", [_hours.from, _hours.to, _hours.zone]),
	"remediation": "only read until then",
	"severity": "medium",
} if {
	not _only_reads
	not _working
}

_working if clock.working_hours(input.time, _hours.zone, _hours.from, _hours.to)

_only_reads if {
	count(input.tool.effects) > 0
	every effect in input.tool.effects {
		effect == "read"
	}
}
