package sandgate.profiles.open_test

import data.sandgate.profiles.open

test_everything_is_allowed if {
	{finding.rule | some finding in open.allow} == {"cage-holds"}
}

test_there_is_no_network if open.obligations.sandbox.network == "none"
