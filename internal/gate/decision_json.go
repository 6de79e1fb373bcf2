package gate

import "github.com/sandgate/sandgate/internal/policy"

// decisionMembers writes a decision, see record_json.go.
type decisionMembers struct{ *policy.Decision }

func (d decisionMembers) members(m *members) {
	m.someText(`"decision_id":`, d.ID)
	m.text(`"outcome":`, string(d.Outcome))
	m.reasons(`"reasons":`, d.Reasons)
	m.reasons(`"warnings":`, d.Warnings)
	if len(d.Shadow) > 0 {
		m.value(`"shadow":`, d.Shadow)
	}
	if d.Ask != nil {
		m.value(`"ask":`, d.Ask)
	}
	m.object(`"obligations":`, obligationMembers{&d.Obligations}.members)
	m.someObject(`"bounds":`, cageMembers{&d.Bounds}.members)
	if d.Transform != nil {
		m.value(`"transform":`, d.Transform)
	}
	m.someTexts(`"labels":`, d.Labels)
	m.someTexts(`"grants":`, d.Grants)
	m.someText(`"profile":`, d.Profile)
	m.someText(`"revision":`, d.Revision)
}

// reasons writes a list of reasons if it is not empty.
func (m *members) reasons(name string, list []policy.Reason) {
	if len(list) == 0 {
		return
	}
	m.name(name)
	m.b = append(m.b, '[')
	for i := range list {
		m.next()
		m.body(reasonMembers{&list[i]}.members)
	}
	m.b = append(m.b, ']')
}

type reasonMembers struct{ *policy.Reason }

func (r reasonMembers) members(m *members) {
	m.text(`"rule":`, r.Rule)
	m.text(`"message":`, r.Message)
	m.someText(`"remediation":`, r.Remediation)
	m.someText(`"severity":`, r.Severity)
	m.someInt(`"command":`, r.Command)
}

type obligationMembers struct{ *policy.Obligations }

func (o obligationMembers) members(m *members) {
	m.someObject(`"sandbox":`, cageMembers{&o.Sandbox}.members)
	if o.Exec.EnvSet != nil || o.Exec.EnvDrop != nil {
		m.value(`"exec":`, o.Exec)
	}
	if o.Output.Redact != nil || o.Output.Patterns != nil || o.Output.Labels != nil {
		m.value(`"output":`, o.Output)
	}
	if o.Audit.Level != "" {
		m.value(`"audit":`, o.Audit)
	}
}

type cageMembers struct{ *policy.SandboxObligations }

func (c cageMembers) members(m *members) {
	m.someText(`"isolation":`, c.Isolation)
	m.someText(`"reuse":`, c.Reuse)
	m.someText(`"network":`, c.Network)
	m.someText(`"workspace":`, c.Workspace)
	m.someNumber(`"cpu_millis":`, c.CPUMillis)
	m.someNumber(`"memory_bytes":`, c.MemoryBytes)
	m.someNumber(`"pids":`, c.Pids)
	m.someNumber(`"wall_time_ms":`, c.WallTimeMs)
	m.someNumber(`"output_bytes":`, c.OutputBytes)
	m.someNumber(`"output_total_bytes":`, c.OutputTotalBytes)
	m.someNumber(`"disk_bytes":`, c.DiskBytes)
	m.someNumber(`"file_bytes":`, c.FileBytes)
	m.someNumber(`"open_files":`, c.OpenFiles)
	if len(c.Mounts) > 0 {
		m.value(`"mounts":`, c.Mounts)
	}
}
