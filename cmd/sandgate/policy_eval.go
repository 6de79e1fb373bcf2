package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/policy/nearest"
)

// evalFlags say which input is decided by which policy.
type evalFlags struct {
	call  callFlags
	input string
	dir   string
	most  int // changes that are tried for the nearest allowed call
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
	var (
		flags          evalFlags
		format, failOn string
		explain        bool
	)
	cmd := &cobra.Command{
		Use:   "eval",
		Short: "Decide a call and print the decision",
		Long: `Decide a call and print the decision, exactly as the daemon would validate it.
Nothing is run. With --explain it also tells what ` + "`sandgate policy explain`" + ` does.` + evalCodesHelp,
		Example: `  sandgate policy eval -c 'git status; rm -rf .'
  sandgate policy eval --profile workspace --tool write_file --args '{"path": "a.txt", "content": "x"}'
  sandgate policy eval -c 'cat a.txt' --format pretty --explain --fail-on deny
  sandgate policy facts -c 'ls' | jq '.session.labels = ["saw:untrusted"]' | sandgate policy eval -i -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
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
			flags.most = nearest.MostEvaluations
			found, err := explainDocument(cmd, engine, document, &flags, explain, false)
			if err != nil {
				return err
			}
			if err := writeEvaluation(cmd.OutOrStdout(), format, explain, &found, document); err != nil {
				return err
			}
			return outcomeVerdict(failOn, found.Decision.Outcome)
		},
	}
	cmd.Flags().StringVar(&format, "format", "json", "json or pretty")
	cmd.Flags().BoolVar(&explain, "explain", false, "add the rules with their sources and facts, and the nearest call that is allowed")
	registerFailOn(cmd, &failOn)
	flags.register(cmd)
	return cmd
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
Nothing is run.` + evalCodesHelp,
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
