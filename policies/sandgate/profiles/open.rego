# METADATA
# title: open
# description: The cage is the only limit. There is no network in it.
package sandgate.profiles.open

# METADATA
# title: cage-holds
# description: Every call of a known tool is allowed.
# custom:
#   rule: cage-holds
allow contains {
	"rule": "cage-holds",
	"message": "the profile open leaves it to the sandbox",
}

# METADATA
# title: obligations
# description: A cell without network, for this session only.
obligations := {"sandbox": {
	"network": "none",
	"reuse": "session",
	"workspace": "rw",
}}
