package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sandgate/sandgate/policies"
)

// Profiles of the benchmark, beside those of the library.
const (
	profileOpen   = "open"
	profileNever  = "bench_never"
	profileCaller = "bench_caller"
	profileGVisor = "bench_gvisor"
	profileLarge  = "bench_large"
)

// obligationsOf are the demands of the benchmark's profiles.
var obligationsOf = map[string]string{
	profileNever:  `"network": "none", "reuse": "never", "workspace": "rw"`,
	profileCaller: `"network": "none", "reuse": "caller", "workspace": "rw"`,
	profileLarge:  `"network": "none", "reuse": "session", "workspace": "rw", "output_bytes": 33554432`,
	profileGVisor: `"network": "none", "reuse": "session", "workspace": "rw", "isolation": "gvisor"`,
}

// writePolicy makes a policy directory: the default library and, for each name,
// a profile that allows everything and demands what obligationsOf says.
func writePolicy(dir string, profiles ...string) error {
	if err := os.CopyFS(dir, policies.FS); err != nil {
		return fmt.Errorf("write the policy: %w", err)
	}
	for _, name := range profiles {
		text := fmt.Sprintf(`package sandgate.profiles.%s

allow contains {"rule": "cage-holds", "message": "the profile leaves it to the sandbox"}

obligations := {"sandbox": {%s}}
`, name, obligationsOf[name])
		if err := os.WriteFile(filepath.Join(dir, "sandgate", "profiles", name+".rego"), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write the policy: %w", err)
		}
	}
	return nil
}

// Kinds of additional rules.
const (
	rulesForTools     = "tool"
	rulesForCommands  = "command"
	rulesForArguments = "argument"
)

// writeRules adds n rules for every profile, as an operator writes them: each
// denies a tool of his, a program, or a text anywhere in a command, which no index over
// the rules can leave out. No measured call meets one of them.
func writeRules(dir, kind string, n int) error {
	var b strings.Builder
	b.WriteString("package sandgate.extra.bench\n")
	for i := range n {
		condition := fmt.Sprintf("input.call.tool == \"deploy_%04d\"", i)
		switch kind {
		case rulesForCommands:
			condition = fmt.Sprintf("some command in input.call.shell.commands\n\tcommand.base == \"deploy-%04d\"", i)
		case rulesForArguments:
			condition = fmt.Sprintf("contains(input.call.args.command, \"deploy-%04d\")", i)
		}
		fmt.Fprintf(&b, `
deny contains {"rule": %q, "message": "deployments go through the pipeline", "severity": "high"} if {
	%s
}
`, ruleName(i), condition)
	}
	path := filepath.Join(dir, "sandgate", "extra")
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("write rules: %w", err)
	}
	if err := os.WriteFile(filepath.Join(path, "bench.rego"), []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("write rules: %w", err)
	}
	return nil
}

// ruleName is that of the i-th rule of writeRules.
func ruleName(i int) string { return fmt.Sprintf("bench-%04d", i) }

// callersWith gives the user who runs the benchmark the library's profiles and
// those named, as configuration.
func callersWith(profiles ...string) string {
	all := append([]string{"workspace", "readonly", profileOpen, "locked"}, profiles...)
	return fmt.Sprintf("callers: [{match: {uid: %d}, profiles: [%s], admin: true}]\n", os.Getuid(), strings.Join(all, ", "))
}

// toolEnv shows the environment of a call.
const toolEnv = "bench_env"

// tools are programs without a shell around them, so that the daemon runs what
// the floor runs.
var tools = []struct {
	name string
	argv []string
}{
	{"bench_true", []string{"/bin/true"}},
	{toolEnv, []string{"/usr/bin/env"}},
	{"bench_cat", []string{"/bin/cat", catFile}},
	{"bench_python", []string{"/usr/bin/python3", "-c", "pass"}},
	{"bench_1m", []string{"/usr/bin/head", "-c", "1048576", "/dev/zero"}},
	{"bench_32m", []string{"/usr/bin/head", "-c", "33554432", "/dev/zero"}},
	{"bench_64m", []string{"/usr/bin/head", "-c", "67108864", "/dev/zero"}},
}

// catFile is a small file that the host image shows as well.
const catFile = "/usr/lib/os-release"

// writeTools declares them.
func writeTools(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write tools: %w", err)
	}
	for _, t := range tools {
		text := fmt.Sprintf("name: %s\ndescription: A command of the benchmark.\ninput_schema: {type: object, additionalProperties: false}\n"+
			"effects: [execute]\nrisk: low\nexec: {argv: [%s]}\n", t.name, `"`+strings.Join(t.argv, `", "`)+`"`)
		if err := os.WriteFile(filepath.Join(dir, t.name+".yaml"), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write tools: %w", err)
		}
	}
	return nil
}

func argvOf(tool string) []string {
	for _, t := range tools {
		if t.name == tool {
			return t.argv
		}
	}
	return nil
}
