package sandgate.profiles.locked_test

import data.sandgate.profiles.locked

test_everything_is_denied if {
	{finding.rule | some finding in locked.deny} == {"locked"}
	{finding.rule | some finding in locked.deny with input as {"call": {"tool": "bash"}}} == {"locked"}
}

test_nothing_is_shown if {
	hidden := locked.hidden with input as {"tools": [{"name": "bash"}, {"name": "glob"}]}
	hidden == {"bash", "glob"}
}

test_nothing_is_demanded if locked.obligations == {}
