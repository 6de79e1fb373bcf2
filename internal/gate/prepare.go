package gate

import (
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/containerd/errdefs"
	"github.com/google/uuid"

	"github.com/sandgate/sandgate/internal/approval"
	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/seen"
	"github.com/sandgate/sandgate/internal/session"
	"github.com/sandgate/sandgate/sandbox"
)

// Bounds of a call beside its arguments.
const (
	maxCallIDBytes = 128
	maxCwdBytes    = 4096
	maxEnvVars     = 256
	maxEnvBytes    = 128 << 10
	maxAgentBytes  = 256
	maxCallerBytes = 1024
)

// reservedEnv is the prefix of names that only sandgate may set.
const reservedEnv = "SANDGATE_"

var (
	envNameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,255}$`)
	digestForm  = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// prepared is a call that has been found valid. Everything after works on it
// and never on the host's own bytes: what policy sees, what the digest covers
// and what runs are the same canonical arguments.
type prepared struct {
	call    Call // Args canonical, Cwd absolute, WorkspaceDir without symlinks
	tool    catalog.Tool
	command catalog.Command
	profile string
	digest  string
	looked  *seen.Workspace            // what its facts were derived from; nil before
	held    map[string][]approval.File // what grants that live for it are held to, by their ids
	saw     *policy.Input              // what policy saw of a call that it made itself; nil: it did not
}

func (p *prepared) key() callKey { return callKey{p.call.Caller.ID, p.call.ID} }

// prepare checks the whole call. It has no effects.
func (g *Gate) prepare(call Call) (*prepared, error) {
	if err := checkIdentity(&call); err != nil {
		return nil, err
	}
	tool, err := g.cfg.Catalog.Lookup(call.Tool)
	if err != nil {
		return nil, err
	}
	if len(call.Args) == 0 {
		call.Args = json.RawMessage("{}")
	}
	// What policy sees, what the digest covers and what runs is the canonical text.
	var command catalog.Command
	if call.Args, command, err = tool.Accept(call.Args); err != nil {
		return nil, err
	}
	if err := checkEnvironment(&call, tool); err != nil {
		return nil, err
	}
	if err := checkTerminal(&call, tool); err != nil {
		return nil, err
	}
	if err := g.checkWorkspace(&call); err != nil {
		return nil, err
	}
	profile, err := g.profileOf(&call)
	if err != nil {
		return nil, err
	}
	p := &prepared{call: call, tool: tool, command: command, profile: profile}
	if p.digest, err = digestOf(&call); err != nil {
		return nil, err
	}
	return p, nil
}

func checkIdentity(call *Call) error {
	if call.Caller.ID == "" || len(call.Caller.ID) > maxCallerBytes || !plainText(call.Caller.ID) {
		return fmt.Errorf("the caller is not known: %w", errdefs.ErrUnauthenticated)
	}
	if call.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("make call id: %w", err)
		}
		call.ID = id.String()
	}
	if err := checkCallID(call.ID); err != nil {
		return err
	}
	if call.SessionID != "" {
		if err := session.ValidateID(call.SessionID); err != nil {
			return err
		}
	}
	for _, f := range []struct{ name, value string }{
		{"agent.name", call.Agent.Name}, {"agent.version", call.Agent.Version}, {"agent.model", call.Agent.Model},
	} {
		if len(f.value) > maxAgentBytes || !plainText(f.value) {
			return &FieldError{f.name, "is too long or not plain text", fmt.Sprintf("at most %d bytes of UTF-8", maxAgentBytes)}
		}
	}
	return nil
}

func checkCallID(id string) error {
	bad := id == "" || len(id) > maxCallIDBytes || id == "." || id == ".."
	for i := 0; i < len(id) && !bad; i++ {
		c := id[i]
		bad = (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-'
	}
	if bad {
		return &FieldError{"call_id", "is not valid", fmt.Sprintf("1 to %d characters of [A-Za-z0-9._-]", maxCallIDBytes)}
	}
	return nil
}

// checkEnvironment checks cwd, env, stdin and timeout, and makes cwd absolute.
func checkEnvironment(call *Call, tool catalog.Tool) error {
	if len(call.Cwd) > maxCwdBytes || !plainText(call.Cwd) {
		return &FieldError{"cwd", "is too long or not plain text", fmt.Sprintf("a path of at most %d bytes", maxCwdBytes)}
	}
	if strings.Contains(call.Cwd, "..") && slices.Contains(strings.Split(call.Cwd, "/"), "..") {
		return &FieldError{"cwd", `has ".." in it`, "a path that names its directory directly"}
	}
	if !path.IsAbs(call.Cwd) {
		call.Cwd = path.Join(sandbox.WorkspacePath, call.Cwd)
	}
	call.Cwd = path.Clean(call.Cwd)
	if len(call.Env) > maxEnvVars {
		return &FieldError{"env", fmt.Sprintf("has %d variables", len(call.Env)), fmt.Sprintf("at most %d", maxEnvVars)}
	}
	total := 0
	for _, name := range sortedKeys(call.Env) {
		value := call.Env[name]
		total += len(name) + len(value) + 2
		field := fmt.Sprintf("env[%.40q]", name)
		switch {
		case !envNameForm.MatchString(name):
			return &FieldError{field, "is no name of a variable", "letters, digits and _, not beginning with a digit"}
		case strings.HasPrefix(name, reservedEnv):
			return &FieldError{field, "is reserved", "a name that does not begin with " + reservedEnv}
		case !plainText(value):
			return &FieldError{field, "has a value with a NUL byte or invalid UTF-8", "plain text"}
		}
	}
	if total > maxEnvBytes {
		return &FieldError{"env", fmt.Sprintf("is %d bytes", total), fmt.Sprintf("at most %d", maxEnvBytes)}
	}
	if call.Timeout < 0 {
		return &FieldError{"timeout", "is negative", "a duration above 0, or none"}
	}
	return checkStdin(call, tool)
}

func checkStdin(call *Call, tool catalog.Tool) error {
	if call.StdinBytes != nil && *call.StdinBytes == 0 {
		call.Stdin, call.StdinDigest = nil, ""
	}
	if call.Stdin == nil {
		if call.StdinDigest != "" || (call.StdinBytes != nil && *call.StdinBytes != 0) {
			return &FieldError{"stdin", "is announced but missing", "the bytes, or no digest and size"}
		}
		call.StdinBytes = new(int64)
		return nil
	}
	if !tool.TakesStdin() {
		return &FieldError{"stdin", fmt.Sprintf("is given, but the tool %s takes none", tool.Name), "no stdin"}
	}
	if call.StdinDigest != "" && !digestForm.MatchString(call.StdinDigest) {
		return &FieldError{"stdin digest", "is not valid", `"sha256:" and 64 hexadecimal digits`}
	}
	if call.StdinBytes != nil && *call.StdinBytes < 0 {
		return &FieldError{"stdin size", "is negative", "the number of bytes"}
	}
	return nil
}

// checkWorkspace resolves the directory of the machine that the call wants to
// work on, and asks whether the caller may. The error tells nothing of
// directories that the caller may not have.
func (g *Gate) checkWorkspace(call *Call) error {
	dir := call.WorkspaceDir
	if dir == "" {
		return nil
	}
	if !plainText(dir) || !filepath.IsAbs(dir) || len(dir) > maxCwdBytes {
		return &FieldError{"workspace_dir", "is not valid", "an absolute path of this machine"}
	}
	if g.cfg.WorkspaceDirs == nil {
		return fmt.Errorf("workspace_dir: this daemon binds no directories of the machine (its configuration names none): %w", errdefs.ErrPermissionDenied)
	}
	// The path as given is asked about first, so that what exists on the machine
	// cannot be probed.
	if err := g.cfg.WorkspaceDirs(call.Caller, filepath.Clean(dir)); err != nil {
		return denyDir(dir, err)
	}
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("workspace_dir %q cannot be used (%v): %w", dir, err, errdefs.ErrFailedPrecondition)
	}
	if err := g.cfg.WorkspaceDirs(call.Caller, resolved); err != nil {
		return denyDir(dir, err)
	}
	call.WorkspaceDir = resolved
	return nil
}

func denyDir(dir string, err error) error {
	if errdefs.IsPermissionDenied(err) {
		return fmt.Errorf("workspace_dir %q: %w", dir, err)
	}
	return fmt.Errorf("workspace_dir %q: %w: %w", dir, errdefs.ErrPermissionDenied, err)
}

// profileOf returns the profile that decides this call: the one that the call
// names, else the one its session has, else the caller's default.
func (g *Gate) profileOf(call *Call) (string, error) {
	given := g.cfg.Profiles(call.Caller)
	call.Caller.Tenant = given.Tenant
	profile := call.Profile
	if profile == "" && call.SessionID != "" {
		pinned, ok, err := g.cfg.Sessions.Profile(call.Caller.ID, call.SessionID)
		if err != nil {
			return "", err
		}
		if ok {
			profile = pinned
		}
	}
	if profile == "" {
		profile = given.Default
	}
	return profile, given.permit(profile)
}

func (p Profiles) permit(profile string) error {
	if profile == "" {
		return fmt.Errorf("the configuration gives this caller no profile: %w", errdefs.ErrPermissionDenied)
	}
	if profile == p.Default || slices.Contains(p.Allowed, profile) {
		return nil
	}
	have := slices.Clone(p.Allowed)
	if p.Default != "" && !slices.Contains(have, p.Default) {
		have = append(have, p.Default)
	}
	slices.Sort(have)
	return fmt.Errorf("profile %q is not among this caller's (%s): %w", profile, strings.Join(have, ", "), errdefs.ErrPermissionDenied)
}

func plainText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
