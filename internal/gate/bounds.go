package gate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sandgate/sandgate/internal/policy"
)

// What is kept of a decision. A script of many commands can have a reason for
// each of them and each rule.
const (
	maxReasons   = 64            // of each list, the last telling how many more there were
	maxShortText = 512           // bytes of a text once the output is no longer kept
	ruleMore     = "daemon:more" // the rule of the last reason of a cut list
)

// boundedDecision cuts the lists of a decision to what is kept. It changes
// neither what was decided nor what is demanded.
func boundedDecision(d policy.Decision) policy.Decision {
	d.Reasons, d.Warnings = boundedReasons(d.Reasons), boundedReasons(d.Warnings)
	if more := len(d.Shadow) - maxReasons + 1; more > 1 {
		first := d.Shadow[maxReasons-1]
		d.Shadow = append(slices.Clone(d.Shadow[:maxReasons-1]), policy.Shadow{
			Rule: ruleMore, Would: first.Would, Message: fmt.Sprintf("and %d more", more),
		})
	}
	return d
}

func boundedReasons(reasons []policy.Reason) []policy.Reason {
	more := len(reasons) - maxReasons + 1
	if more <= 1 {
		return reasons
	}
	return append(slices.Clone(reasons[:maxReasons-1]), policy.Reason{Rule: ruleMore, Message: fmt.Sprintf("and %d more", more)})
}

// shortDecision keeps the outcome and the first reason.
func shortDecision(d policy.Decision) policy.Decision {
	short := policy.Decision{ID: d.ID, Outcome: d.Outcome, Profile: d.Profile, Revision: d.Revision}
	if len(d.Reasons) > 0 {
		r := d.Reasons[0]
		r.Message, r.Remediation = shortened(r.Message), shortened(r.Remediation)
		short.Reasons = []policy.Reason{r}
	}
	return short
}

// shortened cuts a long text; the rest of it is not held on to.
func shortened(text string) string {
	if len(text) <= maxShortText {
		return text
	}
	return strings.ToValidUTF8(strings.Clone(text[:maxShortText]), "") + "…"
}
