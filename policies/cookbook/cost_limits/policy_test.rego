package cookbook.cost_limits_test

import data.cookbook.cost_limits as tested

test_policy if tested.policy == "cost_limits"
