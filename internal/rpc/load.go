package rpc

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sandgate/sandgate/internal/admission"
	"github.com/sandgate/sandgate/internal/journal"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
)

// GetLoad implements SystemServiceServer.
func (s *systemService) GetLoad(context.Context, *sandgatev1.GetLoadRequest) (*sandgatev1.GetLoadResponse, error) {
	out := &sandgatev1.GetLoadResponse{Admission: &sandgatev1.AdmissionState{}, Journal: &sandgatev1.JournalState{}}
	if s.load.Pools != nil {
		for _, p := range s.load.Pools() {
			out.Pools = append(out.Pools, poolProto(p))
		}
	}
	if s.load.Admission != nil {
		out.Admission = admissionProto(s.load.Admission())
	}
	if s.load.Journal != nil {
		out.Journal = journalProto(s.load.Journal())
	}
	if s.load.Sessions != nil {
		out.Sessions = int64(s.load.Sessions())
	}
	return out, nil
}

func poolProto(p sandbox.Pool) *sandgatev1.Pool {
	return &sandgatev1.Pool{
		Image: validText(p.Image), Isolation: string(p.Isolation), Fresh: int32of(p.Fresh), Kept: int32of(p.Kept), Busy: int32of(p.Busy),
		Making: int32of(p.Making), Dying: int32of(p.Dying), Waiting: int32of(p.Waiting), Target: int32of(p.Target),
		Made: p.Made, Claims: p.Claims, Dry: p.Dry, Retired: p.Retired, Poisoned: p.Poisoned, Failed: p.Failed,
	}
}

func admissionProto(s admission.State) *sandgatev1.AdmissionState {
	out := &sandgatev1.AdmissionState{
		Running: int32of(s.Running), MaxRunning: int32of(s.Budget.Calls), Waiting: int32of(s.Waiting), WaitingCallers: int32of(s.WaitingCallers),
		CpuMillis: s.Used.CPUMillis, MaxCpuMillis: s.Budget.CPUMillis, MemoryBytes: s.Used.MemoryBytes, MaxMemoryBytes: s.Budget.MemoryBytes,
		Admitted: s.Admitted, Waited: s.Waited, Refused: s.Refused, Expired: s.Expired, Left: s.Left,
		Beginning: int32of(s.Beginning), Slots: int32of(s.Slots),
	}
	if s.ExpectedWait > 0 {
		out.ExpectedWait = durationpb.New(s.ExpectedWait)
	}
	return out
}

func journalProto(s journal.State) *sandgatev1.JournalState {
	return &sandgatev1.JournalState{
		LastSequence: s.LastSeq, SizeBytes: s.Bytes, Waiting: int32of(s.Waiting), Records: s.Records, Commits: s.Commits,
		FailedCommits: s.FailedCommits, Failing: s.Err != nil, Full: s.Full != nil,
	}
}
