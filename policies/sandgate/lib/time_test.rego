package sandgate.lib.time_test

import data.sandgate.lib.time as clock

test_no_hours_are_none[now] if {
	some now in ["2026-11-23T00:00:00Z", "2026-11-23T07:00:00Z", "2026-11-23T08:00:00Z", "2026-11-23T09:00:00Z"]
	not clock.within_hours(now, "UTC", 8, 8)
}

test_hours_of_a_day_are_not_those_of_a_night[now] if {
	some now in ["2026-11-23T07:00:00Z", "2026-11-23T18:00:00Z", "2026-11-23T23:00:00Z"]
	not clock.within_hours(now, "UTC", 8, 18)
	clock.within_hours(now, "UTC", 18, 8)
}
