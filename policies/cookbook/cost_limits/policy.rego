# METADATA
# title: limits by risk
# description: >-
#   What a call may cost follows from the risk of its tool: little for what only reads, less time for what is risky.
package cookbook.cost_limits

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "cost_limits"

default _limits := {
	"low": {"cpu_millis": 1000, "memory_bytes": 268435456, "wall_time_ms": 30000},
	"medium": {"cpu_millis": 2000, "memory_bytes": 1073741824, "wall_time_ms": 300000},
	"high": {"cpu_millis": 1000, "memory_bytes": 536870912, "wall_time_ms": 120000},
}

_limits := data.sandgate.config.settings.cost_limits

# METADATA
# title: obligations
# description: >-
#   The limits of the risk; of one that is not known the least.
obligations := {"sandbox": object.get(_limits, object.get(input.tool, "risk", "low"), _limits.low)}
