package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandgate/sandgate/internal/policy"
)

// evalFlags say which input is decided by which policy.
type evalFlags struct {
	call  callFlags
	input string
	dir   string
}

func (f *evalFlags) register(cmd *cobra.Command) {
	f.call.register(cmd)
	registerPolicyDir(cmd, &f.dir)
	cmd.Flags().StringVarP(&f.input, "input", "i", "", "file with a whole policy input, - for stdin (as `sandgate policy facts` prints it)")
	for _, name := range []string{"command", "tool", "args", "cwd", "env", "profile", "label"} {
		cmd.MarkFlagsMutuallyExclusive("input", name)
	}
}

// document is the input as JSON: the given one, or that of the described call.
func (f *evalFlags) document(cmd *cobra.Command, engine *policy.Engine) ([]byte, error) {
	switch f.input {
	case "":
		in, err := f.call.input()
		if err != nil {
			return nil, err
		}
		return json.Marshal(engine.Complete(in))
	case "-":
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(f.input)
}

func newPolicyEvalCommand() *cobra.Command {
	var flags evalFlags
	cmd := &cobra.Command{
		Use:   "eval",
		Short: "Print the decision about a call as JSON",
		Long: `Decide a call and print the decision as JSON, exactly as the daemon would
validate it. Nothing is run.`,
		Example: `  sandgate policy eval -c 'git status; rm -rf .'
  sandgate policy eval --profile workspace --tool write_file --args '{"path": "a.txt", "content": "x"}'
  sandgate policy facts -c 'ls' | jq '.session.labels = ["saw:untrusted"]' | sandgate policy eval -i -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			engine, err := newPolicyEngine(cmd, flags.dir)
			if err != nil {
				return err
			}
			document, err := flags.document(cmd, engine)
			if err != nil {
				return err
			}
			decision, err := engine.EvalRaw(cmd.Context(), document)
			if err != nil {
				return err
			}
			return writeIndented(cmd.OutOrStdout(), decision)
		},
	}
	flags.register(cmd)
	return cmd
}

func newPolicyExplainCommand() *cobra.Command {
	var (
		flags         evalFlags
		asJSON, trace bool
	)
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Tell which rules decide a call, and where they are written",
		Example: `  sandgate policy explain -c 'git status; rm -rf .'
  sandgate policy explain --profile workspace -c 'curl http://example.com' --trace`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			engine, err := newPolicyEngine(cmd, flags.dir)
			if err != nil {
				return err
			}
			document, err := flags.document(cmd, engine)
			if err != nil {
				return err
			}
			explanation, err := engine.Explain(cmd.Context(), document, trace)
			if err != nil {
				return err
			}
			if asJSON {
				return writeIndented(cmd.OutOrStdout(), explanation)
			}
			_, err = io.WriteString(cmd.OutOrStdout(), explanationText(explanation, document))
			return err
		},
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the explanation as JSON")
	cmd.Flags().BoolVar(&trace, "trace", false, "add OPA's trace of the whole evaluation")
	return cmd
}

func explanationText(e policy.Explanation, document []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s by the profile %q, policy %s\n", e.Decision.Outcome, e.Decision.Profile, e.Decision.Revision)
	commands := commandTexts(document)
	for _, r := range e.Rules {
		fmt.Fprintf(&b, "\n%s %s: %s\n", r.Effect, r.Rule, r.Message)
		if r.Command != nil && *r.Command < len(commands) {
			fmt.Fprintf(&b, "  command:  %s\n", commands[*r.Command])
		}
		if r.Remediation != "" {
			fmt.Fprintf(&b, "  instead:  %s\n", r.Remediation)
		}
		for _, s := range r.Sources {
			fmt.Fprintf(&b, "  written:  %s:%d", s.File, s.Line)
			if s.Description != "" {
				fmt.Fprintf(&b, " (%s)", strings.Join(strings.Fields(s.Description), " "))
			}
			b.WriteByte('\n')
		}
	}
	if obligations, err := json.Marshal(e.Decision.Obligations); err == nil && string(obligations) != "{}" {
		fmt.Fprintf(&b, "\nobligations: %s\n", obligations)
	}
	if e.Trace != "" {
		fmt.Fprintf(&b, "\n%s", e.Trace)
	}
	return b.String()
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

func newPolicyFactsCommand() *cobra.Command {
	var (
		flags callFlags
		only  bool
	)
	cmd := &cobra.Command{
		Use:   "facts",
		Short: "Print the input that a policy sees of a call",
		Long: `Print the policy input of a call: what was sent, and the facts that sandgate
derives from it, such as every command of a script and where its paths lead.
Nothing is run.`,
		Example: `  sandgate policy facts -c 'cat a.txt | grep x > out'
  sandgate policy facts --tool read_file --args '{"path": "link/passwd"}' --workspace ~/src/project`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, err := flags.input()
			if err != nil {
				return err
			}
			if only {
				if in.Call.Shell == nil {
					return errors.New("the tool " + in.Tool.Name + " takes no script, so there are no shell facts")
				}
				return writeIndented(cmd.OutOrStdout(), in.Call.Shell)
			}
			engine, err := newPolicyEngine(cmd, "")
			if err != nil {
				return err
			}
			return writeIndented(cmd.OutOrStdout(), engine.Complete(in))
		},
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&only, "shell", false, "print only call.shell, the parsed script")
	return cmd
}
