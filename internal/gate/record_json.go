package gate

import (
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/seen"
	"github.com/sandgate/sandgate/sandbox"
)

// The records of a call are encoded by hand. They are what encoding/json makes of them
// to the byte: TestRecordsAsEncodingJSON sets each field by itself, also one that is
// added later, and compares.

var (
	_ journal.Appender = (*callData)(nil)
	_ journal.Appender = (*outcomeData)(nil)
)

// AppendJSON implements journal.Appender.
func (d *callData) AppendJSON(b []byte) ([]byte, error) {
	m := members{b: b}
	m.body(d.members)
	return m.b, m.err
}

func (d *callData) members(m *members) {
	m.someText(`"outcome":`, string(d.Outcome))
	m.text(`"digest":`, d.Digest)
	m.text(`"tool":`, d.Tool)
	if len(d.Args) > 0 {
		m.raw(`"args":`, d.Args)
	}
	if len(d.ArgsShape) > 0 {
		m.value(`"args_shape":`, d.ArgsShape)
	}
	m.text(`"cwd":`, d.Cwd)
	if len(d.Env) > 0 {
		m.raw(`"env":`, d.Env)
	}
	m.someTexts(`"env_names":`, d.EnvNames)
	m.someText(`"stdin_digest":`, d.StdinDigest)
	if d.StdinBytes != nil {
		m.number(`"stdin_bytes":`, *d.StdinBytes)
	}
	m.someText(`"workspace_dir":`, d.WorkspaceDir)
	m.text(`"profile":`, d.Profile)
	m.someFlag(`"detached":`, d.Detached)
	m.someFlag(`"terminal":`, d.Terminal)
	if d.Agent != nil {
		m.value(`"agent":`, d.Agent)
	}
	if d.Peer != nil {
		m.object(`"peer":`, peerMembers{d.Peer}.members)
	}
	m.object(`"decision":`, decisionMembers{&d.Decision}.members)
	if d.Cage != nil {
		m.object(`"cage":`, d.Cage.members)
	}
	if d.Permit != nil {
		m.value(`"permit":`, d.Permit)
	}
	if d.Saw != nil {
		m.object(`"saw":`, sawMembers{d.Saw}.members)
	}
}

func (c *cageData) members(m *members) {
	m.text(`"sandbox_id":`, c.SandboxID)
	m.someText(`"image":`, c.Image)
	m.someText(`"isolation":`, c.Isolation)
	m.text(`"reuse":`, c.Reuse)
	m.someFlag(`"read_only":`, c.ReadOnly)
	m.someText(`"stage":`, c.Stage)
	if len(c.Mounts) > 0 {
		m.value(`"mounts":`, c.Mounts)
	}
	m.number(`"wall_time_ms":`, c.WallTimeMs)
	m.number(`"cpu_millis":`, c.CPUMillis)
	m.number(`"memory_bytes":`, c.MemoryBytes)
	m.number(`"pids":`, c.Pids)
	m.number(`"output_bytes":`, c.OutputBytes)
	m.someNumber(`"output_total_bytes":`, c.OutputTotalBytes)
	m.number(`"disk_bytes":`, c.DiskBytes)
	m.someNumber(`"file_bytes":`, c.FileBytes)
	m.someNumber(`"open_files":`, c.OpenFiles)
}

// AppendJSON implements journal.Appender.
func (d *outcomeData) AppendJSON(b []byte) ([]byte, error) {
	m := members{b: b}
	m.body(d.members)
	return m.b, m.err
}

func (d *outcomeData) members(m *members) {
	m.text(`"outcome":`, string(d.Outcome))
	m.someText(`"tool":`, d.Tool)
	m.text(`"digest":`, d.Digest)
	m.number(`"exit_code":`, int64(d.ExitCode))
	m.someText(`"signal":`, d.Signal)
	m.flag(`"is_error":`, d.IsError)
	m.someText(`"message":`, d.Message)
	if len(d.Redactions) > 0 {
		m.numberMap(`"redactions":`, d.Redactions)
	}
	m.number(`"stdout_bytes":`, d.StdoutBytes)
	m.number(`"stderr_bytes":`, d.StderrBytes)
	m.number(`"result_size_bytes":`, d.ResultBytes)
	m.float(`"queue_ms":`, d.QueueMs)
	m.float(`"decide_ms":`, d.DecideMs)
	m.float(`"start_ms":`, d.StartMs)
	m.float(`"run_ms":`, d.RunMs)
	m.someText(`"output_digest":`, d.OutputDigest)
	m.someText(`"log_digest":`, d.LogDigest)
	if d.Usage != nil {
		m.object(`"usage":`, d.Usage.members)
	}
	if d.Receipt != nil {
		m.object(`"receipt":`, receiptMembers{d.Receipt}.members)
	}
	if d.Effects != nil {
		m.value(`"effects":`, d.Effects)
	}
}

func (u *usageData) members(m *members) {
	m.float(`"cpu_user_ms":`, u.CPUUserMs)
	m.float(`"cpu_system_ms":`, u.CPUSystemMs)
	m.number(`"memory_peak_bytes":`, u.MemoryPeakBytes)
	m.number(`"pids_peak":`, u.PidsPeak)
	m.number(`"oom_kills":`, u.OOMKills)
}

type receiptMembers struct{ *sandbox.Receipt }

func (r receiptMembers) members(m *members) {
	m.text(`"cell_id":`, r.CellID)
	m.number(`"cell_calls":`, r.CellCalls)
	m.text(`"image":`, r.Image)
	m.someText(`"image_digest":`, r.ImageDigest)
	m.text(`"isolation":`, string(r.Isolation))
	m.text(`"runtime":`, r.Runtime)
	m.number(`"cgroup_version":`, int64(r.CgroupVersion))
	m.numberMap(`"enforced":`, r.Enforced)
	m.someTexts(`"unverified":`, r.Unverified)
	m.number(`"uid":`, int64(r.UID))
	m.number(`"host_uid":`, int64(r.HostUID))
	m.flag(`"no_new_privs":`, r.NoNewPrivs)
	m.number(`"seccomp_mode":`, int64(r.SeccompMode))
	m.someText(`"seccomp_sha256":`, r.SeccompSHA256)
	m.unsigned(`"cap_effective":`, r.CapEffective)
	m.unsigned(`"cap_bounding":`, r.CapBounding)
	if len(r.Namespaces) > 0 {
		m.textMap(`"namespaces":`, r.Namespaces)
	}
	m.text(`"network":`, r.Network)
	m.text(`"workspace":`, r.Workspace)
	if len(r.Mounts) > 0 {
		m.value(`"mounts":`, r.Mounts)
	}
}

type peerMembers struct{ *policy.CallerInput }

func (p peerMembers) members(m *members) {
	m.text(`"id":`, p.ID)
	m.text(`"transport":`, p.Transport)
	m.someInt(`"uid":`, p.UID)
	m.someInt(`"gid":`, p.GID)
	m.someInt(`"pid":`, p.PID)
	m.someText(`"exe":`, p.Exe)
	m.someText(`"tenant":`, p.Tenant)
}

// someInt leaves out what is not known.
func (m *members) someInt(name string, n *int) {
	if n != nil {
		m.number(name, int64(*n))
	}
}

type sawMembers struct{ *seen.Call }

func (s sawMembers) members(m *members) {
	m.number(`"v":`, int64(s.Version))
	m.text(`"at":`, s.At)
	m.someText(`"env":`, s.Environment)
	m.someNumber(`"seq":`, s.Seq)
	if len(s.Counts) > 0 {
		m.name(`"counts":[`)
		for _, n := range s.Counts {
			m.number("", int64(n))
		}
		m.b = append(m.b, ']')
	}
	m.someTexts(`"labels":`, s.Labels)
	m.someNumber(`"cpu_ms":`, s.CPUMs)
	if s.Life != nil {
		m.value(`"life":`, s.Life)
	}
	if len(s.Granted) > 0 {
		m.value(`"granted":`, s.Granted)
	}
	m.someTexts(`"fs":`, s.Lookups)
	m.someTexts(`"cut":`, s.Cut)
}
