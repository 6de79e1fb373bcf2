# METADATA
# title: little output from untrusted tools
# description: >-
#   Tools that an operator added and that reach the open world give back little: 64 KiB that are kept, 1 MiB before
#   they are stopped, secrets taken out, and the session is labelled.
package cookbook.untrusted_output_limit

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "untrusted_output_limit"

# METADATA
# title: obligations
# description: >-
#   Small output without secrets.
obligations := {
	"sandbox": {"output_bytes": 65536, "output_total_bytes": 1048576},
	"output": {"redact": ["aws-key", "bearer", "github-token", "jwt", "private-key"], "labels": ["saw:untrusted"]},
} if {
	_untrusted
}

# A tool that says nothing of it may be open to the world.
_untrusted if {
	input.tool.source != "builtin"
	not _closed
}

_closed if input.tool.annotations.openWorldHint == false
