# METADATA
# title: time
# description: >-
#   Times of the day and the week, told from input.time. Policies have no clock of their own, so that a decision can be
#   made again. A time zone is a name such as Europe/Berlin; one that is not known is an error, and so a deny.
package sandgate.lib.time

# METADATA
# title: hour
# description: The hour of the day in the zone, 0 to 23.
hour(now, zone) := time.clock([time.parse_rfc3339_ns(now), zone])[0]

# METADATA
# title: day
# description: The day of the week in the zone, Monday to Sunday.
day(now, zone) := time.weekday([time.parse_rfc3339_ns(now), zone])

# METADATA
# title: within hours
# description: >-
#   The hour is from `from` on and before `to`. Hours over midnight are written from a larger to a smaller number: 22, 6.
within_hours(now, zone, from, to) if {
	now_hour := hour(now, zone)
	now_hour >= from
	now_hour < to
}

within_hours(now, zone, from, to) if {
	from > to
	hour(now, zone) >= from
}

within_hours(now, zone, from, to) if {
	from > to
	hour(now, zone) < to
}

# METADATA
# title: working hours
# description: A day from Monday to Friday, within the hours.
working_hours(now, zone, from, to) if {
	not day(now, zone) in {"Saturday", "Sunday"}
	within_hours(now, zone, from, to)
}

# METADATA
# title: seconds between
# description: From the first time to the second, in seconds.
seconds_between(earlier, later) := (time.parse_rfc3339_ns(later) - time.parse_rfc3339_ns(earlier)) / 1000000000
