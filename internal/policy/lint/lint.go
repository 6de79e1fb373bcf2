// Package lint reads a policy and says what is wrong with it before a call does:
// what the daemon would refuse, what is not formatted, and what sandgate's own
// rules forbid because it has let policies allow by accident. `sandgate policy
// lint` is its front. It must never change a file.
package lint

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"

	"github.com/sandgate/sandgate/internal/policy"
)

// Severity of a finding.
type Severity string

// Severities. Warnings are advice; errors fail the command.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Finding is one thing that is wrong.
type Finding struct {
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Col      int      `json:"col"`
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
	Instead  string   `json:"instead,omitempty"` // what would be right
}

// Rule is one of the checks.
type Rule struct {
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	Short    string   `json:"short"`
}

// The checks by id.
const (
	ruleParse        = "parse"
	ruleCompile      = "compile"
	ruleBuiltin      = "forbidden-builtin"
	ruleFormat       = "format"
	ruleEntryPoint   = "entry-point"
	ruleDefault      = "default-deny"
	ruleEmptyDeny    = "allow-from-empty-deny"
	ruleDefaultAllow = "default-allow"
	ruleMetadataID   = "metadata-id"
	ruleMetadata     = "missing-metadata"
	ruleFindingID    = "finding-metadata"
	ruleDuplicate    = "duplicate-rule-id"
	ruleReserved     = "reserved-rule-id"
	ruleDirectory    = "package-directory"
	ruleWalk         = "no-walk"
	ruleText         = "text-matching"
	rulePrint        = "print"
	ruleData         = "data-file"
	ruleScenario     = "scenario-file"
)

// Rules lists every check, sorted.
func Rules() []Rule {
	return []Rule{
		{ruleEmptyDeny, Error, "a call may not be allowed because nothing denies it"},
		{ruleCompile, Error, "the policy compiles: strict, typed by the schema of the input"},
		{ruleData, Error, "data files can be read"},
		{ruleDefaultAllow, Error, "no default allows"},
		{ruleDefault, Error, "data.sandgate.decision has a default that denies"},
		{ruleDuplicate, Error, "a rule id has one effect within its package"},
		{ruleEntryPoint, Error, "data.sandgate.decision and data.sandgate.visible are defined"},
		{ruleFindingID, Error, "a rule that makes a finding has its id under custom.rule"},
		{ruleBuiltin, Error, "no built-in that reaches the network, the clock or the environment"},
		{ruleFormat, Error, "files are formatted as by opa fmt"},
		{ruleMetadataID, Error, "no rule reads its own metadata"},
		{ruleMetadata, Error, "packages and public rules have metadata with title and description"},
		{ruleWalk, Error, "no walk over whole documents"},
		{ruleDirectory, Error, "the package is named like the directory"},
		{ruleParse, Error, "files can be parsed"},
		{rulePrint, Warning, "no print outside of tests"},
		{ruleReserved, Error, "no rule id begins with daemon:"},
		{ruleScenario, Error, "scenario files can be read"},
		{ruleText, Warning, "scripts are judged by their facts, not by their text"},
	}
}

// Options of Run.
type Options struct {
	// Disable are ids of Rules that are not checked.
	Disable []string
}

// linter gathers findings.
type linter struct {
	src      policy.Source
	findings []Finding
}

// Run checks a policy. The findings are sorted by place. An error means that
// the options are wrong.
func Run(ctx context.Context, src policy.Source, opts Options) ([]Finding, error) {
	known := Rules()
	for _, id := range opts.Disable {
		if !slices.ContainsFunc(known, func(r Rule) bool { return r.ID == id }) {
			return nil, errors.New("there is no lint rule " + id + ": `sandgate policy lint --rules` lists them")
		}
	}
	l := &linter{src: src}
	mods := l.parse()
	l.files()
	if len(l.findings) == 0 || len(mods) > 0 {
		l.modules(mods)
	}
	if !slices.ContainsFunc(l.findings, func(f Finding) bool { return f.Rule == ruleParse || f.Rule == ruleData }) {
		l.compile(ctx, mods)
	}
	return Sort(slices.DeleteFunc(l.findings, func(f Finding) bool {
		return slices.Contains(opts.Disable, f.Rule) || l.ignored(f)
	})), nil
}

// ignoreMark begins the comment of an author who knows better: "# lint:ignore
// no-walk: why", on the line of the finding or the one before.
const ignoreMark = "# lint:ignore "

func (l *linter) ignored(f Finding) bool {
	for _, name := range l.src.Files() {
		if l.src.Shown(name) != f.File {
			continue
		}
		rows := strings.Split(string(l.src.Body(name)), "\n")
		for row := max(0, f.Line-2); row < f.Line && row < len(rows); row++ {
			_, rules, found := strings.Cut(rows[row], ignoreMark)
			if rule, _, _ := strings.Cut(rules, ":"); found && strings.TrimSpace(rule) == f.Rule {
				return true
			}
		}
	}
	return false
}

// Sort orders findings by place and takes out doubles.
func Sort(findings []Finding) []Finding {
	slices.SortFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col),
			cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(findings)
}

func (l *linter) add(loc *ast.Location, rule, message, instead string) {
	f := Finding{Rule: rule, Severity: Error, Message: message, Instead: instead}
	for _, r := range Rules() {
		if r.ID == rule {
			f.Severity = r.Severity
		}
	}
	if loc != nil {
		f.File, f.Line, f.Col = loc.File, loc.Row, loc.Col
	}
	l.findings = append(l.findings, f)
}

// parse parses every file that can be and checks its format.
func (l *linter) parse() map[string]*ast.Module {
	mods := map[string]*ast.Module{}
	for _, name := range l.src.Files() {
		if !strings.HasSuffix(name, ".rego") {
			continue
		}
		shown := l.src.Shown(name)
		body := l.src.Body(name)
		mod, err := ast.ParseModuleWithOpts(shown, string(body), ast.ParserOptions{
			Capabilities: ast.CapabilitiesForThisVersion(), ProcessAnnotation: true, RegoVersion: ast.RegoV1,
		})
		switch {
		case err != nil:
			l.asts(shown, ruleParse, err)
			continue
		case mod == nil:
			l.add(&ast.Location{File: shown, Row: 1, Col: 1}, ruleParse, "the file is empty", "a file begins with its package")
			continue
		}
		mods[shown] = mod
		l.format(shown, body)
	}
	return mods
}

func (l *linter) asts(file, rule string, err error) {
	var many ast.Errors
	if !errors.As(err, &many) {
		l.add(&ast.Location{File: file, Row: 1, Col: 1}, rule, err.Error(), "")
		return
	}
	for _, e := range many {
		loc := e.Location
		if loc == nil {
			loc = &ast.Location{File: file, Row: 1, Col: 1}
		}
		message := e.Message
		if e.Details != nil {
			message += " (" + strings.Join(strings.Fields(strings.Join(e.Details.Lines(), " ")), " ") + ")"
		}
		if name, ok := strings.CutPrefix(e.Message, "undefined function "); ok && policy.ForbiddenBuiltin(name) {
			l.add(loc, ruleBuiltin, name+" is not available to policies", "a decision follows from its input alone: put what is needed into the input or the data")
			continue
		}
		l.add(loc, rule, message, "")
	}
}

func (l *linter) format(file string, body []byte) {
	out, err := format.SourceWithOpts(file, body, format.Opts{RegoVersion: ast.RegoV1})
	if err != nil || bytes.Equal(out, body) {
		return
	}
	row := 1
	want := bytes.Split(out, []byte("\n"))
	for i, line := range bytes.Split(body, []byte("\n")) {
		if i >= len(want) || !bytes.Equal(line, want[i]) {
			row = i + 1
			break
		}
	}
	l.add(&ast.Location{File: file, Row: row, Col: 1}, ruleFormat, "the file is not formatted", "run `opa fmt -w` on it")
}

// files checks what is no Rego: the data.
func (l *linter) files() {
	if _, err := l.src.Store(); err != nil {
		file, rest, found := strings.Cut(err.Error(), ": ")
		if !found {
			file, rest = l.src.Name(), err.Error()
		}
		l.add(&ast.Location{File: file, Row: 1, Col: 1}, ruleData, rest, "data.json and data.yaml hold an object; its members are below the directory's name")
	}
}

// compile says what the daemon would, about the policy and then about its tests.
func (l *linter) compile(ctx context.Context, mods map[string]*ast.Module) {
	store, err := l.src.Store()
	if err != nil || len(mods) == 0 {
		return
	}
	library := map[string]*ast.Module{}
	for name, mod := range mods {
		if !policy.IsTest(name) {
			library[name] = mod
		}
	}
	if _, err := policy.Compile(ctx, library, store); err != nil {
		l.asts(l.src.Name(), ruleCompile, err)
		return
	}
	if _, err := policy.Compile(ctx, mods, store); err != nil {
		l.asts(l.src.Name(), ruleCompile, err)
	}
}
