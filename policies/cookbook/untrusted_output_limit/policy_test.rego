package cookbook.untrusted_output_limit_test

import data.cookbook.untrusted_output_limit as tested

test_policy if tested.policy == "untrusted_output_limit"
