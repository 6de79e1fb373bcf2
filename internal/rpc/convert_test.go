package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sandgate/sandgate/internal/gate"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

func TestConvertExecuteKeepsEverything(t *testing.T) {
	caller := gate.Caller{ID: "unix:uid:1"}
	call, err := convertExecute(&sandgatev1.ExecuteRequest{
		Call: &sandgatev1.Call{
			CallId: "c-1", SessionId: "s-1", Profile: "open", Tool: "bash", ArgsJson: ` {"command":"ls"}`, Cwd: "src",
			Env: map[string]string{"A": "b"}, WorkspaceDir: "/srv/x", Timeout: durationpb.New(3 * time.Second),
			Agent: &sandgatev1.Agent{Name: "n", Version: "v", Model: "m"},
		},
		Stdin: []byte("abc"),
	}, caller)
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := io.ReadAll(call.Stdin)
	if err != nil || string(stdin) != "abc" {
		t.Errorf("stdin: got %q %v, want abc", stdin, err)
	}
	call.Stdin = nil
	size := int64(3)
	want := gate.Call{
		ID: "c-1", Caller: caller, SessionID: "s-1", Profile: "open", Tool: "bash", Args: json.RawMessage(`{"command":"ls"}`),
		Cwd: "src", Env: map[string]string{"A": "b"}, WorkspaceDir: "/srv/x", Timeout: 3 * time.Second,
		Agent: gate.Agent{Name: "n", Version: "v", Model: "m"}, StdinBytes: &size,
		StdinDigest: "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	}
	if diff := cmp.Diff(want, call); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestConvertStartLeavesStreamedStdinUnknown(t *testing.T) {
	call, err := convertStart(&sandgatev1.ExecuteStart{Call: &sandgatev1.Call{Tool: "bash"}, Stdin: true}, gate.Caller{})
	if err != nil || call.StdinBytes != nil || call.StdinDigest != "" {
		t.Errorf("got %v %q %v, want a stdin of unknown size", call.StdinBytes, call.StdinDigest, err)
	}
	call, err = convertStart(&sandgatev1.ExecuteStart{Call: &sandgatev1.Call{Tool: "bash"}}, gate.Caller{})
	if err != nil || call.StdinBytes == nil || *call.StdinBytes != 0 {
		t.Errorf("got %v %v, want an empty stdin", call.StdinBytes, err)
	}
}

func TestConvertNamesTheWrongField(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65)
	many := map[string]string{}
	for i := range 257 {
		many[fmt.Sprintf("A%d", i)] = ""
	}
	tests := []struct {
		name   string
		change func(*sandgatev1.ExecuteRequest)
		field  string
		text   string
	}{
		{"no call", func(r *sandgatev1.ExecuteRequest) { r.Call = nil }, "call", "missing"},
		{"no tool", func(r *sandgatev1.ExecuteRequest) { r.Call.Tool = "" }, "call.tool", "missing"},
		{"long tool", func(r *sandgatev1.ExecuteRequest) { r.Call.Tool = strings.Repeat("x", 129) }, "call.tool", "at most 128"},
		{"NUL in tool", func(r *sandgatev1.ExecuteRequest) { r.Call.Tool = "a\x00" }, "call.tool", `'\x00'`},
		{"path as tool", func(r *sandgatev1.ExecuteRequest) { r.Call.Tool = ".." }, "call.tool", "path element"},
		{"slash in call id", func(r *sandgatev1.ExecuteRequest) { r.Call.CallId = "a/b" }, "call.call_id", "A-Za-z0-9"},
		{"session id", func(r *sandgatev1.ExecuteRequest) { r.Call.SessionId = "a b" }, "call.session_id", "A-Za-z0-9"},
		{"profile", func(r *sandgatev1.ExecuteRequest) { r.Call.Profile = "Open" }, "call.profile", "a-z0-9"},
		{"args no JSON", func(r *sandgatev1.ExecuteRequest) { r.Call.ArgsJson = "{" }, "call.args_json", "JSON"},
		{"args two values", func(r *sandgatev1.ExecuteRequest) { r.Call.ArgsJson = "{}{}" }, "call.args_json", "JSON"},
		{"args array", func(r *sandgatev1.ExecuteRequest) { r.Call.ArgsJson = "[1]" }, "call.args_json", "not a JSON object"},
		{"args null", func(r *sandgatev1.ExecuteRequest) { r.Call.ArgsJson = "null" }, "call.args_json", "not a JSON object"},
		{"args repeated key", func(r *sandgatev1.ExecuteRequest) { r.Call.ArgsJson = `{"a":{"b":[1],"\u0062":2}}` }, "call.args_json", `"b" twice`},
		{"args NUL", func(r *sandgatev1.ExecuteRequest) { r.Call.ArgsJson = "{\"a\":\"\x00\"}" }, "call.args_json", "NUL"},
		{"args deep", func(r *sandgatev1.ExecuteRequest) { r.Call.ArgsJson = deep }, "call.args_json", "deep"},
		{"args big", func(r *sandgatev1.ExecuteRequest) {
			r.Call.ArgsJson = `{"a":"` + strings.Repeat("x", maxArgsBytes) + `"}`
		}, "call.args_json", "at most"},
		{"cwd NUL", func(r *sandgatev1.ExecuteRequest) { r.Call.Cwd = "a\x00b" }, "call.cwd", "NUL"},
		{"cwd long", func(r *sandgatev1.ExecuteRequest) { r.Call.Cwd = strings.Repeat("x", 4097) }, "call.cwd", "at most 4096"},
		{"workspace relative", func(r *sandgatev1.ExecuteRequest) { r.Call.WorkspaceDir = "x" }, "call.workspace_dir", "absolute"},
		{"workspace unclean", func(r *sandgatev1.ExecuteRequest) { r.Call.WorkspaceDir = "/a/../b" }, "call.workspace_dir", "clean"},
		{"env name", func(r *sandgatev1.ExecuteRequest) { r.Call.Env = map[string]string{"A=B": ""} }, "call.env", "A=B"},
		{"env empty name", func(r *sandgatev1.ExecuteRequest) { r.Call.Env = map[string]string{"": ""} }, "call.env", "A-Za-z_"},
		{"env NUL", func(r *sandgatev1.ExecuteRequest) { r.Call.Env = map[string]string{"A": "\x00"} }, "call.env[A]", "NUL"},
		{"env many", func(r *sandgatev1.ExecuteRequest) { r.Call.Env = many }, "call.env", "at most 256"},
		{"env big", func(r *sandgatev1.ExecuteRequest) {
			r.Call.Env = map[string]string{"A": strings.Repeat("x", maxEnvBytes)}
		}, "call.env", "at most"},
		{"negative timeout", func(r *sandgatev1.ExecuteRequest) { r.Call.Timeout = durationpb.New(-1) }, "call.timeout", "want 1ms"},
		{"long timeout", func(r *sandgatev1.ExecuteRequest) { r.Call.Timeout = durationpb.New(25 * time.Hour) }, "call.timeout", "24h"},
		{"invalid timeout", func(r *sandgatev1.ExecuteRequest) { r.Call.Timeout = &durationpb.Duration{Nanos: -1, Seconds: 1} }, "call.timeout", "no valid"},
		{"agent", func(r *sandgatev1.ExecuteRequest) { r.Call.Agent = &sandgatev1.Agent{Model: strings.Repeat("x", 257)} }, "call.agent.model", "256"},
		{"stdin", func(r *sandgatev1.ExecuteRequest) { r.Stdin = make([]byte, maxStdinBytes+1) }, "stdin", "ExecuteStream"},
		{"changes", func(r *sandgatev1.ExecuteRequest) { r.WantChanges, r.NoChanges = true, true }, "no_changes", "want one of them"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := &sandgatev1.ExecuteRequest{Call: &sandgatev1.Call{Tool: "bash"}}
			tt.change(req)
			_, err := convertExecute(req, gate.Caller{})
			var bad *requestError
			if !errors.As(err, &bad) {
				t.Fatalf("got %v, want a request error", err)
			}
			if len(bad.violations) != 1 || bad.violations[0].field != tt.field || !strings.Contains(bad.violations[0].problem, tt.text) {
				t.Errorf("got %+v, want field %s with %q", bad.violations, tt.field, tt.text)
			}
			if len(err.Error()) > 1024 {
				t.Errorf("error has %d bytes, want it bounded", len(err.Error()))
			}
		})
	}
}

func TestConvertNamesAllWrongFieldsAtOnce(t *testing.T) {
	_, err := convertEvaluate(&sandgatev1.EvaluateRequest{Call: &sandgatev1.Call{CallId: "/", ArgsJson: "1"}}, gate.Caller{})
	var bad *requestError
	if !errors.As(err, &bad) || len(bad.violations) != 3 {
		t.Errorf("got %v, want three wrong fields", err)
	}
}

func TestAmbiguousAcceptsPlainJSON(t *testing.T) {
	for _, text := range []string{
		`{}`, `{"a":1,"b":{"a":[{"a":1},{"a":2}]},"c":"a"}`, `{"a":"a","b":["a","a"],"c":null}`, `{"a":{},"b":[],"c":1e400}`,
	} {
		if got := ambiguous([]byte(text)); got != "" {
			t.Errorf("%s: got %q, want nothing", text, got)
		}
	}
}

// FuzzConvertExecuteRequest: whatever arrives, conversion does not panic, and
// what it lets through keeps the bounds that the gate and the sandbox rely on.
func FuzzConvertExecuteRequest(f *testing.F) {
	for _, req := range []*sandgatev1.ExecuteRequest{
		{},
		{Call: &sandgatev1.Call{Tool: "bash", ArgsJson: `{"command":"ls"}`}, Stdin: []byte("x")},
		{Call: &sandgatev1.Call{Tool: "a", ArgsJson: `{"a":{"a":1},"a":2}`, Env: map[string]string{"A": "\x00"}, WorkspaceDir: "/a/.."}},
		{Call: &sandgatev1.Call{Tool: "a", CallId: "..", Timeout: &durationpb.Duration{Seconds: 1 << 62, Nanos: -5}}},
	} {
		raw, err := proto.Marshal(req)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		req := &sandgatev1.ExecuteRequest{}
		if proto.Unmarshal(raw, req) != nil {
			return
		}
		call, err := convertExecute(req, gate.Caller{ID: "x"})
		if err != nil {
			var bad *requestError
			if !errors.As(err, &bad) || len(bad.violations) == 0 {
				t.Fatalf("got %v, want an error that names fields", err)
			}
			return
		}
		var args map[string]any
		if err := json.Unmarshal(call.Args, &args); err != nil && !strings.Contains(err.Error(), "cannot unmarshal number") {
			t.Errorf("args %q: %v", call.Args, err)
		}
		text := call.ID + call.Tool + call.SessionID + call.Profile + call.Cwd + call.WorkspaceDir
		for k, v := range call.Env {
			text += k + v
		}
		if strings.ContainsRune(text, 0) || strings.ContainsAny(call.ID+call.Tool+call.SessionID+call.Profile, "/\n ") {
			t.Errorf("got %+v, want no NUL, and no path in a name", call)
		}
		if call.Timeout < 0 || call.Timeout > maxTimeout || len(call.Args) > maxArgsBytes || call.Caller.ID != "x" {
			t.Errorf("got %+v, want it within its bounds", call)
		}
	})
}
