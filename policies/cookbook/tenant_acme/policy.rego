# METADATA
# title: what the tenant acme adds
# description: >-
#   An example of a tenant's own policy. It holds for the callers that the daemon's configuration gives this tenant, and
#   can only tighten: deny, ask, label, and lower limits. What it says in allow, modes or transform is not looked at.
package sandgate.tenants.acme # lint:ignore package-directory: an example that is copied from here

# METADATA
# title: acme-no-deploy
# description: At acme nothing is deployed by agents.
# custom:
#   rule: acme-no-deploy
deny contains {
	"rule": "acme-no-deploy",
	"message": sprintf("%s deploys, which agents of acme do not", [command.base]),
	"remediation": "open a pull request; the pipeline deploys it",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands
	lower(command.base) in {"helm", "kubectl", "pulumi", "terraform", "tofu"}
}

# METADATA
# title: acme-release-notes
# description: The release notes of acme are read by its customers.
# custom:
#   rule: acme-release-notes
ask contains {
	"rule": "acme-release-notes",
	"message": "customers read the release notes",
	"remediation": "have the change approved",
	"severity": "low",
} if {
	some file in input.call.files
	file.op != "read"
	file.path in {"RELEASE_NOTES.md", "/workspace/RELEASE_NOTES.md"}
}

# METADATA
# title: obligations
# description: Half a gibibyte for each call, and a label by which other rules know the tenant.
obligations := {"sandbox": {"memory_bytes": 536870912}, "output": {"labels": ["tenant:acme"]}}
