package cookbook.redact_secrets_test

import data.cookbook.redact_secrets as tested

test_policy if tested.policy == "redact_secrets"
