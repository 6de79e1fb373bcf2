package cookbook.redact_secrets_test

import data.cookbook.redact_secrets as tested

test_policy if tested.policy == "redact_secrets"

_kinds := [
	"aws-key", "aws-secret", "bearer", "github-token", "gitlab-token", "google-key", "jwt", "package-token", "private-key",
	"sk-key", "slack-token", "stripe-key", "url-password",
]

test_obligations if {
	tested.obligations == {"output": {"redact": _kinds, "patterns": {}}}
	tested.obligations == {"output": {"redact": _kinds, "patterns": {"x": "y"}}} with data.sandgate.config.settings as {"redact_secrets": {"patterns": {"x": "y"}}}
}
