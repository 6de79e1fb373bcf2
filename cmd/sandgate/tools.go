package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

func newToolsCommand(c *client) *cobra.Command {
	var asJSON bool
	var profile string
	cmd := &cobra.Command{
		Use:   "tools [NAME]",
		Short: "List the tools that policy lets you use, or describe one",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := c.dial()
			if err != nil {
				return err
			}
			defer conn.Close() //nolint:errcheck // nothing is lost with it
			resp, err := sandgatev1.NewToolServiceClient(conn).ListTools(cmd.Context(), &sandgatev1.ListToolsRequest{Profile: profile})
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return printTool(cmd.OutOrStdout(), resp.GetTools(), args[0], asJSON)
			}
			return printTools(cmd.OutOrStdout(), resp.GetTools(), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, schemas included")
	cmd.Flags().StringVarP(&profile, "profile", "p", "", "policy profile, one of those the daemon gave you")
	return cmd
}

func printTools(w io.Writer, tools []*sandgatev1.Tool, asJSON bool) error {
	if asJSON {
		list := make([]any, len(tools))
		for i, t := range tools {
			list[i] = plainJSON(t)
		}
		return writeIndented(w, map[string]any{"tools": list})
	}
	if len(tools) == 0 {
		_, err := fmt.Fprintln(w, "policy lets you use no tool under this profile")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, t := range tools {
		if _, err := fmt.Fprintf(table, "%s\t%s\n", t.GetName(), firstSentence(t.GetDescription())); err != nil {
			return err
		}
	}
	return table.Flush()
}

func printTool(w io.Writer, tools []*sandgatev1.Tool, name string, asJSON bool) error {
	i := slices.IndexFunc(tools, func(t *sandgatev1.Tool) bool { return t.GetName() == name })
	if i < 0 {
		return fmt.Errorf("no tool %q that you may use: `sandgate tools` lists them", name)
	}
	t := tools[i]
	if asJSON {
		return writeIndented(w, plainJSON(t))
	}
	if _, err := fmt.Fprintf(w, "%s (%s, effects: %s, risk: %s)\n\n%s\n\narguments:\n", newPalette(w).bold(t.GetName()), t.GetSource(),
		strings.Join(t.GetEffects(), ", "), t.GetRisk(), strings.TrimSpace(t.GetDescription())); err != nil {
		return err
	}
	schema := t.GetInputSchema().AsMap()
	properties, _ := schema["properties"].(map[string]any)
	required, _ := schema["required"].([]any)
	for _, arg := range slices.Sorted(maps.Keys(properties)) {
		p, _ := properties[arg].(map[string]any)
		mark := ""
		if slices.Contains(required, any(arg)) {
			mark = ", required"
		}
		if _, err := fmt.Fprintf(w, "  %s (%v%s)\n      %v\n", arg, p["type"], mark, p["description"]); err != nil {
			return err
		}
	}
	return nil
}

// firstSentence is the beginning of a description, on one line.
func firstSentence(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	if i := strings.Index(s, ". "); i >= 0 {
		s = s[:i+1]
	}
	return s
}
