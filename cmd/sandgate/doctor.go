package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

func newDoctorCommand(c *client) *cobra.Command {
	var asJSON bool
	var binDir string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show what this machine can enforce, what not, and how to mend it",
		Long: `Asks the daemon what it can enforce on its machine, which it found out by trying,
and whether it is ready to take calls.

When no daemon answers, doctor looks at this machine itself: whether a daemon
could run here. That is less certain, for nothing is tried.

Exit code 0 means that all is well, 1 that something has to be mended.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rep, err := examine(cmd, c, binDir)
			if err != nil {
				return err
			}
			if asJSON {
				err = writeIndented(cmd.OutOrStdout(), rep)
			} else {
				err = rep.print(cmd.OutOrStdout())
			}
			if err == nil && !rep.Ready {
				return exitCode(1)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&binDir, "bin-dir", "", "without a daemon: where containerd, its shim, runc and sandgate-init are looked for first")
	return cmd
}

// health is what doctor has to say.
type health struct {
	Daemon   string   `json:"daemon"` // "answers", or why not
	Ready    bool     `json:"ready"`
	Reasons  []string `json:"not_ready_reasons,omitempty"`
	Kernel   string   `json:"kernel"`
	Cgroup   int32    `json:"cgroup_version"`
	Runtime  string   `json:"runtime,omitempty"`
	Policy   string   `json:"policy,omitempty"` // revision and source
	Problems []string `json:"policy_errors,omitempty"`
	Load     *load    `json:"load,omitempty"` // absent without a daemon that tells it
	Controls []check  `json:"controls"`
}

// check is one thing that was looked at.
type check struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Required bool   `json:"required"`
	Detail   string `json:"detail,omitempty"`
	Remedy   string `json:"remedy,omitempty"`
}

// examine asks the daemon, or looks at the machine when none answers.
func examine(cmd *cobra.Command, c *client, binDir string) (health, error) {
	conn, err := c.dial()
	if errors.Is(err, errNoDaemon) {
		reason, _, _ := strings.Cut(err.Error(), "\n")
		return examineMachine(reason, binDir), nil
	}
	if err != nil {
		return health{}, err
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	caps, err := sandgatev1.NewSystemServiceClient(conn).GetCapabilities(cmd.Context(), &sandgatev1.GetCapabilitiesRequest{})
	if err != nil {
		return health{}, err
	}
	rep := health{
		Daemon: "answers", Ready: caps.GetReady(), Reasons: caps.GetNotReadyReasons(), Kernel: caps.GetKernel(),
		Cgroup: caps.GetCgroupVersion(), Runtime: caps.GetRuntime(), Problems: caps.GetPolicy().GetErrors(),
		Policy: strings.TrimSpace(caps.GetPolicy().GetRevision() + " from " + caps.GetPolicy().GetSource()),
	}
	// An older daemon does not tell it, which is no fault of the machine.
	if busy, err := sandgatev1.NewSystemServiceClient(conn).GetLoad(cmd.Context(), &sandgatev1.GetLoadRequest{}); err == nil {
		rep.Load = loadOf(busy)
	}
	for _, ctl := range caps.GetControls() {
		rep.Controls = append(rep.Controls, check{ctl.GetName(), ctl.GetBinds(), ctl.GetRequired(), ctl.GetDetail(), ctl.GetRemedy()})
	}
	return rep, nil
}

func (h *health) print(w io.Writer) error {
	p := newPalette(w)
	var b strings.Builder
	fmt.Fprintf(&b, "daemon:  %s\n", h.Daemon)
	state := p.green("ready")
	if !h.Ready {
		state = p.red("not ready")
	}
	fmt.Fprintf(&b, "state:   %s\n", state)
	for _, reason := range h.Reasons {
		fmt.Fprintf(&b, "         %s\n", indented(reason))
	}
	fmt.Fprintf(&b, "kernel:  %s, cgroup v%d\n", h.Kernel, h.Cgroup)
	if h.Runtime != "" {
		fmt.Fprintf(&b, "runtime: %s\n", h.Runtime)
	}
	if h.Policy != "" {
		fmt.Fprintf(&b, "policy:  %s\n", h.Policy)
	}
	if h.Ready { // else it is among the reasons
		for _, problem := range h.Problems {
			fmt.Fprintf(&b, "         the newest one was refused: %s\n", indented(problem))
		}
	}
	if h.Load != nil {
		h.Load.print(&b, p)
	}
	b.WriteString("\n")
	for _, c := range h.Controls {
		mark := p.green("ok  ")
		switch {
		case !c.OK && c.Required:
			mark = p.red("FAIL")
		case !c.OK:
			mark = p.yellow("no  ")
		}
		fmt.Fprintf(&b, "%s  %-24s %s\n", mark, c.Name, c.Detail)
		if !c.OK && c.Remedy != "" {
			fmt.Fprintf(&b, "      %-24s to mend: %s\n", "", c.Remedy)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// indented puts the further lines of a text under its first.
func indented(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\t", "  "), "\n", "\n         ")
}
