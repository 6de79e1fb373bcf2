package replay

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/proposal"
	"github.com/sandgate/sandgate/internal/scenario"
	"github.com/sandgate/sandgate/internal/seen"
)

// maxLine bounds one record of a log.
const maxLine = 32 << 20

// Reader turns logs into calls. It is used by one goroutine.
type Reader struct {
	// Catalog declares the tools of the calls.
	Catalog *catalog.Catalog
	// KeepFacts decides stored inputs with the facts that they hold; otherwise the
	// facts are derived anew from the arguments, as the gate would today.
	KeepFacts bool
	// Environment of the daemon, which a journal does not hold.
	Environment string
	// Workspace is what path facts are derived from, since a log holds no files.
	// Nil means an empty one.
	Workspace facts.FS

	sessions map[sessionKey]*memory
	order    []sessionKey // of sessions, the oldest first
}

type sessionKey struct{ caller, session string }

// memory is what the policy saw of a session, put together from its records.
type memory struct {
	seq    int64
	counts map[string]int
	labels []string
	recent []policy.RecentCall
	life   *seen.Life                   // nil: not known
	begun  map[string]policy.RecentCall // calls that have not ended, by id
}

const (
	maxSessions = 10_000
	maxRecent   = 20
	maxBegun    = 1_000 // calls of one session that have not ended
)

// record is a line of our journal or of a decision log of OPA's kind.
type record struct {
	// A journal.
	Kind    string          `json:"kind"`
	Time    string          `json:"time"`
	Caller  string          `json:"caller"`
	Session string          `json:"session"`
	CallID  string          `json:"call_id"`
	Data    json.RawMessage `json:"data"`
	// A decision log, or lines with the document itself.
	Path      string          `json:"path"`
	Input     json.RawMessage `json:"input"`
	Result    json.RawMessage `json:"result"`
	Decision  json.RawMessage `json:"decision"`
	Erased    []string        `json:"erased"`
	Masked    []string        `json:"masked"`
	Timestamp string          `json:"timestamp"`
}

// journalCall is the data of an intent or a decision of the journal.
type journalCall struct {
	Digest      string              `json:"digest"`
	Tool        string              `json:"tool"`
	Args        json.RawMessage     `json:"args"`
	ArgsShape   json.RawMessage     `json:"args_shape"`
	Cwd         string              `json:"cwd"`
	Env         json.RawMessage     `json:"env"`
	EnvNames    []string            `json:"env_names"`
	StdinDigest string              `json:"stdin_digest"`
	Detached    bool                `json:"detached"`
	Terminal    bool                `json:"terminal"`
	Outcome     string              `json:"outcome"` // of a refusal, or of the end of a call
	StdinBytes  *int64              `json:"stdin_bytes"`
	Profile     string              `json:"profile"`
	Agent       *policy.AgentInput  `json:"agent"`
	Peer        *policy.CallerInput `json:"peer"`
	Decision    policy.Decision     `json:"decision"`
	Event       string              `json:"event"` // of a session
	Saw         *seen.Call          `json:"saw"`   // nil: written by an older daemon
}

// Read yields the calls of one log, a JSON document a line: the journal, or
// decisions as OPA logs them. Lines that are about something else are left out.
// The error names the line that is neither.
func (r *Reader) Read(name string, in io.Reader, yield func(Call) bool) error {
	lines := bufio.NewReaderSize(in, 256<<10)
	for n := 1; ; n++ {
		line, err := readLine(lines)
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
		zeros := bytes.IndexByte(line, 0) >= 0
		// A journal that is being written ends in zeros.
		if line = bytes.TrimSpace(bytes.Trim(line, "\x00")); len(line) == 0 {
			continue
		}
		var rec record
		if err := json.Unmarshal(line, &rec); err != nil {
			if zeros { // a record of which only a part is written
				continue
			}
			return fmt.Errorf("%s:%d: want a JSON object a line, as the journal or a decision log has it: %w", name, n, err)
		}
		c, ok := r.call(fmt.Sprintf("%s:%d", name, n), &rec)
		if ok && !yield(c) {
			return nil
		}
	}
}

func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return nil, fmt.Errorf("the line has more than %d bytes", maxLine)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

func (r *Reader) call(place string, rec *record) (Call, bool) {
	switch {
	case len(rec.Input) > 0:
		return r.logged(place, rec), true
	case rec.Kind == "intent" || rec.Kind == "decision" || rec.Kind == "session" || rec.Kind == "outcome":
		return r.journalled(place, rec)
	case rec.Path == "sandgate/decision" || rec.Path == "/sandgate/decision":
		return Call{Place: place, Input: unreplayable("the log holds no input")}, true
	}
	return Call{}, false
}

func unreplayable(reason string) func() (Document, error) {
	return func() (Document, error) { return Document{}, &Unreplayable{reason} }
}

// logged is a line that holds the input itself.
func (r *Reader) logged(place string, rec *record) Call {
	var in struct {
		Schema  string             `json:"schema"`
		Caller  policy.CallerInput `json:"caller"`
		Session struct {
			ID string `json:"id"`
		} `json:"session"`
		Call struct {
			Tool string          `json:"tool"`
			Args json.RawMessage `json:"args"`
		} `json:"call"`
	}
	c := Call{Place: place}
	if err := json.Unmarshal(rec.Input, &in); err != nil {
		c.Input = unreplayable("input is of another form")
		return c
	}
	c.Tool, c.Caller, c.Session, c.Text = in.Call.Tool, in.Caller.ID, in.Session.ID, callText(in.Call.Args)
	result := rec.Result
	if len(result) == 0 {
		result = rec.Decision
	}
	var before policy.Decision
	if err := json.Unmarshal(result, &before); err == nil && before.Outcome != "" {
		c.Before = &before
	}
	switch {
	case in.Schema != policy.InputSchema:
		c.Input = unreplayable("input schema " + in.Schema)
	case len(rec.Erased) > 0 || len(rec.Masked) > 0:
		c.Input = unreplayable("masked by the decision log")
	case isMasked(in.Call.Args):
		c.Input = unreplayable("masked")
	case r.KeepFacts:
		raw := slices.Clone(rec.Input)
		c.Input = func() (Document, error) { return Document{Raw: raw}, nil }
	default:
		raw := slices.Clone(rec.Input)
		c.Input = func() (Document, error) { return r.rederive(raw) }
	}
	return c
}

// rederive is a stored input with its facts derived anew.
func (r *Reader) rederive(raw json.RawMessage) (Document, error) {
	var in policy.Input
	if err := json.Unmarshal(raw, &in); err != nil {
		return Document{}, &Unreplayable{"input is of another form"}
	}
	tool, err := r.Catalog.Lookup(in.Call.Tool)
	if err != nil {
		return Document{}, &Unreplayable{"unknown tool " + in.Call.Tool + ": use --tools"}
	}
	in.Call, in.Tool, err = proposal.Build(tool, proposal.Call{
		ID: in.Call.ID, Args: in.Call.Args, Cwd: in.Call.Cwd, Env: in.Call.Env,
		StdinBytes: in.Call.StdinBytes, Digest: in.Call.Digest, StdinDigest: in.Call.StdinDigest, Detached: in.Call.Detached,
		Terminal: in.Call.Terminal,
	}, r.workspace())
	if err != nil {
		return Document{}, &Unreplayable{"the call is refused before the policy today"}
	}
	return Document{Input: &in}, nil
}

func (r *Reader) workspace() facts.FS {
	if r.Workspace == nil {
		return facts.NewMemFS(nil, nil)
	}
	return r.Workspace
}

// journalled is an intent or a decision of the journal.
func (r *Reader) journalled(place string, rec *record) (Call, bool) {
	var data journalCall
	if err := json.Unmarshal(rec.Data, &data); err != nil {
		return Call{Place: place, Caller: rec.Caller, Input: unreplayable("record is of another form")}, rec.Kind == "intent" || rec.Kind == "decision"
	}
	key := sessionKey{rec.Caller, rec.Session}
	switch rec.Kind {
	case "session":
		if data.Event == "created" || data.Event == "ended" { // else something was done with its files
			delete(r.sessions, key)
		}
		return Call{}, false
	case "outcome":
		r.sessions[key].ended(rec.CallID, data.Outcome)
		return Call{}, false
	}
	c := Call{Place: place, Tool: data.Tool, Caller: rec.Caller, Session: rec.Session, Text: callText(data.Args), Before: &data.Decision}
	state := r.remember(key, rec, &data)
	env := map[string]string{}
	switch {
	case len(data.ArgsShape) > 0:
		c.Input = unreplayable("audit level shape: no arguments kept")
	case isTruncated(data.Args) || isTruncated(data.Env):
		c.Input = unreplayable("truncated")
	case isMasked(data.Args) || isMasked(data.Env):
		c.Input = unreplayable("masked")
	case len(data.EnvNames) > 0:
		c.Input = unreplayable("audit level shape: no environment kept")
	case len(data.Env) > 0 && json.Unmarshal(data.Env, &env) != nil:
		c.Input = unreplayable("record is of another form")
	default:
		c.Input = func() (Document, error) { return r.rebuild(rec, &data, env, state) }
	}
	return c, true
}

// remember returns what the session was before this call, and counts the call.
func (r *Reader) remember(key sessionKey, rec *record, data *journalCall) memory {
	if key.session == "" {
		return memory{}
	}
	if r.sessions == nil {
		r.sessions = map[sessionKey]*memory{}
	}
	m := r.sessions[key]
	if m == nil {
		m = &memory{counts: map[string]int{"allow": 0, "ask": 0, "deny": 0}}
		r.sessions[key] = m
		if r.order = append(r.order, key); len(r.order) > maxSessions {
			delete(r.sessions, r.order[0])
			r.order = r.order[1:]
		}
	}
	at := rec.Time
	if data.Saw != nil {
		at = data.Saw.At
		if data.Saw.Life != nil {
			m.life = data.Saw.Life
		}
	}
	before := memory{life: m.life, seq: m.seq, counts: maps.Clone(m.counts), labels: slices.Clone(m.labels), recent: slices.Clone(m.recent)}
	m.seq++
	m.counts[string(data.Decision.Outcome)]++
	if data.Decision.Outcome == policy.Allow {
		for _, label := range data.Decision.Labels {
			if !slices.Contains(m.labels, label) {
				m.labels = append(m.labels, label)
			}
		}
	}
	recent := policy.RecentCall{Seq: m.seq, Time: at, Tool: data.Tool, Outcome: data.Outcome, Digest: data.Digest}
	if rec.Kind == "decision" {
		m.add(recent)
		return before
	}
	if m.begun == nil || len(m.begun) >= maxBegun {
		m.begun = map[string]policy.RecentCall{}
	}
	m.begun[rec.CallID] = recent
	return before
}

// add remembers a call that has ended.
func (m *memory) add(c policy.RecentCall) {
	m.recent = append(m.recent, c)
	if len(m.recent) > maxRecent {
		m.recent = slices.Clone(m.recent[1:])
	}
}

// ended takes up the end of a call. m may be nil.
func (m *memory) ended(id, outcome string) {
	if m == nil {
		return
	}
	c, ok := m.begun[id]
	if delete(m.begun, id); ok && outcome != "NOT_RUN" {
		c.Outcome = outcome
		m.add(c)
	}
}

func (r *Reader) rebuild(rec *record, data *journalCall, env map[string]string, state memory) (Document, error) {
	tool, err := r.Catalog.Lookup(data.Tool)
	if err != nil {
		return Document{}, &Unreplayable{"unknown tool " + data.Tool + ": use --tools"}
	}
	in := policy.Input{
		DecisionID: data.Decision.ID, Time: rec.Time, Caller: policy.CallerInput{ID: rec.Caller},
		Session: policy.SessionInput{
			ID: rec.Session, Profile: data.Profile, Seq: state.seq, Counts: state.counts, Labels: state.labels, Recent: state.recent,
		},
	}
	in.Daemon.Environment = r.Environment
	if _, err := time.Parse(time.RFC3339Nano, rec.Time); err != nil {
		return Document{}, &Unreplayable{"record without a time"}
	}
	if data.Peer != nil {
		in.Caller = *data.Peer
	}
	if data.Agent != nil {
		in.Agent = *data.Agent
	}
	workspace, guesses := r.remembered(&in, data.Saw)
	guesses = append(guesses, lived(&in.Session, data.Saw, state.life)...)
	in.Call, in.Tool, err = proposal.Build(tool, proposal.Call{
		ID: rec.CallID, Args: data.Args, Cwd: data.Cwd, Env: env,
		StdinBytes: data.StdinBytes, Digest: data.Digest, StdinDigest: data.StdinDigest, Detached: data.Detached,
		Terminal: data.Terminal,
	}, workspace)
	if err != nil {
		return Document{}, &Unreplayable{"the call is refused before the policy today"}
	}
	if then, ok := workspace.(*seen.Replay); ok && then.Missed {
		guesses = append(guesses, "files are looked up that were not then")
	}
	return Document{Input: &in, Approximate: strings.Join(guesses, ", ")}, nil
}

// remembered puts into the input what the record says that the policy saw, and
// tells what it does not say.
func (r *Reader) remembered(in *policy.Input, saw *seen.Call) (workspace facts.FS, guesses []string) {
	if saw == nil || saw.Version != seen.Version {
		if in.Session.ID != "" {
			guesses = append(guesses, "the session is put together from the records")
		}
		return r.workspace(), append(guesses, "the workspace is not recorded")
	}
	in.Time = saw.At
	if r.Environment == "" {
		in.Daemon.Environment = saw.Environment
	}
	if in.Session.Seq != saw.Seq {
		guesses = append(guesses, "the log does not hold the calls before")
		in.Session.Recent = nil
	}
	in.Session.Seq = saw.Seq
	if len(saw.Counts) == 3 {
		in.Session.Counts = map[string]int{"allow": saw.Counts[0], "ask": saw.Counts[1], "deny": saw.Counts[2]}
	}
	if !slices.Contains(saw.Cut, "labels") {
		in.Session.Labels = saw.Labels
	} else {
		guesses = append(guesses, "too many labels to be recorded")
	}
	in.Session.Granted = saw.Granted
	for i := range saw.Granted {
		in.Session.Grants = append(in.Session.Grants, saw.Granted[i].ID)
	}
	if slices.Contains(saw.Cut, "grants") {
		guesses = append(guesses, "too many grants to be recorded")
	}
	if slices.Contains(saw.Cut, "fs") {
		return r.workspace(), append(guesses, "too many files to be recorded")
	}
	if r.Workspace != nil {
		return r.Workspace, guesses
	}
	return saw.Workspace(), guesses
}

// lived puts into the input what the session was made with and what it had used.
func lived(in *policy.SessionInput, saw *seen.Call, life *seen.Life) (guesses []string) {
	if in.ID == "" || saw == nil || saw.Version != seen.Version {
		return nil
	}
	if life == nil {
		return []string{"the log does not hold how the session was made"}
	}
	in.Kind, in.Created, in.Expires, in.Quota, in.HostLabels = life.Kind, life.Created, life.Expires, life.Quota, life.HostLabels
	in.Usage = &policy.SessionUsageInput{Calls: int64(in.Counts[string(policy.Allow)]), CPUMs: saw.CPUMs}
	if slices.Contains(saw.Cut, "host_labels") {
		guesses = append(guesses, "too many labels of the host to be recorded")
	}
	return guesses
}

// Cases yields the calls of scenario files; what they want is the decision
// before.
func Cases(runner scenario.Runner, suites []scenario.Suite, yield func(Call) bool) {
	for _, suite := range suites {
		for _, c := range suite.Cases {
			want := policy.Decision{Outcome: c.Want.Outcome}
			for _, rule := range c.Want.Rules {
				want.Reasons = append(want.Reasons, policy.Reason{Rule: rule})
			}
			call := Call{
				Place: fmt.Sprintf("%s:%d", suite.File, c.Line), Tool: c.Call.Tool, Caller: c.Caller.ID,
				Text: callText(c.Call.Args), Before: &want,
			}
			call.Input = func() (Document, error) {
				in, err := runner.Input(suite.Workspace, c)
				if err != nil {
					return Document{}, &Unreplayable{"the call is refused before the policy"}
				}
				return Document{Input: &in}, nil
			}
			if !yield(call) {
				return
			}
		}
	}
}

// isMasked finds what the journal puts in the place of a secret.
func isMasked(raw json.RawMessage) bool { return bytes.Contains(raw, []byte("[masked]")) }

// isTruncated finds what the journal keeps of what is too large.
func isTruncated(raw json.RawMessage) bool {
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) || !bytes.Contains(raw, []byte(`"truncated":true`)) {
		return false
	}
	var doc struct {
		Truncated bool   `json:"truncated"`
		SHA256    string `json:"sha256"`
	}
	return json.Unmarshal(raw, &doc) == nil && doc.Truncated && doc.SHA256 != ""
}

const maxText = 120

// callText is the command of a call, or its arguments, shortened.
func callText(args json.RawMessage) string {
	var doc struct {
		Command *string `json:"command"`
	}
	text := string(args)
	if err := json.Unmarshal(args, &doc); err == nil && doc.Command != nil {
		text = *doc.Command
	}
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}
