# METADATA
# title: the workspace is read-only at night
# description: >-
#   From 22 to 6 the workspace cannot be written, whatever runs: the kernel says so, not the analysis of the script.
package cookbook.readonly_at_night

import data.sandgate.lib.time as clock

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "readonly_at_night"

default _night := {"zone": "Europe/Berlin", "from": 22, "to": 6}

_night := data.sandgate.config.settings.readonly_at_night

# METADATA
# title: obligations
# description: >-
#   A workspace that is mounted read-only.
obligations := {"sandbox": {"workspace": "ro"}} if {
	clock.within_hours(input.time, _night.zone, _night.from, _night.to)
}
