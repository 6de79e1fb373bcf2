package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/policy/bundle"
)

func newPolicySignCommand() *cobra.Command {
	var o bundle.SignOptions
	var key string
	cmd := &cobra.Command{
		Use:   "sign --key FILE BUNDLE|DIR",
		Short: "Sign a bundle or a policy directory",
		Long: `Signs a bundle in its place, or writes .signatures.json into a policy directory,
as OPA does. A daemon with the public key under policy.verification.keys then
takes nothing else. A key pair is made by

  openssl ecparam -name prime256v1 -genkey -noout -out key.pem
  openssl ec -in key.pem -pubout -out key.pub

and kept: key.pem secret, key.pub beside the daemon.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := os.ReadFile(key) //nolint:gosec // the user names his own file
			if err != nil {
				return fmt.Errorf("--key: %w", err)
			}
			o.Key = string(text)
			if info, err := os.Stat(args[0]); err == nil && info.IsDir() {
				if err := bundle.SignDir(args[0], o); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: signed; sign again after each change\n", args[0])
				return err
			}
			raw, err := readBundle(args[0])
			if err != nil {
				return err
			}
			if raw, err = bundle.Sign(raw, o); err != nil {
				return err
			}
			if err := writeBundle(args[0], raw); err != nil {
				return err
			}
			return tellBundle(cmd, args[0], raw)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&key, "key", "", "file with the private key in PEM, or with the shared secret of HS256")
	fl.StringVar(&o.Algorithm, "alg", "", "ES256, RS256, PS256, HS256 or their kin (default: that of the key)")
	fl.StringVar(&o.KeyID, "key-id", "default", "id under which the daemon has the public key")
	fl.StringVar(&o.Scope, "scope", "", "scope that the daemon demands")
	_ = cmd.MarkFlagRequired("key") // the flag is there
	return cmd
}

func newPolicyVerifyCommand() *cobra.Command {
	var key, id, scope, alg string
	cmd := &cobra.Command{
		Use:   "verify --key FILE BUNDLE|DIR",
		Short: "See whether a bundle or a directory is signed as a daemon demands it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := os.ReadFile(key) //nolint:gosec // the user names his own file
			if err != nil {
				return fmt.Errorf("--key: %w", err)
			}
			keys := &bundle.Verification{Keys: map[string]bundle.Key{id: {PEM: string(text), Algorithm: alg}}, Scope: scope}
			if err := keys.Check(); err != nil {
				return err
			}
			if err := verifySigned(args[0], keys); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: the signature is good\n", args[0])
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&key, "key", "", "file with the public key in PEM, or with the shared secret of HS256")
	fl.StringVar(&alg, "alg", "", "algorithm (default: that of the key)")
	fl.StringVar(&id, "key-id", "default", "id that the signature names")
	fl.StringVar(&scope, "scope", "", "scope that the signature must have")
	_ = cmd.MarkFlagRequired("key") // the flag is there
	return cmd
}

func verifySigned(name string, keys *bundle.Verification) error {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		p, err := policy.ReadDir(name)
		if err != nil {
			return err
		}
		return bundle.VerifyDir(p, keys)
	}
	raw, err := readBundle(name)
	if err != nil {
		return err
	}
	_, err = bundle.Read(name, raw, keys)
	return err
}
