// Package facts derives what a policy can know about a proposed call before it runs: the parsed shell script
// ([AnalyzeShell]), the resolved path ([AnalyzePath]), a Python program ([AnalyzePython]) and the words of git and
// kubectl ([AnalyzeArgv]).
//
// A command tells what it runs (as further commands, which name it in Via), the files that its words name, and whether
// it reaches for the network. What runs and cannot be read makes it opaque: a file, a program of another language, a
// variable that loads code. Of such a program the commands that can be seen in it are listed all the same, so that what
// is refused by its name is refused there too; they are never surely all of them.
//
// Statements of SQL are not among the facts: of the parsers that could be had, pg_query needs a WebAssembly runtime and
// reads PostgreSQL only, TiDB's reads MySQL only, DataDog's go-sqllexer is no parser, and Vitess's and CockroachDB's are
// refused by the module proxy that we build behind. A fact that holds for one dialect of three would be a guess.
//
// It is called by the gate while it builds the policy input, and by the policy tools of the CLI. It is pure: the only
// effect is a read-only lookup (lstat, readlink, readdir) below the root of the workspace, through [FS].
// It must never run anything, never follow a symlink of the host, and never guess: a fact that is not known is absent
// from the JSON, so that `not x.in_workspace` in a policy fails closed. It holds no verdicts; what is allowed is Rego.
package facts
