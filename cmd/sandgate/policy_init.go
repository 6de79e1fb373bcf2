package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandgate/sandgate/policies"
)

// starterFiles are what a new policy repository has beside the library.
var starterFiles = map[string]string{
	"sandgate/extra/team/team.rego": `# METADATA
# title: team
# description: Rules of our own, for every profile. They can deny, ask and label, never allow.
package sandgate.extra.team

# METADATA
# title: no-secrets
# description: Nothing in the folder secrets is touched by a tool that names its files.
# custom:
#   rule: team-no-secrets
deny contains {
	"rule": "team-no-secrets",
	"message": "the folder secrets is not for agents",
	"remediation": "work without it, or ask the user for what is needed",
	"severity": "high",
} if {
	some file in input.call.files
	startswith(file.real, "/workspace/secrets/")
}
`,
	"sandgate/extra/team/team_test.rego": `package sandgate.extra.team_test

test_a_secret_is_denied if {
	found := data.sandgate.extra.team.deny with input as {"call": {"files": [{"real": "/workspace/secrets/key"}]}}
	[finding.rule | some finding in found] == ["team-no-secrets"]
}

test_another_file_is_not if {
	found := data.sandgate.extra.team.deny with input as {"call": {"files": [{"real": "/workspace/secrets.txt"}]}}
	found == set()
}
`,
	"scenarios/team/scenario.yaml": `profile: readonly
workspace:
  files: {README.md: hello, secrets/key: x}
  symlinks: {link: secrets}
cases:
  - name: an ordinary file
    call: {tool: read_file, args: {path: README.md}}
    want: {outcome: allow}
  - name: a secret
    call: {tool: read_file, args: {path: secrets/key}}
    want: {outcome: deny, rules: [team-no-secrets]}
  - name: a secret through a symlink
    call: {tool: read_file, args: {path: link/key}}
    want: {outcome: deny, rules: [team-no-secrets]}
`,
	"ci.sh": `#!/bin/sh
# What CI does, anywhere: it needs the program sandgate and no container.
#   go install github.com/sandgate/sandgate/cmd/sandgate@latest
# FORMAT=github makes annotations; BASELINE is a policy that must not be loosened.
set -eu
cd "$(dirname "$0")"
format=${FORMAT:-pretty}
sandgate policy lint . --format "$format"
sandgate policy test . --coverage --threshold 90 --format "$format" --junit report.xml
sandgate policy mutate . --only sandgate/extra/team/team.rego --threshold 90 --format "$format"
sandgate policy diff "${BASELINE:-builtin}" . --fail-on widened
sandgate policy build . -o bundle.tgz # plain opa would read a .tar.gz as data
`,
	"Makefile": `.PHONY: ci test lint mutate
ci:
	sh ci.sh
test:
	sandgate policy test . --coverage --threshold 90
lint:
	sandgate policy lint .
mutate:
	sandgate policy mutate . --only sandgate/extra/team/team.rego --threshold 90
`,
	".github/workflows/policy.yaml": `name: policy
on: [push, pull_request]
permissions: {contents: read}
jobs:
  policy:
    runs-on: ubuntu-24.04
    env: {SANDGATE_VERSION: latest} # name a release here
    steps:
      - uses: actions/checkout@v4.2.2
      - uses: actions/setup-go@v5.5.0
        with: {go-version: stable, cache: false}
      - run: go install "github.com/sandgate/sandgate/cmd/sandgate@$SANDGATE_VERSION"
      - run: FORMAT=github sh ci.sh
      - if: always()
        uses: actions/upload-artifact@v4.6.2
        with: {name: policy, path: "report.xml\nbundle.tgz", if-no-files-found: warn}
`,
	".gitignore": "report.xml\n*.tar.gz\n*.tgz\n",
	"README.md": `# Our sandgate policy

- sandgate/extra/team: our own rules, for every profile
- sandgate/config/data.json: modes of single rules, terms of approvals
- sandgate/main.rego, lib, profiles: the library of sandgate, as it was when this was made
- scenarios: calls with the decision that they are owed

    sandgate policy test .
    sandgate policy lint .
    sandgate policy mutate . --only sandgate/extra/team/team.rego
    sandgate policy diff builtin .
    sh ci.sh        # all of it, as the workflow does
`,
}

func newPolicyInitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [DIR]",
		Short: "Make a starter repository: policy, tests, scenarios and CI",
		Long: `Write a policy repository into DIR (default: here): the library that is built
in, a rule of your own with its tests and scenarios, and a CI workflow. Nothing
that is there already is overwritten: if a file would be, nothing is written.` + exitCodesHelp,
		Example: "  sandgate policy init my-policy && sandgate policy test my-policy",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			n, err := writeStarter(dir)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d files in %s; try: sandgate policy test %s\n", n, dir, dir)
			return err
		},
	}
}

func writeStarter(dir string) (int, error) {
	files := maps.Clone(starterFiles)
	err := fs.WalkDir(policies.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(name, "cookbook/") {
			return err
		}
		raw, err := fs.ReadFile(policies.FS, name)
		files[name] = string(raw)
		return err
	})
	if err != nil {
		return 0, err
	}
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return 0, fmt.Errorf("%s is there already: nothing was written", filepath.Join(dir, name))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
	}
	for _, name := range names {
		if err := writeNew(filepath.Join(dir, name), files[name]); err != nil {
			return 0, err
		}
	}
	return len(names), nil
}

func writeNew(file, body string) (err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) // #nosec G304 -- the author names the directory
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.WriteString(body)
	return err
}
