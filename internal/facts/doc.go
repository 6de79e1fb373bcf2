// Package facts derives what a policy can know about a proposed call before it runs: the parsed shell script
// ([AnalyzeShell]) and the resolved path ([AnalyzePath]).
//
// It is called by the gate while it builds the policy input, and by the policy tools of the CLI. It is pure: the only
// effect is a read-only lookup (lstat, readlink, readdir) below the root of the workspace, through [FS].
// It must never run anything, never follow a symlink of the host, and never guess: a fact that is not known is absent
// from the JSON, so that `not x.in_workspace` in a policy fails closed. It holds no verdicts; what is allowed is Rego.
package facts
