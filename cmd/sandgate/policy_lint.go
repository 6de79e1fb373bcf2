package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/policy/lint"
	"github.com/sandgate/sandgate/internal/scenario"
)

func newPolicyLintCommand() *cobra.Command {
	var (
		format  string
		disable []string
		list    bool
	)
	cmd := &cobra.Command{
		Use:   "lint [DIR]...",
		Short: "Say what is wrong with a policy before a call does",
		Long: `Check policies without evaluating them: that they compile as the daemon
compiles them (strict, typed by the schema of the input, without built-ins that
reach the network or the clock), that they are formatted, and sandgate's own
rules, such as that nothing is allowed because nothing denies it. --rules lists
them. Without DIR the library that is built in is checked.

Warnings are told and do not fail the command. A finding that is meant is taken
out by a comment on its line or the one before: # lint:ignore RULE: why.` + exitCodesHelp,
		Example: `  sandgate policy lint policies/
  sandgate policy lint policies/ --format github
  sandgate policy lint --disable text-matching --disable format policies/`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if list {
				return writeLintRules(cmd.OutOrStdout(), format)
			}
			if err := checkFormat(format, "pretty", "json", "github", "sarif"); err != nil {
				return err
			}
			if len(args) == 0 {
				args = []string{""}
			}
			found := []lint.Finding{}
			for _, dir := range args {
				more, err := lintDir(cmd, dir, disable)
				if err != nil {
					return err
				}
				found = append(found, more...)
			}
			return writeLint(cmd.OutOrStdout(), format, lint.Sort(found))
		},
	}
	cmd.Flags().StringVar(&format, "format", "pretty", "pretty, json, github (annotations) or sarif")
	cmd.Flags().StringArrayVar(&disable, "disable", nil, "id of a rule that is not checked; may be repeated")
	cmd.Flags().BoolVar(&list, "rules", false, "list the rules")
	return cmd
}

func lintDir(cmd *cobra.Command, dir string, disable []string) ([]lint.Finding, error) {
	src, err := policy.OpenSource(dir)
	if err != nil {
		return nil, err
	}
	found, err := lint.Run(cmd.Context(), src, lint.Options{Disable: disable})
	if err != nil || dir == "" {
		return found, err
	}
	if slices.Contains(disable, "scenario-file") {
		return found, nil
	}
	more, err := lintScenarios(dir)
	return append(found, more...), err
}

// lintScenarios reads every scenario file of a policy.
func lintScenarios(dir string) ([]lint.Finding, error) {
	var found []lint.Finding
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !isSuite(name) || !comesWithPolicy(name) {
			return err
		}
		file := filepath.Join(dir, name)
		raw, err := os.ReadFile(file) // #nosec G304 -- the author names the directory
		if err != nil {
			return err
		}
		parse := scenario.Parse
		if filepath.Ext(name) == ".tsv" {
			parse = scenario.ParseTSV
		}
		if _, err := parse(file, raw); err != nil {
			found = append(found, scenarioFindings(file, err)...)
		}
		return nil
	})
	return found, err
}

// scenarioFindings makes a finding of each line of the error of a scenario file.
func scenarioFindings(name string, err error) []lint.Finding {
	var found []lint.Finding
	for text := range strings.SplitSeq(err.Error(), "\n") {
		text = strings.TrimPrefix(text, name)
		line := 1
		if _, scanErr := fmt.Sscanf(text, ":%d:", &line); scanErr == nil {
			_, text, _ = strings.Cut(text[1:], ":")
		} else if _, scanErr := fmt.Sscanf(text, ": line %d:", &line); scanErr == nil {
			_, text, _ = strings.Cut(text[len(": "):], ":")
		}
		found = append(found, lint.Finding{
			File: name, Line: line, Col: 1, Rule: "scenario-file", Severity: lint.Error,
			Message: strings.TrimSpace(strings.TrimPrefix(text, ":")),
			Instead: "see `sandgate policy test --help` for what a scenario file holds",
		})
	}
	return found
}

func writeLintRules(w io.Writer, format string) error {
	if format == "json" {
		return writeIndented(w, lint.Rules())
	}
	var b strings.Builder
	for _, r := range lint.Rules() {
		fmt.Fprintf(&b, "%-22s %-8s %s\n", r.ID, r.Severity, r.Short)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeLint(w io.Writer, format string, found []lint.Finding) error {
	failed := 0
	for _, f := range found {
		if f.Severity == lint.Error {
			failed++
		}
	}
	var err error
	switch format {
	case "json":
		err = writeIndented(w, map[string]any{"findings": found, "errors": failed})
	case "sarif":
		err = writeIndented(w, lintSARIF(found))
	case "github":
		err = writeLintGitHub(w, found)
	default:
		err = writeLintPretty(w, found, failed)
	}
	if err != nil {
		return err
	}
	if failed > 0 {
		return exitCode(exitFindings)
	}
	return nil
}

func writeLintPretty(w io.Writer, found []lint.Finding, failed int) error {
	p := newPalette(w)
	var b strings.Builder
	for _, f := range found {
		severity := p.red(string(f.Severity))
		if f.Severity == lint.Warning {
			severity = p.yellow(string(f.Severity))
		}
		fmt.Fprintf(&b, "%s %s %s: %s\n", p.bold(fmt.Sprintf("%s:%d:%d:", f.File, f.Line, f.Col)), severity, f.Rule, f.Message)
		if f.Instead != "" {
			fmt.Fprintf(&b, "    instead: %s\n", f.Instead)
		}
	}
	switch {
	case len(found) == 0:
		b.WriteString("no findings\n")
	default:
		fmt.Fprintf(&b, "%d errors, %d warnings\n", failed, len(found)-failed)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// githubEscape writes a text as GitHub's workflow commands want it: messages
// and properties have escapes of their own.
func githubEscape(s string, property bool) string {
	pairs := []string{"%", "%25", "\r", "%0D", "\n", "%0A"}
	if property {
		pairs = append(pairs, ":", "%3A", ",", "%2C")
	}
	return strings.NewReplacer(pairs...).Replace(s)
}

func writeLintGitHub(w io.Writer, found []lint.Finding) error {
	for _, f := range found {
		text := f.Message
		if f.Instead != "" {
			text += "\ninstead: " + f.Instead
		}
		if _, err := fmt.Fprintf(w, "::%s file=%s,line=%d,col=%d,title=%s::%s\n", f.Severity,
			githubEscape(f.File, true), f.Line, f.Col, githubEscape(f.Rule, true), githubEscape(text, false)); err != nil {
			return err
		}
	}
	return nil
}

// lintSARIF is the findings as SARIF 2.1.0, for code scanning.
func lintSARIF(found []lint.Finding) any {
	type object = map[string]any
	rules := []object{}
	for _, r := range lint.Rules() {
		rules = append(rules, object{"id": r.ID, "shortDescription": object{"text": r.Short}, "defaultConfiguration": object{"level": r.Severity}})
	}
	results := []object{}
	for _, f := range found {
		text := f.Message
		if f.Instead != "" {
			text += "; instead: " + f.Instead
		}
		results = append(results, object{
			"ruleId": f.Rule, "level": f.Severity, "message": object{"text": text},
			"locations": []object{{"physicalLocation": object{
				"artifactLocation": object{"uri": filepath.ToSlash(f.File)},
				"region":           object{"startLine": max(1, f.Line), "startColumn": max(1, f.Col)},
			}}},
		})
	}
	return object{
		"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
		"runs": []object{{"tool": object{"driver": object{"name": "sandgate policy lint", "rules": rules}}, "results": results}},
	}
}
