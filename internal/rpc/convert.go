package rpc

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"slices"
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
	maxListed        = 1000
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
	if req.GetDetach() && req.GetDetachOnDisconnect() {
		return gate.Call{}, fieldError("detach_on_disconnect", "is set beside detach: want one of them, since a detached call goes on anyway")
	}
	call.Detach, call.DetachOnDisconnect = req.GetDetach(), req.GetDetachOnDisconnect()
	setStdin(&call, stdin)
	return call, setChanges(&call, req)
}

// setChanges takes up whether the host wants to know what is changed.
func setChanges(call *gate.Call, req interface {
	GetWantChanges() bool
	GetNoChanges() bool
},
) error {
	call.WantChanges, call.NoChanges = req.GetWantChanges(), req.GetNoChanges()
	if call.WantChanges && call.NoChanges {
		return fieldError("no_changes", "is set beside want_changes: want one of them")
	}
	return nil
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
	call.DetachOnDisconnect = req.GetDetachOnDisconnect()
	if err := setChanges(&call, req); err != nil {
		return gate.Call{}, err
	}
	if !req.GetStdin() {
		setStdin(&call, nil)
	}
	if t := req.GetTerminal(); t != nil {
		call.Terminal = &gate.Terminal{Term: t.GetTerm()}
		if t.GetSize() != nil {
			call.Terminal.Size, err = convertSize("terminal.size", t.GetSize())
		}
	}
	return call, err
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
// differently; empty when nothing is. It looks at keys alone, so it need not
// decode the rest.
func ambiguous(raw []byte) string {
	var stack []keys // of each object around; empty for an array
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '{', '[':
			if len(stack) == maxArgsDepth {
				return "is nested too deeply: want at most 64 levels"
			}
			stack = append(stack, keys{})
		case '}', ']':
			stack = stack[:len(stack)-1]
		case '"':
			end := endOfString(raw, i)
			if !isKey(raw[end:]) {
				i = end - 1
				continue
			}
			key := string(raw[i+1 : end-1])
			if strings.IndexByte(key, '\\') >= 0 {
				if err := json.Unmarshal(raw[i:end], &key); err != nil { // it was valid
					return "cannot be read"
				}
			}
			if !stack[len(stack)-1].add(key) {
				return "has the key \"" + clip(key) + "\" twice: want every key once"
			}
			i = end - 1
		}
	}
	return ""
}

// keys are those of one object so far.
type keys struct {
	few  []string
	many map[string]bool // all of them, once they are no longer few
}

// add reports whether the key is new.
func (k *keys) add(key string) bool {
	if k.many[key] || slices.Contains(k.few, key) {
		return false
	}
	switch {
	case k.many != nil:
		k.many[key] = true
	case len(k.few) < 16:
		k.few = append(k.few, key)
	default:
		k.many = make(map[string]bool, 2*len(k.few))
		for _, old := range append(k.few, key) {
			k.many[old] = true
		}
		k.few = nil
	}
	return true
}

// endOfString returns where the string ends that begins at start.
func endOfString(raw []byte, start int) int {
	for i := start + 1; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(raw)
}

// isKey reports whether what follows a string makes it the key of an object.
func isKey(rest []byte) bool {
	rest = bytes.TrimLeft(rest, " \t\r\n")
	return len(rest) > 0 && rest[0] == ':'
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
