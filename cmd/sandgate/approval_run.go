package main

import (
	"fmt"
	"strings"
	"time"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// run shows how the call runs once it is approved: what it can reach, and its limits.
// An approval of a daemon that did not tell has only what policy demands.
func (t *approvalText) run(a *sandgatev1.Approval) {
	how := a.GetRun()
	cage, told := how.GetCage(), how.GetCage() != nil
	if !told {
		cage = a.GetDecision().GetObligations().GetSandbox()
	}
	t.line("files", t.workspaceAccess(cage.GetWorkspace(), told))
	for _, m := range cage.GetMounts() {
		t.line("", visible(m.GetPath())+" in it is "+mountText(m))
	}
	switch {
	case cage.GetNetwork() == "none" || cage.GetNetwork() == "" && told:
		t.line("network", "none")
	case cage.GetNetwork() != "":
		t.line("network", t.p.yellow(visible(cage.GetNetwork())))
	}
	t.line("cell", joined(prefixed("isolation ", visible(cage.GetIsolation())), prefixed("image ", visible(how.GetImage())), reuseText(cage.GetReuse())))
	t.line("limits", limitsText(cage))
	switch {
	case how.GetTerminal():
		t.line("terminal", t.p.yellow("yes: ")+"whoever is at it can type anything while it runs")
	case told:
		t.line("terminal", "none")
	}
	if how.GetDetached() {
		t.line("background", "it goes on without its host")
	}
}

// workspaceAccess says what the call can do with its workspace.
func (t *approvalText) workspaceAccess(access string, told bool) string {
	switch {
	case access == "ro":
		return t.p.yellow("the workspace is read-only: ") + "approved or not, the call cannot change anything in it"
	case access == "transaction":
		return "it can change the workspace; policy looks at the changes before they count"
	case access == "rw", access == "" && told:
		return "it can read and change the workspace"
	case access == "":
		return ""
	}
	return "the workspace: " + visible(access)
}

func mountText(m *sandgatev1.Mount) string {
	text := map[string]string{"hidden": "hidden", "ro": "read-only", "rw": "writable"}[m.GetMode()]
	if text == "" {
		text = visible(m.GetMode())
	}
	return text
}

func reuseText(reuse string) string {
	switch reuse {
	case "never":
		return "nobody else has used it"
	case "session":
		return "other calls of the session may have used it"
	case "caller":
		return "other calls of the caller may have used it"
	}
	return ""
}

// limitsText are the limits that are set, the deadline first.
func limitsText(c *sandgatev1.SandboxObligations) string {
	var out []string
	add := func(n int64, text string) {
		if n > 0 {
			out = append(out, text)
		}
	}
	add(c.GetWallTimeMillis(), (time.Duration(c.GetWallTimeMillis())*time.Millisecond).String()+" to run")
	processors := " processors"
	if c.GetCpuMillis() == 1000 {
		processors = " processor"
	}
	add(c.GetCpuMillis(), fmt.Sprintf("%g", float64(c.GetCpuMillis())/1000)+processors)
	add(c.GetMemoryBytes(), sizeText(c.GetMemoryBytes())+" of memory")
	add(c.GetPids(), fmt.Sprintf("%d processes", c.GetPids()))
	add(c.GetOutputTotalBytes(), sizeText(c.GetOutputTotalBytes())+" of output")
	add(c.GetDiskBytes(), sizeText(c.GetDiskBytes())+" of temporary files")
	add(c.GetFileBytes(), "files of "+sizeText(c.GetFileBytes()))
	add(c.GetOpenFiles(), fmt.Sprintf("%d open files", c.GetOpenFiles()))
	return strings.Join(out, ", ")
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// joined are the texts that are not empty.
func joined(texts ...string) string {
	var out []string
	for _, text := range texts {
		if text != "" {
			out = append(out, text)
		}
	}
	return strings.Join(out, ", ")
}
