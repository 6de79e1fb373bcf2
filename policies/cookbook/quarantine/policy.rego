# METADATA
# title: quarantine after a burst of denials
# description: >-
#   A session whose calls are denied again and again is trying something: after 5 of its last 10, and for good once
#   it is labelled, everything is asked and it gets no cell that others of the session have used.
package cookbook.quarantine

import data.sandgate.lib.session

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "quarantine"

default _most := 5

_most := data.sandgate.config.settings.quarantine.denials

# METADATA
# title: quarantined
# description: >-
#   The session is in quarantine.
# custom:
#   rule: quarantined
ask contains {
	"rule": "quarantined",
	"message": "this session was refused too often, so each of its calls needs an approval",
	"remediation": "have a person look at what this session is trying to do",
	"severity": "high",
} if {
	_quarantined
}

# METADATA
# title: labels
# description: >-
#   An approved call keeps the session in quarantine.
labels contains "quarantined" if _quarantined

# METADATA
# title: obligations
# description: >-
#   A fresh cell for each call.
obligations := {"sandbox": {"reuse": "never"}} if _quarantined

_quarantined if session.labelled(input.session, "quarantined")

_quarantined if session.refused_lately(input.session, 10) >= _most
