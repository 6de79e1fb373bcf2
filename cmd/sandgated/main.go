// Command sandgated is the sandgate daemon: it decides proposed tool calls and
// runs the allowed ones in sandboxes. It reads flags and configuration and hands
// them to internal/daemon; it must hold no logic of its own.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/config"
	"github.com/sandgate/sandgate/internal/daemon"
	"github.com/sandgate/sandgate/internal/logging"
	"github.com/sandgate/sandgate/internal/version"
	"github.com/sandgate/sandgate/sandbox/gowatch"
)

func main() {
	tuneCollector()
	restCollector()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, daemon.OpenContainerd))
}

// run is main with its surroundings as arguments. It returns the exit code.
func run(args []string, stdout, stderr io.Writer, open daemon.OpenSandbox) int {
	cmd := newCommand(stderr, open)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	if err := cmd.Execute(); err != nil {
		_, _ = fmt.Fprintf(stderr, "sandgated: %v\n", err) // there is nowhere else to say it
		return 1
	}
	return 0
}

type flags struct {
	config.Overrides
	file  string
	check bool
}

func newCommand(stderr io.Writer, open daemon.OpenSandbox) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "sandgated",
		Short: "Decide tool calls against policy and run the allowed ones in sandboxes",
		Long: `sandgated is the sandgate daemon. Hosts send it proposed tool calls over gRPC; it
decides them against Rego policies and runs the allowed ones in containerd cells.

Without a configuration file it serves root and its own user on a unix socket in
its data directory, with the built-in policy. SIGTERM or SIGINT stop it in order,
a second one at once; SIGHUP loads the policy again.`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true, Version: version.Get().String(),
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd, f, stderr, open) },
	}
	cmd.CompletionOptions.DisableDefaultCmd = true
	fl := cmd.Flags()
	fl.StringVar(&f.file, "config", os.Getenv("SANDGATE_CONFIG"), "configuration file, YAML (env SANDGATE_CONFIG)")
	fl.StringVar(&f.DataDir, "data-dir", os.Getenv("SANDGATE_DATA_DIR"), "directory of all that the daemon keeps (env SANDGATE_DATA_DIR; default "+config.DefaultDataDir()+")")
	fl.StringArrayVar(&f.Listen, "listen", listenFromEnv(), "address unix:///path or tcp://host:port; may be repeated (env SANDGATE_LISTEN)")
	fl.StringVar(&f.PolicyDir, "policy-dir", os.Getenv("SANDGATE_POLICY_DIR"), "directory of the policy instead of the built-in one (env SANDGATE_POLICY_DIR)")
	fl.StringVar(&f.BinDir, "bin-dir", os.Getenv("SANDGATE_BIN_DIR"), "directory of containerd, its shim, runc and sandgate-init (env SANDGATE_BIN_DIR)")
	fl.StringVar(&f.LogLevel, "log-level", os.Getenv("SANDGATE_LOG_LEVEL"), "debug, info, warn or error (env SANDGATE_LOG_LEVEL)")
	fl.StringVar(&f.LogFormat, "log-format", os.Getenv("SANDGATE_LOG_FORMAT"), "json or console (env SANDGATE_LOG_FORMAT)")
	fl.BoolVar(&f.check, "check-config", false, "say whether the daemon could start with this configuration, and end")
	return cmd
}

func listenFromEnv() []string {
	if v := os.Getenv("SANDGATE_LISTEN"); v != "" {
		return []string{v}
	}
	return nil
}

func serve(cmd *cobra.Command, f flags, stderr io.Writer, open daemon.OpenSandbox) error {
	cfg, err := config.Load(f.file, f.Overrides)
	if err != nil {
		return err
	}
	if f.check {
		if err := cfg.Preflight(); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "the configuration is good: data in %s, socket %s\n", cfg.DataDir, cfg.SocketPath())
		return err
	}
	logger, err := logging.New(logging.Options{Level: cfg.Log.Level, Format: cfg.Log.Format, Output: stderr})
	if err != nil {
		return err
	}
	defer logging.Redirect(logger)()
	if err := gowatch.Calm(os.Getpid(), gowatch.Slack); err != nil {
		logger.Info("calls cost more processor time than they need to", zap.Error(err))
	}
	d, err := daemon.New(cfg, daemon.Options{Logger: logger, OpenSandbox: open})
	if err != nil {
		return err
	}
	logger.Info("starting", zap.String(logging.KeyVersion, version.Get().String()), zap.String(logging.KeyPath, cfg.DataDir))
	ctx, stop := watchSignals(cmd.Context(), logger, d.Reload)
	defer stop()
	if err := d.Run(ctx); err != nil {
		return err
	}
	logger.Info("stopped")
	return nil
}
