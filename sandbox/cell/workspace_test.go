package cell

import (
	"errors"
	"testing"
)

// TestKindsOfWorkspaces: a stage can be made for some of them, a call can want any, and
// what is no kind is refused.
func TestKindsOfWorkspaces(t *testing.T) {
	stages := map[WorkspaceKind]bool{WorkspaceEphemeral: true, WorkspaceMoved: true, WorkspaceCell: true, WorkspaceBelow: true}
	for kind := range WorkspaceKind(8) {
		s, err := DecodeStage(AppendStage(nil, Stage{Workspace: kind}))
		if stages[kind] != (err == nil) || err != nil && !errors.Is(err, ErrProtocol) || err == nil && s.Workspace != kind {
			t.Errorf("stage of kind %d: %+v, %v", kind, s, err)
		}
		x := sampleExec
		x.Workspace = kind
		got, err := DecodeExec(AppendExec(nil, 1, x, false))
		if (kind <= WorkspaceBelow) != (err == nil) || err != nil && !errors.Is(err, ErrProtocol) || err == nil && got.Workspace != kind {
			t.Errorf("call of kind %d: %d, %v", kind, got.Workspace, err)
		}
	}
}
