package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sandgate/sandgate/internal/policy/bundle"
)

func newPolicyPushCommand() *cobra.Command {
	var o bundle.PushOptions
	var file string
	cmd := &cobra.Command{
		Use:   "push REGISTRY/REPOSITORY:TAG",
		Short: "Put a bundle into an OCI registry",
		Long: `Puts a bundle into an OCI registry, from which a daemon takes it:

  policy:
    services: {registry: {url: https://registry.example, type: oci}}
    bundles: {main: {service: registry, resource: "registry.example/team/policy:prod"}}

Credentials are those of docker login. What is printed names the bundle by its
digest.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := readBundle(file)
			if err != nil {
				return err
			}
			ref, err := bundle.Push(cmd.Context(), args[0], raw, o)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), ref)
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "bundle.tar.gz", "the bundle")
	cmd.Flags().BoolVar(&o.PlainHTTP, "plain-http", false, "speak to the registry without TLS")
	return cmd
}
