package approval_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/policy"
)

// A host whose approval is void has to read what it has to do otherwise.
func TestAnotherWayToRunIsNamed(t *testing.T) {
	plain := approval.Run{Cage: policy.SandboxObligations{Pids: 3}, Image: "host"}
	detached, terminal, image, cage := plain, plain, plain, plain
	detached.Detached, detached.Cage.Pids = true, 4
	terminal.Terminal = true
	image.Image = "python"
	cage.Cage.Pids = 4
	for name, c := range map[string]struct {
		was, now approval.Run
		want     []string
	}{
		"the same":     {plain, plain, nil},
		"detached":     {plain, detached, []string{"it was not asked as a detached call, and is sent as one now"}},
		"not detached": {detached, plain, []string{"it was asked as a detached call, and is not sent as one now"}},
		"terminal":     {plain, terminal, []string{"it was asked without a terminal, and is sent with one now"}},
		"no terminal":  {terminal, plain, []string{"it was asked with a terminal, and is sent without one now"}},
		"image":        {plain, image, []string{"it would run in the image python, not in host"}},
		"cage":         {plain, cage, []string{"it would run in another cage"}},
	} {
		now := approval.Bound{Run: c.now}
		if diff := cmp.Diff(c.want, now.Differs(&approval.Bound{Run: c.was})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
