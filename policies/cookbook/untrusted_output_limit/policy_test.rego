package cookbook.untrusted_output_limit_test

import data.cookbook.untrusted_output_limit as tested

test_policy if tested.policy == "untrusted_output_limit"

_said(source, annotations) := said if {
	said := tested.obligations with input as {"tool": {"source": source, "annotations": annotations}}
}

_limits := {
	"sandbox": {"output_bytes": 65536, "output_total_bytes": 1048576},
	"output": {"redact": ["aws-key", "bearer", "github-token", "jwt", "private-key"], "labels": ["saw:untrusted"]},
}

test_each if {
	_said("operator", {"openWorldHint": true}) == _limits
	_said("operator", {"openWorldHint": "?"}) == _limits
	_said("operator", {}) == _limits
	not _said("operator", {"openWorldHint": false})
	not _said("builtin", {"openWorldHint": true})
	not _said("builtin", {})
}
