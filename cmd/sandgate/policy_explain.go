package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/policy/nearest"
	"github.com/sandgate/sandgate/internal/proposal"
)

const evalCodesHelp = `

Exit codes: 0 it was printed, whatever was decided; 1 the decision is one that
--fail-on names; 2 the command is wrong or what it needs cannot be read.`

// evaluation is what `eval --explain` and `explain` tell of a call.
type evaluation struct {
	policy.Explanation
	// Nearest is nil for a call that is allowed, and where it was not searched.
	Nearest *nearest.Result `json:"nearest,omitempty"`
	// NotSearched says why there is no Nearest.
	NotSearched string `json:"not_searched,omitempty"`
}

func newPolicyExplainCommand() *cobra.Command {
	var (
		flags          evalFlags
		asJSON, trace  bool
		format, failOn string
		most           int
	)
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Tell which rules decide a call, by which facts, and what would be allowed",
		Long: `Decide a call and tell which rules decided, where they are written, which facts
of the input they read, and the smallest change of the call that would be allowed:
without a command, an argument, a redirect or a variable, or with a path in the
workspace. Each change that is tried is really decided, on facts of its own; the
paths are looked up below --workspace. Nothing is run.` + evalCodesHelp,
		Example: `  sandgate policy explain -c 'git status; rm -rf .'
  sandgate policy explain --profile workspace -c 'curl http://example.com' --trace
  sandgate policy facts -c 'cat /etc/passwd' | sandgate policy explain --format json -i -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				format = "json"
			}
			if err := checkEvalFlags(format, failOn); err != nil {
				return err
			}
			engine, err := newPolicyEngine(cmd, flags.dir)
			if err != nil {
				return err
			}
			document, err := flags.document(cmd, engine)
			if err != nil {
				return err
			}
			flags.most = most
			found, err := explainDocument(cmd, engine, document, &flags, true, trace)
			if err != nil {
				return err
			}
			if err := writeEvaluation(cmd.OutOrStdout(), format, true, &found, document); err != nil {
				return err
			}
			return outcomeVerdict(failOn, found.Decision.Outcome)
		},
	}
	flags.register(cmd)
	registerFailOn(cmd, &failOn)
	cmd.Flags().StringVar(&format, "format", "pretty", "pretty or json")
	cmd.Flags().BoolVar(&asJSON, "json", false, "short for --format json")
	cmd.Flags().BoolVar(&trace, "trace", false, "add OPA's trace of the whole evaluation")
	cmd.Flags().IntVar(&most, "evaluations", nearest.MostEvaluations, "changes of the call that are decided at most; 0 for none")
	return cmd
}

func registerFailOn(cmd *cobra.Command, failOn *string) {
	cmd.Flags().StringVar(failOn, "fail-on", "", "exit with 1 if the decision is: ask (or deny), or deny")
}

func checkEvalFlags(format, failOn string) error {
	if err := checkFormat(format, "pretty", "json"); err != nil {
		return err
	}
	if failOn != "" && failOn != "ask" && failOn != "deny" {
		return fmt.Errorf("--fail-on %q: want ask or deny", failOn)
	}
	return nil
}

func outcomeVerdict(failOn string, outcome policy.Outcome) error {
	if outcome == policy.Deny && failOn != "" || outcome == policy.Ask && failOn == "ask" {
		return findings(fmt.Sprintf("the decision is %s", outcome))
	}
	return nil
}

// explainDocument decides an input; search looks for the nearest allowed call.
func explainDocument(cmd *cobra.Command, engine *policy.Engine, document []byte, flags *evalFlags, search, trace bool) (evaluation, error) {
	explanation, err := engine.Explain(cmd.Context(), document, trace)
	out := evaluation{Explanation: explanation}
	if err != nil || !search || flags.most == 0 || out.Decision.Outcome == policy.Allow {
		return out, err
	}
	result, err := searchNearest(cmd.Context(), engine, document, flags, out.Decision)
	if err != nil {
		out.NotSearched = err.Error()
		return out, nil
	}
	out.Nearest = &result
	return out, nil
}

// searchNearest decides changes of the call with facts derived anew.
func searchNearest(ctx context.Context, engine *policy.Engine, document []byte, flags *evalFlags, before policy.Decision) (_ nearest.Result, err error) {
	var in policy.Input
	if err := json.Unmarshal(document, &in); err != nil {
		return nearest.Result{}, fmt.Errorf("the input is no whole policy input: %w", err)
	}
	tools, err := catalog.New(catalog.Options{Dir: flags.call.toolsDir})
	if err != nil {
		return nearest.Result{}, err
	}
	tool, err := tools.Lookup(in.Call.Tool)
	if err != nil {
		return nearest.Result{}, err
	}
	root, err := facts.OpenOSRoot(flags.call.workspace)
	if err != nil {
		return nearest.Result{}, fmt.Errorf("--workspace: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	opts := nearest.Options{ScriptArg: tool.Facts.ShellArg, Most: flags.most}
	for _, p := range tool.Facts.Paths {
		opts.PathArgs = append(opts.PathArgs, p.Arg)
	}
	decide := func(ctx context.Context, c nearest.Call) (policy.Decision, error) {
		if err := tool.Validate(c.Args); err != nil {
			return policy.Decision{}, err
		}
		changed := in
		changed.Call, changed.Tool, err = proposal.Build(tool, proposal.Call{
			ID: in.Call.ID, Args: c.Args, Cwd: c.Cwd, Env: c.Env, StdinBytes: in.Call.StdinBytes, StdinDigest: in.Call.StdinDigest, Detached: in.Call.Detached,
		}, root)
		if err != nil {
			return policy.Decision{}, err
		}
		return engine.Decide(ctx, changed), nil
	}
	return nearest.Search(ctx, nearest.Call{Args: in.Call.Args, Cwd: in.Call.Cwd, Env: in.Call.Env}, before, decide, opts), nil
}

func writeEvaluation(w io.Writer, format string, explained bool, e *evaluation, document []byte) error {
	switch {
	case format == "json" && explained:
		return writeIndented(w, e)
	case format == "json":
		return writeIndented(w, e.Decision)
	}
	var b strings.Builder
	writeExplanation(&b, e, document, explained)
	_, err := io.WriteString(w, b.String())
	return err
}

func writeExplanation(b *strings.Builder, e *evaluation, document []byte, whole bool) {
	fmt.Fprintf(b, "%s by the profile %q, policy %s\n", e.Decision.Outcome, e.Decision.Profile, e.Decision.Revision)
	commands := commandTexts(document)
	for _, r := range e.Rules {
		fmt.Fprintf(b, "\n%s %s: %s\n", r.Effect, r.Rule, r.Message)
		if r.Command != nil && *r.Command < len(commands) {
			fmt.Fprintf(b, "  command:  %s\n", commands[*r.Command])
		}
		if r.Remediation != "" {
			fmt.Fprintf(b, "  instead:  %s\n", r.Remediation)
		}
		if whole {
			writeSources(b, r)
		}
	}
	if obligations, err := json.Marshal(e.Decision.Obligations); err == nil && string(obligations) != "{}" && e.Decision.Outcome != policy.Deny {
		fmt.Fprintf(b, "\nobligations: %s\n", obligations)
	}
	if whole {
		writeNearest(b, e)
	}
	if e.Trace != "" {
		fmt.Fprintf(b, "\n%s", e.Trace)
	}
}

// maxShownLines bounds what is shown of the text of a rule.
const maxShownLines = 24

func writeSources(b *strings.Builder, r policy.RuleFired) {
	for _, s := range r.Sources {
		fmt.Fprintf(b, "  written:  %s:%d", s.File, s.Line)
		if s.Description != "" {
			fmt.Fprintf(b, " (%s)", strings.Join(strings.Fields(s.Description), " "))
		}
		b.WriteByte('\n')
		if s.Text == "" {
			continue
		}
		lines := strings.Split(s.Text, "\n")
		for i, line := range lines[:min(len(lines), maxShownLines)] {
			fmt.Fprintf(b, "    %4d  %s\n", s.Line+i, strings.ReplaceAll(line, "\t", "    "))
		}
		if len(lines) > maxShownLines {
			fmt.Fprintf(b, "          … %d lines more\n", len(lines)-maxShownLines)
		}
	}
	for i, f := range r.Facts {
		label := "facts:   "
		if i > 0 {
			label = "         "
		}
		value, err := json.Marshal(f.Value)
		if err != nil { // facts are plain data
			value = []byte(err.Error())
		}
		fmt.Fprintf(b, "  %s %s = %s\n", label, f.Path, value)
	}
}

func writeNearest(b *strings.Builder, e *evaluation) {
	switch n := e.Nearest; {
	case e.NotSearched != "":
		fmt.Fprintf(b, "\nno smaller call was searched: %s\n", e.NotSearched)
	case n == nil:
	case n.Found:
		fmt.Fprintf(b, "\nallowed would be (%d tried): %s\n", n.Evaluations, strings.Join(n.Changes, ", "))
		if n.Script != "" {
			fmt.Fprintf(b, "  -c '%s'\n", strings.ReplaceAll(n.Script, "'", `'\''`))
		} else {
			fmt.Fprintf(b, "  %s\n", n.Call.Args)
		}
	case n.Exhausted:
		fmt.Fprintf(b, "\nno smaller call was found that is allowed; not all were tried, only %d\n", n.Evaluations)
	default:
		fmt.Fprintf(b, "\nno smaller call is allowed (%d tried)\n", n.Evaluations)
	}
}

// commandTexts are the commands of the script as far as they are known, by index.
func commandTexts(document []byte) []string {
	var in struct {
		Call struct {
			Shell struct {
				Commands []struct {
					Name string `json:"name"`
					Args []struct {
						Value *string `json:"value"`
					} `json:"args"`
				} `json:"commands"`
			} `json:"shell"`
		} `json:"call"`
	}
	if err := json.Unmarshal(document, &in); err != nil {
		return nil
	}
	texts := make([]string, 0, len(in.Call.Shell.Commands))
	for _, c := range in.Call.Shell.Commands {
		words := []string{c.Name}
		if c.Name == "" {
			words[0] = "…"
		}
		for _, a := range c.Args {
			if a.Value == nil {
				words = append(words, "…")
				continue
			}
			words = append(words, *a.Value)
		}
		texts = append(texts, fmt.Sprintf("%.200q", strings.Join(words, " ")))
	}
	return texts
}
