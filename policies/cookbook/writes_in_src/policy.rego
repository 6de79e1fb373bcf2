# METADATA
# title: no writes outside of src
# description: >-
#   Files are written only below src, tests and docs of the workspace, and in /tmp. What cannot be told before it
#   runs is asked.
package cookbook.writes_in_src

import data.sandgate.lib.calls

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "writes_in_src"

default _directories := {"/workspace/docs", "/workspace/src", "/workspace/tests", "/tmp"}

_directories := data.sandgate.config.settings.writes_in_src.directories

# METADATA
# title: write-outside-src
# description: >-
#   A file outside of these directories would be written.
# custom:
#   rule: write-outside-src
deny contains {
	"rule": "write-outside-src",
	"message": sprintf("%s is outside of the directories that may be written", [path]),
	"remediation": "write below src, tests or docs",
	"severity": "medium",
} if {
	some path in calls.written_paths(input.call)
	not _writable(path)
}

# METADATA
# title: write-unknown
# description: >-
#   A script of which it is not known what it writes.
# custom:
#   rule: write-unknown
ask contains {
	"rule": "write-unknown",
	"message": "it is not known which files this script writes",
	"remediation": "write plain paths",
	"severity": "low",
} if {
	_unreadable(input.call.shell)
}

_writable(path) if {
	some directory in _directories
	calls.below(path, directory)
	not contains(path, "/../")
	not endswith(path, "/..")
}

_unreadable(script) if script.parsed != true

_unreadable(script) if script.overflow == true

_unreadable(script) if script.opaque == true
