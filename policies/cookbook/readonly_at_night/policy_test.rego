package cookbook.readonly_at_night_test

import data.cookbook.readonly_at_night as tested

test_policy if tested.policy == "readonly_at_night"

_at(time) := said if {
	said := tested.obligations with input as {"time": time}
}

# Berlin is an hour ahead of UTC in winter.
test_night if {
	_at("2026-11-23T21:00:00Z") == {"sandbox": {"workspace": "ro"}}
	_at("2026-11-23T04:59:00Z") == {"sandbox": {"workspace": "ro"}}
	not _at("2026-11-23T20:59:00Z")
	not _at("2026-11-23T05:00:00Z")
}

test_night_of_settings if {
	tested.obligations.sandbox == {"workspace": "ro"} with input as {"time": "2026-11-23T12:00:00Z"}
		with data.sandgate.config.settings as {"readonly_at_night": {"zone": "UTC", "from": 12, "to": 13}}
}
