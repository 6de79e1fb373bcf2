package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandgate/sandgate/internal/scenario"
	"github.com/sandgate/sandgate/policies"
)

// Exit codes of `sandgate policy …`: 0 all is well; exitFindings: the tool has
// found something; exitUsage: it could not do its work.
const (
	exitFindings = 1
	exitUsage    = 2
)

const exitCodesHelp = `

Exit codes: 0 all is well; 1 something was found, a test fails, a score is too
low; 2 the command is wrong or what it needs cannot be read.`

// findings ends a policy tool that has found something, with exitFindings.
type findings string

// Error implements error.
func (f findings) Error() string { return string(f) }

// ExitCode is what the process ends with.
func (findings) ExitCode() int { return exitFindings }

// cannot ends a policy tool that could not do its work, with exitUsage.
type cannot struct{ error }

// ExitCode is what the process ends with.
func (cannot) ExitCode() int { return exitUsage }

// Unwrap gives the reason.
func (c cannot) Unwrap() error { return c.error }

// withExitCodes gives the errors of a policy tool their exit code.
func withExitCodes(cmd *cobra.Command) *cobra.Command {
	classify := func(err error) error {
		var coded interface{ ExitCode() int }
		var code exitCode
		if err == nil || errors.As(err, &coded) || errors.As(err, &code) {
			return err
		}
		return cannot{err}
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return cannot{err} })
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error { return classify(run(cmd, args)) }
	}
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error { return classify(check(cmd, args)) }
	}
	return cmd
}

// suitesOf reads the scenario files and labelled commands that come with the
// policy of a directory, or with the default library for "": those in the folders
// scenarios and testdata, and those beside a policy that are called scenario.yaml.
func suitesOf(dir string) ([]scenario.Suite, error) {
	if dir == "" {
		return suitesWhere(policies.FS, ".", "policies", comesWithPolicy)
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, nil // a bundle holds no scenarios
	}
	return suitesWhere(os.DirFS(dir), ".", dir, comesWithPolicy)
}

func comesWithPolicy(name string) bool {
	top, _, nested := strings.Cut(name, "/")
	return nested && (top == "scenarios" || top == "testdata") || path.Base(name) == "scenario.yaml"
}

// suitesIn reads every suite below a folder; shown is what fsys is called.
func suitesIn(fsys fs.FS, folder, shown string) ([]scenario.Suite, error) {
	return suitesWhere(fsys, folder, shown, func(string) bool { return true })
}

func suitesWhere(fsys fs.FS, folder, shown string, wanted func(name string) bool) ([]scenario.Suite, error) {
	var suites []scenario.Suite
	err := fs.WalkDir(fsys, folder, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != folder && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir(), !isSuite(name), !wanted(name):
			return nil
		}
		suite, err := readSuite(fsys, name, filepath.Join(shown, name))
		suites = append(suites, suite)
		return err
	})
	return suites, err
}

func isSuite(name string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".tsv"}, filepath.Ext(name))
}

func readSuite(fsys fs.FS, name, shown string) (scenario.Suite, error) {
	raw, err := fs.ReadFile(fsys, name)
	if err != nil {
		return scenario.Suite{}, err
	}
	if filepath.Ext(name) == ".tsv" {
		return scenario.ParseTSV(shown, raw)
	}
	return scenario.Parse(shown, raw)
}

// readSuiteFile reads one file that is named on the command line.
func readSuiteFile(name string) (scenario.Suite, error) {
	if !isSuite(name) {
		return scenario.Suite{}, fmt.Errorf("%s: want a scenario file (.yaml), labelled commands (.tsv) or a directory", name)
	}
	return readSuite(os.DirFS(filepath.Dir(name)), filepath.Base(name), name)
}

// checkFormat refuses a --format that a command does not have.
func checkFormat(format string, known ...string) error {
	if slices.Contains(known, format) {
		return nil
	}
	return fmt.Errorf("--format %q: want one of %v", format, known)
}
