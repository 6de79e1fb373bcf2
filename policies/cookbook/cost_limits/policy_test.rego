package cookbook.cost_limits_test

import data.cookbook.cost_limits as tested

test_policy if tested.policy == "cost_limits"

_said(tool) := said if {
	said := tested.obligations.sandbox with input as {"tool": tool}
}

_low := {"cpu_millis": 1000, "memory_bytes": 268435456, "wall_time_ms": 30000}

test_each_risk if {
	_said({"risk": "low"}) == _low
	_said({"risk": "medium"}) == {"cpu_millis": 2000, "memory_bytes": 1073741824, "wall_time_ms": 300000}
	_said({"risk": "high"}) == {"cpu_millis": 1000, "memory_bytes": 536870912, "wall_time_ms": 120000}
	_said({"risk": "extreme"}) == _low
	_said({}) == _low
}

test_limits_of_settings if {
	tested.obligations == {"sandbox": {"pids": 5}} with input as {"tool": {"risk": "high"}}
		with data.sandgate.config.settings as {"cost_limits": {"low": {}, "high": {"pids": 5}}}
}
