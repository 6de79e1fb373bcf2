package gate

import (
	"fmt"
	"sync"

	"github.com/containerd/errdefs"
)

// slots counts the calls in flight, all and each caller's. It is safe for
// concurrent use.
type slots struct {
	most, mostEach int

	mu   sync.Mutex
	all  int
	each map[string]int // by caller; none of them 0
}

func newSlots(most, mostEach int) *slots {
	return &slots{most: most, mostEach: mostEach, each: make(map[string]int)}
}

// take takes a slot for a call of the caller, or says which bound is reached.
func (s *slots) take(caller string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.each[caller]; n >= s.mostEach {
		return fmt.Errorf("this caller has %d calls in flight, the most it may have: try again when one has ended: %w", n, errdefs.ErrResourceExhausted)
	}
	if s.all >= s.most {
		return fmt.Errorf("%d calls are in flight, the most that this daemon takes: try again when one has ended: %w", s.all, errdefs.ErrResourceExhausted)
	}
	s.all++
	s.each[caller]++
	return nil
}

// give gives a slot of the caller back.
func (s *slots) give(caller string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.each[caller]--; s.each[caller] == 0 {
		delete(s.each, caller)
	}
}
