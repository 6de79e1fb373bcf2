package gate_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/policy"
)

// TestRaceNobodyWorksBesideAnApprovedCall: while what was approved is looked at and
// runs, no other call can change it: those that run are waited for, and those that come
// wait.
func TestRaceNobodyWorksBesideAnApprovedCall(t *testing.T) {
	b := newAsking(t)
	a := b.ask(t, b.call("c1"))
	b.approve(t, a)
	b.asksAboutOnly("c1")

	// One that writes beside it, and is on its way when the approved call comes.
	began, end := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	var order []string
	note := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, text)
	}
	first := true
	b.beforeRun = func() {
		mu.Lock()
		mine := first
		first = false
		mu.Unlock()
		if mine {
			close(began)
			<-end
			note("the writer ends")
			return
		}
		note("a call runs")
	}
	var all sync.WaitGroup
	writer := bash("w1", "cp x s.sh")
	writer.WorkspaceDir = filepath.Join(b.ws, "sub")
	if err := os.Mkdir(writer.WorkspaceDir, 0o700); err != nil {
		t.Fatal(err)
	}
	all.Go(func() { b.do(t, writer) })
	<-began
	done := make(chan struct{})
	all.Go(func() {
		defer close(done)
		if res := b.do(t, b.call("c1")); res.Outcome != exited {
			t.Errorf("the approved call: got %s (%s)", res.Outcome, res.Message)
		}
	})
	elsewhere := b.call("w2") // another workspace is another matter
	elsewhere.WorkspaceDir = t.TempDir()
	b.do(t, elsewhere)
	select {
	case <-done:
		t.Error("the approved call did not wait for the one beside it")
	default:
	}
	close(end)
	all.Wait()
	if len(order) != 3 || order[1] != "the writer ends" || order[2] != "a call runs" {
		t.Errorf("got the order %q", order)
	}
}

// asksAboutOnly makes a policy that allows all calls but one.
func (b *asking) asksAboutOnly(id string) {
	b.policy.decide = func(in policy.Input) policy.Decision {
		d := b.decide(in)
		if in.Call.ID != id {
			d.Outcome, d.Ask = policy.Allow, nil
		}
		return d
	}
}

func TestAnApprovedCallThatGivesUpKeepsItsApproval(t *testing.T) {
	b := newAsking(t)
	a := b.ask(t, b.call("c1"))
	b.approve(t, a)
	began, end := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.beforeRun = func() { once.Do(func() { close(began); <-end }) }
	b.asksAboutOnly("c1")
	var all sync.WaitGroup
	writer := bash("w1", "cp x s.sh")
	writer.WorkspaceDir = b.ws
	all.Go(func() { b.do(t, writer) })
	<-began
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if res, err := b.Execute(ctx, b.call("c1"), nil); err == nil || errdefs.IsFailedPrecondition(err) {
		t.Errorf("while another works in its workspace: got %s, %v", res.Outcome, err)
	}
	close(end)
	all.Wait()
	b.want(t, b.call("c1"), exited, "unsure", 2)
	if got := b.stateOf(t, a.ID); got != "used" {
		t.Errorf("the approval is %s, want used", got)
	}
}
