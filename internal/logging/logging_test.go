package logging

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/zap"
	"google.golang.org/grpc/grpclog"
)

func TestNewWritesOneJSONObjectALine(t *testing.T) {
	var buf bytes.Buffer
	l, err := New(Options{Level: "info", Format: "json", Output: &buf})
	if err != nil {
		t.Fatal(err)
	}
	l.Named("rpc").Debug("hidden")
	l.Named("rpc").Info("shown", zap.String(KeyTool, "bash"))
	var line map[string]any
	if err := json.Unmarshal(buf.Bytes(), &line); err != nil {
		t.Fatalf("got %q, want one JSON line: %v", buf.String(), err)
	}
	for key, want := range map[string]string{"message": "shown", "logger": "rpc", "level": "info", "tool": "bash"} {
		if got := line[key]; got != want {
			t.Errorf("%s: got %v, want %v", key, got, want)
		}
	}
}

func TestNewRefusesUnknownLevelAndFormat(t *testing.T) {
	for _, o := range []Options{
		{Level: "loud", Format: "json"}, {Level: "fatal", Format: "json"}, {Level: "info", Format: "xml"},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), "want ") {
			t.Errorf("%+v: got %v, want an error that says what is right", o, err)
		}
	}
}

func TestRedirectCatchesStandardAndGRPCLoggers(t *testing.T) {
	var buf bytes.Buffer
	l, err := New(Options{Level: "info", Format: "json", Output: &buf})
	if err != nil {
		t.Fatal(err)
	}
	restore := Redirect(l)
	log.Print("from the standard library")
	grpclog.Info("chatter of grpc")
	grpclog.Warning("warning of grpc")
	restore()
	log.SetOutput(&bytes.Buffer{})
	log.Print("afterwards")
	got := buf.String()
	for _, want := range []string{"from the standard library", "warning of grpc"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
	for _, not := range []string{"chatter", "afterwards"} {
		if strings.Contains(got, not) {
			t.Errorf("got %q, want no %q in it", got, not)
		}
	}
}

func TestRedactingTypesNeverWriteValues(t *testing.T) {
	var buf bytes.Buffer
	l, err := New(Options{Level: "info", Format: "json", Output: &buf})
	if err != nil {
		t.Fatal(err)
	}
	l.Info("call",
		zap.Array("env", Env{"TOKEN": "hunter2", "A": "hunter2"}),
		zap.Object(KeyArgs, Args(`{"command":"hunter2"}`)),
		zap.Object("bad", Args(`hunter2`)),
		zap.Any("secret", Secret("hunter2")), zap.Stringer("secret2", Secret("hunter2")),
		zap.String("formatted", fmt.Sprintf("%v %s %#v %q", Secret("hunter2"), Secret("hunter2"), Secret("hunter2"), Secret("hunter2"))))
	got := buf.String()
	if strings.Contains(got, "hunter2") {
		t.Errorf("got %s, want no secret in it", got)
	}
	for _, want := range []string{`"env":["A","TOKEN"]`, `"command_bytes":9`, `"invalid_bytes":7`, `[redacted]`} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %s in it", got, want)
		}
	}
}

func FuzzArgsNeverWriteValues(f *testing.F) {
	f.Add("command", "s3cr3t-value-of-it")
	f.Fuzz(func(t *testing.T, name, tail string) {
		secret := "s3cr3t-value-" + tail
		raw, err := json.Marshal(map[string]string{name: secret})
		if err != nil || strings.Contains(name, "s3cr3t-value-") {
			t.Skip("the secret would be the name itself, or is no text")
		}
		var buf bytes.Buffer
		l, err := New(Options{Level: "info", Format: "json", Output: &buf})
		if err != nil {
			t.Fatal(err)
		}
		l.Info("call", zap.Object(KeyArgs, Args(raw)))
		if strings.Contains(buf.String(), "s3cr3t-value-") {
			t.Errorf("got %s, want no value in it", buf.String())
		}
	})
}

func TestSlogWritesToZap(t *testing.T) {
	var buf bytes.Buffer
	l, err := New(Options{Level: "info", Format: "json", Output: &buf})
	if err != nil {
		t.Fatal(err)
	}
	s := Slog(l).With("a", 1).WithGroup("g").With("b", 2)
	s.Debug("hidden")
	s.Warn("shown", "c", fmt.Errorf("why"), slog.Group("h", "d", "x"))
	var line map[string]any
	if err := json.Unmarshal(buf.Bytes(), &line); err != nil {
		t.Fatalf("got %q, want one JSON line: %v", buf.String(), err)
	}
	for key, want := range map[string]any{"message": "shown", "level": "warn", "a": 1.0, "g.b": 2.0, "g.c": "why", "g.h.d": "x"} {
		if line[key] != want {
			t.Errorf("%s: got %v, want %v", key, line[key], want)
		}
	}
}
