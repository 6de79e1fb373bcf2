package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/policy/bundle"
	"github.com/sandgate/sandgate/internal/proposal"
	"github.com/sandgate/sandgate/internal/version"
)

// newPolicyCommand is `sandgate policy`: the tools of policy authors. They work
// offline, from any directory, and never ask a daemon.
func newPolicyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Write, try and test policies, without a daemon",
		Long: `The tools of policy authors. They need no daemon and run nothing: a call that
is evaluated here is only decided.

Without --policy the default library that is built into sandgate is used.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newPolicyEvalCommand(), newPolicyExplainCommand(), newPolicyFactsCommand(), newPolicyTestCommand(),
		newPolicyLintCommand(), newPolicyMutateCommand(), newPolicyReplayCommand(), newPolicyDiffCommand(),
		newPolicyInitCommand(), newPolicyBenchCommand(),
		newPolicyBuildCommand(), newPolicySignCommand(), newPolicyVerifyCommand(), newPolicyPushCommand(),
	)
	for _, tool := range cmd.Commands() {
		withExitCodes(tool)
	}
	return cmd
}

// callFlags are the flags that describe a call to be decided.
type callFlags struct {
	command   string
	tool      string
	args      string
	cwd       string
	env       []string
	workspace string
	toolsDir  string
	profile   string
	labels    []string
}

func (f *callFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVarP(&f.command, "command", "c", "", "bash script of the call: short for --tool bash --args '{\"command\": …}'")
	fl.StringVar(&f.tool, "tool", "", "tool of the call")
	fl.StringVar(&f.args, "args", "", "arguments of the call, a JSON object (default {})")
	fl.StringVar(&f.cwd, "cwd", "", "working directory of the call in the cell (default /workspace)")
	fl.StringArrayVar(&f.env, "env", nil, "variable of the call, NAME=VALUE; may be repeated")
	fl.StringVar(&f.workspace, "workspace", ".", "directory that stands for /workspace; it is only looked into")
	fl.StringVar(&f.toolsDir, "tools", "", "directory with the declarations of your own tools")
	fl.StringVar(&f.profile, "profile", "readonly", "profile of the session")
	fl.StringArrayVar(&f.labels, "label", nil, "label that the session has; may be repeated")
	cmd.MarkFlagsMutuallyExclusive("command", "tool")
	cmd.MarkFlagsMutuallyExclusive("command", "args")
}

// input builds the document that the policy sees of the call, as the gate does.
func (f *callFlags) input() (in policy.Input, err error) {
	name, args, err := f.call()
	if err != nil {
		return in, err
	}
	tools, err := catalog.New(catalog.Options{Dir: f.toolsDir})
	if err != nil {
		return in, err
	}
	tool, err := tools.Lookup(name)
	if err != nil {
		return in, err
	}
	if err := tool.Validate(args); err != nil {
		return in, err
	}
	env, err := parseVariables(f.env)
	if err != nil {
		return in, err
	}
	root, err := facts.OpenOSRoot(f.workspace)
	if err != nil {
		return in, fmt.Errorf("--workspace: %w", err)
	}
	defer func() {
		if cerr := root.Close(); err == nil {
			err = cerr
		}
	}()
	in = policy.Input{
		Caller:  policy.CallerInput{ID: fmt.Sprintf("cli:uid:%d", os.Getuid()), Transport: "cli"},
		Session: policy.SessionInput{Profile: f.profile, Labels: f.labels},
	}
	in.Call, in.Tool, err = proposal.Build(tool, proposal.Call{
		ID: "policy-tools", Args: args, Cwd: f.cwd, Env: env, StdinBytes: new(int64),
	}, root)
	return in, err
}

func (f *callFlags) call() (tool string, args json.RawMessage, err error) {
	switch {
	case f.command != "":
		args, err = json.Marshal(map[string]string{"command": f.command})
		return "bash", args, err
	case f.tool == "":
		return "", nil, fmt.Errorf("no call is given: use -c 'SCRIPT', or --tool NAME with --args '{…}'")
	case f.args == "":
		return f.tool, json.RawMessage("{}"), nil
	}
	return f.tool, json.RawMessage(f.args), nil
}

func parseVariables(list []string) (map[string]string, error) {
	env := map[string]string{}
	for _, item := range list {
		name, value, found := strings.Cut(item, "=")
		if !found || name == "" {
			return nil, fmt.Errorf("--env %q: want NAME=VALUE", item)
		}
		env[name] = value
	}
	return env, nil
}

// newPolicyEngine loads the policy of dir, or the default library for ""; a file is
// a bundle, of which no signature is asked.
func newPolicyEngine(cmd *cobra.Command, dir string) (*policy.Engine, error) {
	info, err := os.Stat(dir)
	isBundle := dir != "" && err == nil && info.Mode().IsRegular()
	engine, err := policy.New(cmd.Context(), policy.Config{
		Dir: dir, NoPolicy: isBundle, Isolations: []string{"runc", "gvisor"}, Version: version.Get().Version,
	})
	if err != nil {
		return nil, err
	}
	if isBundle {
		raw, err := os.ReadFile(dir) // #nosec G304 -- the author names the bundle
		if err != nil {
			return nil, err
		}
		p, err := bundle.Read(dir, raw, nil)
		if err != nil {
			return nil, err
		}
		if err := engine.Activate(cmd.Context(), p); err != nil {
			return nil, fmt.Errorf("%w\nthe daemon would refuse this policy too", err)
		}
	}
	if err := engine.Ready(); err != nil {
		return nil, fmt.Errorf("%w\nthe daemon would refuse this policy too", err)
	}
	return engine, nil
}

func registerPolicyDir(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "policy", "", "directory or bundle file of the policy (default: the library that is built in)")
}

func writeIndented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
