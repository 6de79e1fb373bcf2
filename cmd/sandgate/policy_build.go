package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sandgate/sandgate/internal/policy/bundle"
)

func newPolicyBuildCommand() *cobra.Command {
	var o bundle.BuildOptions
	var out string
	cmd := &cobra.Command{
		Use:   "build DIR",
		Short: "Make a bundle of a policy",
		Long: `Makes a bundle (.tar.gz) of the policy in a directory, as OPA and the daemon load
it. Tests are left out. The same files make the same bytes. A policy that the
daemon would refuse makes no bundle.

  sandgate policy build . -o bundle.tar.gz --revision "git:$(git rev-parse --short HEAD)"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := bundle.Build(cmd.Context(), args[0], o)
			if err != nil {
				return err
			}
			if err := writeBundle(out, raw); err != nil {
				return err
			}
			return tellBundle(cmd, out, raw)
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&out, "output", "o", "bundle.tar.gz", "file that the bundle is written to")
	fl.StringVar(&o.Revision, "revision", "", "what the bundle calls itself, such as git:abc (default: what .manifest says)")
	fl.IntVar(&o.Optimize, "optimize", 0, "1 evaluates beforehand what does not depend on a call")
	fl.StringArrayVar(&o.Ignore, "ignore", nil, "pattern of files or folders that are left out; may be repeated")
	return cmd
}

func tellBundle(cmd *cobra.Command, name string, raw []byte) error {
	m, err := bundle.Describe(raw)
	if err != nil {
		return err
	}
	signed := "unsigned"
	if m.Signed {
		signed = "signed"
	}
	revision := m.Revision
	if revision == "" {
		revision = "none"
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d bytes, %d modules, revision %s, %s\n", name, len(raw), m.Modules, revision, signed)
	return err
}

// writeBundle writes a bundle so that whoever watches it sees the old or the new.
func writeBundle(name string, raw []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".bundle-*")
	if err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Chmod(0o644) // bundles are published
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the bundle: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// readBundle reads a bundle, no more than a bundle may have.
func readBundle(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > bundle.MaxBytes {
		return nil, fmt.Errorf("bundle %s: want a file of at most %d MiB, as `sandgate policy build` makes it", name, bundle.MaxBytes>>20)
	}
	return os.ReadFile(name) //nolint:gosec // the user names his own file
}
