package rpc

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sandgate/sandgate/internal/gate"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// Bounds of requests; the proto comments tell them to hosts.
const (
	maxIDBytes       = 128
	maxProfileBytes  = 64
	maxAgentBytes    = 256
	maxPathBytes     = 4096
	maxArgsBytes     = 1 << 20
	maxEnvEntries    = 256
	maxEnvBytes      = 128 << 10
	maxStdinBytes    = 1 << 20
	maxChunkBytes    = 1 << 20
	maxImageBytes    = 255
	maxInputBytes    = 3 << 20
	maxTimeout       = 24 * time.Hour
	minTimeout       = time.Millisecond
	maxArgsDepth     = 64
	maxViolationText = 100
)

// convertExecute checks an ExecuteRequest and makes a call of it.
func convertExecute(req *sandgatev1.ExecuteRequest, caller gate.Caller) (gate.Call, error) {
	call, err := convertCall(req.GetCall(), caller)
	if err != nil {
		return gate.Call{}, err
	}
	stdin := req.GetStdin()
	if len(stdin) > maxStdinBytes {
		return gate.Call{}, fieldError("stdin", "has %d bytes: want at most %d, or ExecuteStream", len(stdin), maxStdinBytes)
	}
	setStdin(&call, stdin)
	return call, nil
}

// convertEvaluate checks an EvaluateRequest and makes a call of it.
func convertEvaluate(req *sandgatev1.EvaluateRequest, caller gate.Caller) (gate.Call, error) {
	call, err := convertCall(req.GetCall(), caller)
	if err != nil {
		return gate.Call{}, err
	}
	setStdin(&call, nil)
	return call, nil
}

// convertStart checks an ExecuteStart and makes a call of it, without its stdin.
func convertStart(req *sandgatev1.ExecuteStart, caller gate.Caller) (gate.Call, error) {
	call, err := convertCall(req.GetCall(), caller)
	if err != nil {
		return gate.Call{}, err
	}
	if !req.GetStdin() {
		setStdin(&call, nil)
	}
	return call, nil
}

// setStdin gives a call a stdin that is known as a whole.
func setStdin(call *gate.Call, stdin []byte) {
	size := int64(len(stdin))
	sum := sha256.Sum256(stdin)
	call.StdinBytes, call.StdinDigest = &size, "sha256:"+hex.EncodeToString(sum[:])
	if size > 0 {
		call.Stdin = bytes.NewReader(stdin)
	}
}

// convertCall checks a Call. Fields are named from the request on: "call.tool".
func convertCall(c *sandgatev1.Call, caller gate.Caller) (gate.Call, error) {
	if c == nil {
		return gate.Call{}, fieldError("call", "is missing")
	}
	var check checker
	check.id("call.call_id", c.GetCallId(), false)
	check.id("call.session_id", c.GetSessionId(), false)
	check.profile("call.profile", c.GetProfile())
	check.id("call.tool", c.GetTool(), true)
	check.text("call.agent.name", c.GetAgent().GetName(), maxAgentBytes)
	check.text("call.agent.version", c.GetAgent().GetVersion(), maxAgentBytes)
	check.text("call.agent.model", c.GetAgent().GetModel(), maxAgentBytes)
	check.text("call.cwd", c.GetCwd(), maxPathBytes)
	check.workspaceDir("call.workspace_dir", c.GetWorkspaceDir())
	check.env("call.env", c.GetEnv())
	args := check.args("call.args_json", c.GetArgsJson())
	timeout := check.timeout("call.timeout", c.GetTimeout())
	if err := check.err(); err != nil {
		return gate.Call{}, err
	}
	return gate.Call{
		ID: c.GetCallId(), Caller: caller, SessionID: c.GetSessionId(), Profile: c.GetProfile(),
		Agent: gate.Agent{Name: c.GetAgent().GetName(), Version: c.GetAgent().GetVersion(), Model: c.GetAgent().GetModel()},
		Tool:  c.GetTool(), Args: args, Cwd: c.GetCwd(), Env: c.GetEnv(), WorkspaceDir: c.GetWorkspaceDir(), Timeout: timeout,
	}, nil
}

func (c *checker) workspaceDir(field, dir string) {
	if dir == "" {
		return
	}
	c.text(field, dir, maxPathBytes)
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir {
		c.bad(field, "is %q: want a clean absolute path", clip(dir))
	}
}

func (c *checker) env(field string, env map[string]string) {
	if len(env) > maxEnvEntries {
		c.bad(field, "has %d entries: want at most %d", len(env), maxEnvEntries)
		return
	}
	total := 0
	for name, value := range env {
		total += len(name) + len(value) + 2
		if !envName(name) {
			c.bad(field, "has the name %q: want [A-Za-z_][A-Za-z0-9_]*", clip(name))
		}
		if strings.IndexByte(value, 0) >= 0 {
			c.bad(field+"["+clip(name)+"]", "has a NUL byte: want text without it")
		}
	}
	if total > maxEnvBytes {
		c.bad(field, "has %d bytes together: want at most %d", total, maxEnvBytes)
	}
}

func envName(s string) bool {
	if s == "" || digit(s[0]) {
		return false
	}
	for i := range len(s) {
		if !letter(s[i]) && !digit(s[i]) && s[i] != '_' {
			return false
		}
	}
	return true
}

func (c *checker) timeout(field string, d *durationpb.Duration) time.Duration {
	if d == nil {
		return 0
	}
	if err := d.CheckValid(); err != nil {
		c.bad(field, "is no valid duration: want %v to %v", minTimeout, maxTimeout)
		return 0
	}
	v := d.AsDuration()
	if v != 0 && (v < minTimeout || v > maxTimeout) {
		c.bad(field, "is %v: want %v to %v, or nothing", v, minTimeout, maxTimeout)
	}
	return v
}

// args checks that text is one JSON object and nothing else. Keys that come
// twice are refused: two readers could take different ones.
func (c *checker) args(field, text string) json.RawMessage {
	if text == "" {
		return json.RawMessage("{}")
	}
	if len(text) > maxArgsBytes {
		c.bad(field, "has %d bytes: want at most %d", len(text), maxArgsBytes)
		return nil
	}
	if i := strings.IndexByte(text, 0); i >= 0 {
		c.bad(field, "has a NUL byte at %d: want JSON text", i)
		return nil
	}
	raw := []byte(text)
	if !json.Valid(raw) {
		var v any
		c.bad(field, "is no JSON: %v: want one JSON object", json.Unmarshal(raw, &v))
		return nil
	}
	if raw = bytes.TrimLeft(raw, " \t\r\n"); raw[0] != '{' {
		c.bad(field, "is not a JSON object: want {\"argument\": value, …}")
		return nil
	}
	if problem := ambiguous(raw); problem != "" {
		c.bad(field, "%s", problem)
		return nil
	}
	return raw
}

// ambiguous says what of a valid JSON text two readers could understand
// differently; empty when nothing is.
func ambiguous(raw []byte) string {
	type level struct {
		keys  map[string]bool // nil for an array
		isKey bool
	}
	var stack []level
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	for {
		tok, err := dec.Token()
		if err != nil { // io.EOF: the text is valid
			return ""
		}
		top := len(stack) - 1
		switch v := tok.(type) {
		case json.Delim:
			switch v {
			case '{', '[':
				if top >= 0 {
					stack[top].isKey = stack[top].keys != nil
				}
				if len(stack) == maxArgsDepth {
					return "is nested too deeply: want at most 64 levels"
				}
				l := level{}
				if v == '{' {
					l = level{keys: map[string]bool{}, isKey: true}
				}
				stack = append(stack, l)
			default:
				stack = stack[:top]
			}
			continue
		case string:
			if stack[top].isKey {
				if stack[top].keys[v] {
					return "has the key \"" + clip(v) + "\" twice: want every key once"
				}
				stack[top].keys[v], stack[top].isKey = true, false
				continue
			}
		}
		stack[top].isKey = stack[top].keys != nil
	}
}

// clip shortens text for an error message, never inside a character.
func clip(s string) string {
	if len(s) <= maxViolationText {
		return s
	}
	cut := maxViolationText
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
