package gate_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/sandboxtest"
)

// TestTerminalReachesPolicyAndProgram, is part of what the call is, and its size is not.
func TestTerminalReachesPolicyAndProgram(t *testing.T) {
	b, programs := led(t, t.TempDir(), nil)
	run := func(call gate.Call) (gate.Result, sandbox.Call) {
		t.Helper()
		ended := make(chan gate.Result, 1)
		go func() { ended <- b.do(t, call) }()
		p := <-programs
		p.release <- sandboxtest.Exit(0, "")
		return <-ended, p.call
	}
	call := bash("c1", "top")
	plain, ran := run(call)
	if ran.Terminal != nil || ran.Live || b.policy.last(t).Call.Terminal {
		t.Errorf("a plain call has a terminal: %+v", ran)
	}
	call.ID, call.Terminal = "c2", &gate.Terminal{Size: sandbox.TerminalSize{Rows: 40, Cols: 100}, Term: "vt100"}
	first, ran := run(call)
	in := b.policy.last(t)
	if !in.Call.Terminal || in.Call.Env["TERM"] != "vt100" {
		t.Errorf("policy sees terminal %t and env %v", in.Call.Terminal, in.Call.Env)
	}
	if ran.Terminal == nil || *ran.Terminal != call.Terminal.Size || !ran.Live || !strings.Contains(strings.Join(ran.Env, "\n"), "TERM=vt100") {
		t.Errorf("the program gets %+v, env %q", ran.Terminal, ran.Env)
	}
	call.ID, call.Terminal = "c3", &gate.Terminal{Term: "vt100"}
	second, ran := run(call)
	if *ran.Terminal != (sandbox.TerminalSize{Rows: 24, Cols: 80}) {
		t.Errorf("without a size the program gets %+v", ran.Terminal)
	}
	if first.Digest == plain.Digest || first.Digest != second.Digest {
		t.Errorf("digests %q without, %q and %q with a terminal of two sizes", plain.Digest, first.Digest, second.Digest)
	}
	// TERM of the call's own is left as it is.
	call.ID, call.Env = "c4", map[string]string{"TERM": "dumb"}
	if _, ran = run(call); !strings.Contains(strings.Join(ran.Env, "\n"), "TERM=dumb") {
		t.Errorf("env %q, want the call's own TERM", ran.Env)
	}
	if n := strings.Count(b.journalText(t), `"terminal":true`); n != 3 {
		t.Errorf("%d records say that there is a terminal, want the intents of three calls", n)
	}
}

// journalText is the data of all records.
func (b *bench) journalText(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, r := range b.rawRecords(t) {
		all.Write(r.Data)
	}
	return all.String()
}

func TestBadTerminalsAreNamed(t *testing.T) {
	b, _ := led(t, t.TempDir(), nil)
	for field, terminal := range map[string]gate.Terminal{
		"terminal.term": {Term: "../x"},
		"terminal":      {Size: sandbox.TerminalSize{Rows: 3}},
	} {
		call := bash("c", "top")
		call.Terminal = &terminal
		var bad *gate.FieldError
		if _, err := b.Execute(t.Context(), call, nil); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%+v: got %v, want a fault of %s", terminal, err, field)
		}
	}
}
