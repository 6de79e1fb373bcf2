package policy

// reservedPrefix marks the rule ids that only sandgate itself may use.
const reservedPrefix = "daemon:"

// Rule ids with which sandgate itself denies. A policy that uses the prefix is
// denied with RuleInvalidDecision.
const (
	// RuleNoPolicy: no policy is loaded, because the configured one is invalid.
	RuleNoPolicy = "daemon:no-policy"
	// RuleUndefined: the policy gave no decision, or more than one.
	RuleUndefined = "daemon:undefined"
	// RuleInvalidDecision: what the policy gave is not a decision.
	RuleInvalidDecision = "daemon:invalid-decision"
	// RuleObligationUnknown: the decision demands something that sandgate does not know.
	RuleObligationUnknown = "daemon:obligation-unknown"
	// RuleObligationCeiling: the decision demands more than the daemon's ceiling.
	RuleObligationCeiling = "daemon:obligation-ceiling"
	// RuleObligationUnsupported: this daemon cannot enforce what the decision demands.
	RuleObligationUnsupported = "daemon:obligation-unsupported"
	// RuleObligationConflict: two parts of the policy demand what cannot both be, or
	// one that may only tighten would loosen.
	RuleObligationConflict = "daemon:obligation-conflict"
	// RuleTransform: the policy transforms the arguments into something that cannot
	// run, or that it would transform again.
	RuleTransform = "daemon:transform"
	// RuleInvalidInput: the input document could not be made.
	RuleInvalidInput = "daemon:invalid-input"
	// RuleEvaluationError: the evaluation of the policy failed.
	RuleEvaluationError = "daemon:evaluation-error"
	// RuleTimeout: the policy took longer than Config.DecisionTimeout.
	RuleTimeout = "daemon:timeout"
	// RuleCancelled: the caller went away before the policy had decided.
	RuleCancelled = "daemon:cancelled"
)

// refuse is the decision of sandgate itself.
func refuse(rule, message, remediation string) Decision {
	return Decision{Outcome: Deny, Reasons: []Reason{{
		Rule: rule, Message: message, Remediation: remediation, Severity: "high",
	}}}
}

const askOperator = "this is a fault of the policy or of the configuration, not of the call: tell the operator"
