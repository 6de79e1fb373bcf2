# METADATA
# title: secrets stay out of output
# description: >-
#   What looks like a key, a token or a password in a URL is taken out of every output before the model sees it.
package cookbook.redact_secrets

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "redact_secrets"

# METADATA
# title: obligations
# description: >-
#   All forms that are known, and the ones of the house.
obligations := {"output": {
	"redact": [
		"aws-key", "aws-secret", "bearer", "github-token", "gitlab-token", "google-key", "jwt", "package-token", "private-key",
		"sk-key", "slack-token", "stripe-key", "url-password",
	],
	"patterns": _patterns,
}}

default _patterns := {}

_patterns := data.sandgate.config.settings.redact_secrets.patterns
