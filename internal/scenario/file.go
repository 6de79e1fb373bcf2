// Package scenario runs scenario files: calls with the decision that a policy
// owes them. Authors write them, CI runs them before a policy is rolled out,
// and `sandgate policy test` is their front. A case goes through the same
// catalog, facts and input builder as a real call of the gate. It must never
// run a tool, and never let a case pass that it did not understand.
package scenario

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/policy"
)

// maxFileBytes bounds a scenario file.
const maxFileBytes = 8 << 20

// Suite is one scenario file.
type Suite struct {
	File      string
	Profile   string
	Workspace facts.FS
	Cases     []Case
}

// Case is one call with what is wanted of its decision.
type Case struct {
	Name    string
	Line    int    // in the file
	Profile string // the suite's, unless the case has its own
	Caller  policy.CallerInput
	Session policy.SessionInput
	Time    string // RFC 3339
	// Environment is what the daemon is for, as its configuration would name it.
	Environment string
	Call        Call
	Want        Want
}

// Call is the proposed call of a case.
type Call struct {
	Tool string
	Args json.RawMessage
	Cwd  string
	Env  map[string]string
}

// Want is what a case demands. Zero fields demand nothing, but Outcome is required.
type Want struct {
	Outcome policy.Outcome
	// Rules must all be among the reasons; Warnings and Shadow likewise.
	Rules, Warnings, Shadow []string
	// Labels must be exactly those of the decision, in any order. Nil: not checked.
	Labels []string
	// Obligations must hold at least these members.
	Obligations map[string]any
	// Bounds and Transform (the new arguments) likewise.
	Bounds, Transform map[string]any
	// MayBeRefused: the case also passes when the call is refused before the
	// policy sees it, which is what "ask" means at least in labelled commands.
	MayBeRefused bool
}

// defaultTime is when the calls of a case happen that names no time.
const defaultTime = "2026-01-01T00:00:00Z"

// The file as it is written. Decoding is strict: a key that is not here is an error.
type (
	suiteYAML struct {
		Profile   string        `yaml:"profile"`
		Workspace workspaceYAML `yaml:"workspace"`
		Cases     []caseYAML    `yaml:"cases"`
	}
	workspaceYAML struct {
		Files    map[string]string `yaml:"files"`
		Symlinks map[string]string `yaml:"symlinks"`
	}
	caseYAML struct {
		Name        string      `yaml:"name"`
		Profile     string      `yaml:"profile"`
		Time        string      `yaml:"time"`
		Environment string      `yaml:"environment"`
		Caller      callerYAML  `yaml:"caller"`
		Session     sessionYAML `yaml:"session"`
		Call        callYAML    `yaml:"call"`
		Want        wantYAML    `yaml:"want"`
	}
	callerYAML struct {
		ID        string `yaml:"id"`
		Transport string `yaml:"transport"`
		UID       *int   `yaml:"uid"`
		Tenant    string `yaml:"tenant"`
	}
	sessionYAML struct {
		ID     string         `yaml:"id"`
		Seq    int64          `yaml:"seq"`
		Counts map[string]int `yaml:"counts"`
		Labels []string       `yaml:"labels"`
		Grants []string       `yaml:"grants"`
		// Granted are whole grants, as input.session.granted has them.
		Granted []map[string]any `yaml:"granted"`
		Recent  []recentYAML     `yaml:"recent"`
	}
	recentYAML struct {
		Seq     int64  `yaml:"seq"`
		Time    string `yaml:"time"`
		Tool    string `yaml:"tool"`
		Outcome string `yaml:"outcome"`
		Digest  string `yaml:"digest"`
	}
	callYAML struct {
		Tool string            `yaml:"tool"`
		Args map[string]any    `yaml:"args"`
		Cwd  string            `yaml:"cwd"`
		Env  map[string]string `yaml:"env"`
	}
	wantYAML struct {
		Outcome     string         `yaml:"outcome"`
		Rules       []string       `yaml:"rules"`
		Warnings    []string       `yaml:"warnings"`
		Shadow      []string       `yaml:"shadow"`
		Labels      []string       `yaml:"labels"`
		Obligations map[string]any `yaml:"obligations"`
		Bounds      map[string]any `yaml:"bounds"`
		Transform   map[string]any `yaml:"transform"`
	}
)

// Parse reads a scenario file. Errors name the file and the line.
func Parse(file string, raw []byte) (Suite, error) {
	if len(raw) > maxFileBytes {
		return Suite{}, fmt.Errorf("%s: %d bytes, the most is %d", file, len(raw), maxFileBytes)
	}
	var doc suiteYAML
	if err := strict(raw, &doc); err != nil {
		return Suite{}, fmt.Errorf("%s: %w", file, err)
	}
	suite := Suite{
		File: file, Profile: doc.Profile,
		Workspace: facts.NewMemFS(doc.Workspace.Files, doc.Workspace.Symlinks),
	}
	if len(doc.Cases) == 0 {
		return Suite{}, fmt.Errorf("%s: no cases: want a list of {name, call, want}", file)
	}
	var lines struct {
		Cases []yaml.Node `yaml:"cases"`
	}
	if err := yaml.Unmarshal(raw, &lines); err != nil || len(lines.Cases) != len(doc.Cases) {
		return Suite{}, fmt.Errorf("%s: cases cannot be numbered: %v", file, err)
	}
	var errs []error
	for i, written := range doc.Cases {
		c, err := written.toCase(doc.Profile, lines.Cases[i].Line)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: case %d: %w", file, lines.Cases[i].Line, i+1, err))
			continue
		}
		suite.Cases = append(suite.Cases, c)
	}
	return suite, errors.Join(errs...)
}

// goTypes is what the decoder says to Go programmers only.
var goTypes = regexp.MustCompile(` in type scenario\.\w+| into scenario\.\w+`)

func strict(raw []byte, into any) error {
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	err := dec.Decode(into)
	var typed *yaml.TypeError
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("empty: want profile and cases")
	case errors.As(err, &typed):
		return errors.New(goTypes.ReplaceAllString(strings.Join(typed.Errors, "; "), ""))
	case err != nil:
		return err
	}
	var more yaml.Node
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return errors.New("more than one YAML document")
	}
	return nil
}

func (doc caseYAML) toCase(profile string, line int) (Case, error) {
	doc.Profile = cmp.Or(doc.Profile, profile)
	doc.Caller.ID = cmp.Or(doc.Caller.ID, "cli:policy-test")
	doc.Caller.Transport = cmp.Or(doc.Caller.Transport, "cli")
	c := Case{
		Name: doc.Name, Line: line, Profile: doc.Profile, Time: cmp.Or(doc.Time, defaultTime),
		Caller: policy.CallerInput{ID: doc.Caller.ID, Transport: doc.Caller.Transport, UID: doc.Caller.UID, Tenant: doc.Caller.Tenant},
		Session: policy.SessionInput{
			ID: doc.Session.ID, Seq: doc.Session.Seq, Counts: doc.Session.Counts,
			Labels: doc.Session.Labels, Grants: doc.Session.Grants, Profile: doc.Profile,
		},
		Call: Call{Tool: doc.Call.Tool, Cwd: doc.Call.Cwd, Env: doc.Call.Env},
		Want: Want{
			Outcome: policy.Outcome(doc.Want.Outcome), Rules: doc.Want.Rules, Warnings: doc.Want.Warnings,
			Shadow: doc.Want.Shadow, Labels: doc.Want.Labels, Obligations: doc.Want.Obligations,
			Bounds: doc.Want.Bounds, Transform: doc.Want.Transform,
		},
		Environment: doc.Environment,
	}
	if err := c.grant(doc.Session.Granted); err != nil {
		return c, err
	}
	for _, r := range doc.Session.Recent {
		c.Session.Recent = append(c.Session.Recent, policy.RecentCall(r))
	}
	return c, c.complete(doc.Call.Args)
}

// grant puts whole grants into the session, with their ids.
func (c *Case) grant(granted []map[string]any) error {
	for _, written := range granted {
		raw, err := json.Marshal(written)
		if err != nil {
			return fmt.Errorf("%q: session.granted: %w", c.Name, err)
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		var g policy.GrantInput
		if err := dec.Decode(&g); err != nil {
			return fmt.Errorf("%q: session.granted: %w", c.Name, err)
		}
		c.Session.Granted = append(c.Session.Granted, g)
		if !slices.Contains(c.Session.Grants, g.ID) {
			c.Session.Grants = append(c.Session.Grants, g.ID)
		}
	}
	return nil
}

// complete checks what a case must have.
func (c *Case) complete(args map[string]any) error {
	switch {
	case c.Name == "":
		return errors.New("no name")
	case c.Profile == "":
		return fmt.Errorf("%q: no profile, neither of the file nor of the case", c.Name)
	case c.Call.Tool == "":
		return fmt.Errorf("%q: no call.tool", c.Name)
	case !slices.Contains([]policy.Outcome{policy.Allow, policy.Ask, policy.Deny}, c.Want.Outcome):
		return fmt.Errorf("%q: want.outcome is %q, want allow, ask or deny", c.Name, c.Want.Outcome)
	}
	if args == nil {
		args = map[string]any{}
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("%q: call.args: %w", c.Name, err)
	}
	c.Call.Args = raw
	return nil
}
