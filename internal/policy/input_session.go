package policy

import "github.com/open-policy-agent/opa/v1/ast"

// SessionQuotaInput is what the session may use; what is absent has no bound.
type SessionQuotaInput struct {
	Calls           int64 `json:"calls,omitempty"`      // that are let run in all its life
	CPUMs           int64 `json:"cpu_ms,omitempty"`     // processor time of all of them
	DiskBytes       int64 `json:"disk_bytes,omitempty"` // of its workspace
	ConcurrentCalls int64 `json:"concurrent_calls,omitempty"`
	BackgroundCalls int64 `json:"background_calls,omitempty"`
}

// SessionUsageInput is what the session has used.
type SessionUsageInput struct {
	Calls int64 `json:"calls"` // that were let run
	CPUMs int64 `json:"cpu_ms"`
}

// The names of members that only a session has.
var (
	keyBackgroundCalls = ast.StringTerm("background_calls")
	keyCPUMs           = ast.StringTerm("cpu_ms")
	keyConcurrentCalls = ast.StringTerm("concurrent_calls")
	keySessionCreated  = ast.StringTerm("created")
	keySessionEnd      = ast.StringTerm("expires")
	keyHostLabels      = ast.StringTerm("host_labels")
	keyQuota           = ast.StringTerm("quota")
	keyUsage           = ast.StringTerm("usage")
)

// lived puts what a session was made with and what it has used. All but the usage
// stays the same as long as the session lives.
func (b *valueBuilder) lived(s *SessionInput) {
	b.putTextIf(keyKind, s.Kind)
	if b.needs.lifetime {
		b.putTextIf(keySessionCreated, s.Created)
		b.putTextIf(keySessionEnd, s.Expires)
	}
	if q := s.Quota; q != nil {
		mark := len(b.items)
		b.putIntIf(keyCalls, q.Calls)
		b.putIntIf(keyCPUMs, q.CPUMs)
		b.putIntIf(keyDiskBytes, q.DiskBytes)
		b.putIntIf(keyConcurrentCalls, q.ConcurrentCalls)
		b.putIntIf(keyBackgroundCalls, q.BackgroundCalls)
		b.put(keyQuota, b.object(mark))
	}
	if u := s.Usage; u != nil && b.needs.usage {
		mark := len(b.items)
		b.putInt(keyCalls, u.Calls)
		b.putInt(keyCPUMs, u.CPUMs)
		b.put(keyUsage, b.object(mark))
	}
	if len(s.HostLabels) > 0 {
		putMap(b, keyHostLabels, s.HostLabels, b.text)
	}
}
