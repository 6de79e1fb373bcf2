package cell

import (
	"errors"
	"testing"
	"time"
)

func held(ready func() error) Exec {
	return Exec{Argv: []string{"true"}, WallTime: time.Minute, OutputBytes: 100, DiskBytes: 1, Ready: ready}
}

// TestRefusedCallHasSurelyNotRun: also when the cell ends meanwhile, which for any
// other call would leave it unknown.
func TestRefusedCallHasSurelyNotRun(t *testing.T) {
	refused := errors.New("no record")
	for name, play := range map[string]func(*fakeInit){
		"sound": func(f *fakeInit) {
			f.want(KindKill)
			f.exit(Exit{ExitCode: -1, Cancelled: true})
		},
		"the cell ends": func(f *fakeInit) {
			if err := f.w.Close(); err != nil {
				f.t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := pair(t, func(f *fakeInit) {
				f.want(KindPrepare)
				f.say(KindPrepared, AppendPrepared(nil, Prepared{StagePID: 7, HolderPID: 3}))
				if r, err := DecodeExec(f.want(KindExec)); err != nil || !r.Hold {
					t.Errorf("got %+v, %v, want a call to be held", r, err)
				}
				play(f)
			})
			prepared(t, c)
			asked := 0
			_, err := c.Exec(within(t), held(func() error { asked++; return refused }), Handlers{Started: func(Started) { t.Error("it was started") }})
			if !errors.Is(err, ErrNotReady) || !errors.Is(err, refused) || asked != 1 {
				t.Errorf("got %v, asked %d times, want the refusal, asked once", err, asked)
			}
		})
	}
}

// TestProgramThatWasNotReleasedSaysNothing: an init that runs it all the same has
// broken the protocol.
func TestProgramThatWasNotReleasedSaysNothing(t *testing.T) {
	c := pair(t, func(f *fakeInit) { f.toExec() })
	prepared(t, c)
	_, err := c.Exec(within(t), held(func() error { <-c.gone; return nil }), Handlers{Started: func(Started) { t.Error("it was told") }})
	if !errors.Is(err, ErrProtocol) {
		t.Errorf("got %v, want a broken protocol", err)
	}
}
