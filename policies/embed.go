// Package policies holds the default policy library: its Rego, the JSON
// schemas of the policy input and of the decision, and the scenario files that
// prove the profiles. internal/policy loads it when no other policy is
// configured, the policy tools of the CLI run its tests. It holds data only: no
// Go decision may ever be made here.
package policies

import "embed"

// FS holds the library as the directory `policies` of the source tree does:
// sandgate/ (Rego and its data), schemas/ and scenarios/. Plain OPA takes every
// JSON and YAML file below a directory for data, so no two of them may give the
// same member of the same folder: each file has a folder of its own.
//
//go:embed sandgate schemas scenarios
var FS embed.FS
