package sandgate.profiles.readonly_test

import data.sandgate.lib.facts_test as facts
import data.sandgate.profiles.readonly

test_operations_that_read[op] if {
	some op in ["glob", "grep", "list", "read", "search"]
	_judge(_tool("read_file", [_file(op, true)])) == _only("allow", "read-only-tool")
}

test_tools_that_read[tool] if {
	some tool in ["read_file", "list_dir", "glob", "grep"]
	_judge(_tool(tool, [_file("read", true)])) == _only("allow", "read-only-tool")
	_judge(_tool(tool, [_file("read", true), _file("delete", true)])) == _nothing
	_judge(_tool(tool, [_file("read", true), _file("read", false)])) == _nothing
}

test_variables_that_change_nothing[name] if {
	some name in ["CI", "LANG", "LC_ALL", "NO_COLOR", "TERM", "TZ"]
	_judge(object.union(_bash([["ls"]]), {"call": {"env": {name: "1"}}})) == _only("allow", "read-only-commands")
	_judge(object.union(_bash([["ls"]]), {"call": {"env": {name: "1", "PATH": "/tmp"}}})) == _nothing
}

test_scripts_of_other_tools_are_not_allowed if {
	_judge(object.union(_bash([["ls"]]), {"call": {"tool": "run_anything"}})) == _nothing
}

test_git_under_another_name if {
	command := object.union(facts.command(["git", "status"]), {"base": "evil"})
	_judge(facts.document(facts.script([command]))) == _only("ask", "not-read-only")
}

test_the_message_of_an_unnamed_command if {
	document := facts.document(facts.script([object.remove(facts.command(["x"]), {"name"})]))
	{finding.message | some finding in readonly.ask with input as document} == {"a command whose name is not known is not known to only read inside the workspace"}
}
