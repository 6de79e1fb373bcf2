package cookbook.readonly_at_night_test

import data.cookbook.readonly_at_night as tested

test_policy if tested.policy == "readonly_at_night"
