package containerd

import (
	"log/slog"
	"os/exec"
	"runtime"
	"testing"
	"time"
)

func pulseOfProgram(t *testing.T, name string) *pulse {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip(err)
	}
	p := &pulse{path: path, log: slog.New(slog.DiscardHandler)}
	t.Cleanup(p.stop)
	return p
}

// TestPulseIsThereWhileOthersCallBesideHeavyOnes; cat stands for a program that ends with its stdin.
func TestPulseIsThereWhileOthersCallBesideHeavyOnes(t *testing.T) {
	p := pulseOfProgram(t, "cat")
	now, half := time.Now(), float64(runtime.NumCPU())/2
	for _, step := range []struct {
		after  time.Duration
		cores  float64
		others bool
		want   bool
	}{
		{0, 0, true, false},
		{0, half - 0.1, true, false},
		{0, half, false, false}, // nobody has anything from it
		{0, half, true, true},
		{pulseRest / 2, 0, true, true}, // a moment without is no end
		{0, half, true, true},
		{pulseRest * 3 / 4, 0, true, true},
		{pulseRest, 0, true, false},
		{0, 2 * half, true, true},
		{pulseRest * 3 / 4, 2 * half, false, true},
		{pulseRest, 2 * half, false, false},
		{0, 2 * half, true, true},
	} {
		now = now.Add(step.after)
		if got := p.want(step.cores, step.others, now); got != step.want || (p.cmd != nil) != step.want {
			t.Fatalf("after %v with %v processors: crowded is %t, want %t and a program likewise", step.after, step.cores, got, step.want)
		}
	}
	exited := p.exited
	p.stop()
	select {
	case <-exited:
	default:
		t.Error("its program has not ended")
	}
}

// TestPulseThatMayNotBeIsNotTriedAgain; false stands for a program that may not have its priority.
func TestPulseThatMayNotBeIsNotTriedAgain(t *testing.T) {
	p := pulseOfProgram(t, "false")
	p.want(float64(runtime.NumCPU()), true, time.Now())
	<-p.exited
	for range 2 {
		if p.want(float64(runtime.NumCPU()), true, time.Now()) || p.path != "" {
			t.Fatal("it was tried again")
		}
	}
}

// TestWhereTicksAreShortNoPulseIsNeeded: heavy calls get their small share without one.
func TestWhereTicksAreShortNoPulseIsNeeded(t *testing.T) {
	p := &pulse{often: true}
	if !p.want(float64(runtime.NumCPU()), true, time.Now()) || p.cmd != nil {
		t.Errorf("got %+v, want a crowd and no program", p)
	}
	if p = (&pulse{}); p.want(float64(runtime.NumCPU()), true, time.Now()) {
		t.Error("without a pulse a small share was to be given, which alone makes calls wait longer")
	}
}
