package cell

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
)

// doorway is the host's end of a door.
type doorway struct {
	numbers chan uint64
	err     error // of every write
	closed  chan struct{}
}

func (d *doorway) Write(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	d.numbers <- binary.NativeEndian.Uint64(p)
	return len(p), nil
}

func (d *doorway) Close() error {
	select {
	case <-d.closed:
	default:
		close(d.closed)
	}
	return nil
}

func withDoors(c *Conn) [Slots]*doorway {
	var mine [Slots]*doorway
	var doors [Slots]io.WriteCloser
	for i := range doors {
		mine[i] = &doorway{numbers: make(chan uint64, 1), closed: make(chan struct{})}
		doors[i] = mine[i]
	}
	c.UseDoors(doors)
	return mine
}

// TestCallIsLetRunByItsDoor: and init is told of it only where it has to know.
func TestCallIsLetRunByItsDoor(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	defer cancel()
	for name, tc := range map[string]struct {
		ctx    context.Context
		change func(*Exec)
		told   []Kind // what comes after the Exec
		end    Exit
	}{
		"plain":    {t.Context(), func(*Exec) {}, nil, Exit{}},
		"live":     {t.Context(), func(x *Exec) { x.Live = true }, []Kind{KindRelease}, Exit{}},
		"stdin":    {t.Context(), func(x *Exec) { x.Stdin = strings.NewReader("") }, []Kind{KindRelease, KindStdinClose}, Exit{}},
		"terminal": {t.Context(), func(x *Exec) { x.Terminal = &Size{1, 1} }, []Kind{KindRelease}, Exit{}},
		"control":  {t.Context(), func(x *Exec) { x.Control = make(chan Control) }, []Kind{KindRelease}, Exit{}},
		"killed":   {cancelled, func(*Exec) {}, []Kind{KindRelease, KindKill}, Exit{Cancelled: true}},
	} {
		t.Run(name, func(t *testing.T) {
			var doors [Slots]*doorway
			c := pair(t, func(f *fakeInit) {
				f.want(KindPrepare)
				f.say(KindPrepared, AppendPrepared(nil, Prepared{Slot: 1, StagePID: 7, HolderPID: 3}))
				r, err := DecodeExec(f.want(KindExec))
				if err != nil || !r.Hold || !r.Door {
					t.Errorf("got %+v, %v, want a call to be held at its door", r, err)
				}
				if got := <-doors[1].numbers; got != r.Seq {
					t.Errorf("the door was opened for %d, the call is %d", got, r.Seq)
				}
				for _, want := range tc.told {
					kind, body, err := f.in.Next()
					if seq, _, derr := DecodeSeq(body); err != nil || kind != want || seq != r.Seq || derr != nil {
						t.Errorf("got frame kind %d of call %d, %v, %v, want kind %d of %d", kind, seq, err, derr, want, r.Seq)
					}
				}
				f.exit(tc.end)
				if kind, _, err := f.in.Next(); err == nil {
					t.Errorf("frame kind %d after the call", kind)
				}
			})
			doors = withDoors(c)
			prepared(t, c)
			x := held(func() error {
				if tc.ctx == cancelled {
					cancel()
				}
				return nil
			})
			tc.change(&x)
			if exit, err := c.Exec(tc.ctx, x, Handlers{}); err != nil || exit != tc.end {
				t.Errorf("got %+v, %v, want %+v", exit, err, tc.end)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			for _, d := range doors {
				<-d.closed
			}
		})
	}
}

// TestDoorStaysShut: nothing is written to it for a call that is refused or was held by
// nobody, and a door that nobody reads from any more says that the program has not run.
func TestDoorStaysShut(t *testing.T) {
	play := func(f *fakeInit) {
		f.toHeld()
		f.want(KindKill)
		f.exit(Exit{ExitCode: -1, Cancelled: true})
		f.want(KindPrepare)
		f.say(KindPrepared, AppendPrepared(nil, Prepared{StagePID: 7, HolderPID: 3}))
		if r, err := DecodeExec(f.want(KindExec)); err != nil || r.Hold || r.Door {
			f.t.Errorf("got %+v, %v, want a call that is not held", r, err)
		}
		f.exit(Exit{})
		f.toHeld()
	}
	c := pair(t, play)
	doors := withDoors(c)
	prepared(t, c)
	refused := errors.New("no record")
	if _, err := c.Exec(within(t), held(func() error { return refused }), Handlers{}); !errors.Is(err, refused) {
		t.Errorf("got %v, want the refusal", err)
	}
	prepared(t, c)
	if _, err := c.Exec(within(t), plain, Handlers{}); err != nil {
		t.Error(err)
	}
	for _, d := range doors {
		if len(d.numbers) != 0 {
			t.Error("a door was opened")
		}
		d.err = errors.New("nobody is there")
	}
	prepared(t, c)
	if _, err := c.Exec(within(t), held(func() error { return nil }), Handlers{}); !errors.Is(err, ErrNotSent) || !c.Ended() {
		t.Errorf("got %v, want ErrNotSent and the end of the connection", err)
	}
}

// TestProgramThatWasLetPassMayHaveRun: also when init cannot be told.
func TestProgramThatWasLetPassMayHaveRun(t *testing.T) {
	c := pair(t, (*fakeInit).toHeld)
	w := &breaking{WriteCloser: c.w}
	c.out = NewFrameWriter(w)
	doors := withDoors(c)
	prepared(t, c)
	x := held(func() error { w.broken = true; return nil })
	x.Live = true
	if _, err := c.Exec(within(t), x, Handlers{}); err == nil || errors.Is(err, ErrNotSent) || errors.Is(err, ErrNotReady) {
		t.Errorf("got %v, want an error that leaves it open", err)
	}
	if len(doors[0].numbers) != 1 {
		t.Error("the door was not opened")
	}
}

// breaking is a connection that breaks.
type breaking struct {
	io.WriteCloser
	broken bool
}

func (b *breaking) Write(p []byte) (int, error) {
	if b.broken {
		return 0, io.ErrClosedPipe
	}
	return b.WriteCloser.Write(p)
}

// toHeld plays everything up to a call that waits.
func (f *fakeInit) toHeld() {
	f.want(KindPrepare)
	f.say(KindPrepared, AppendPrepared(nil, Prepared{StagePID: 7, HolderPID: 3}))
	f.want(KindExec)
}
