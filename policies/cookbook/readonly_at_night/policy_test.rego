package sandgate.cookbook.readonly_at_night_test

import data.sandgate.cookbook.readonly_at_night as tested

test_policy if tested.policy == "readonly_at_night"
