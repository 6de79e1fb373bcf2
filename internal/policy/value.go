package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/sandgate/sandgate/internal/facts"
)

// value is the document as OPA takes it. It is built member by member, since
// the way over JSON text costs more than most decisions; TestValueIsTheJSON
// holds it to what encoding/json would write, for every field.
func (in *Input) value() (ast.Value, error) { return in.valueOf(allNeeds, nil) }

// valueOf is the document without what is not needed. The constants are terms
// of parts that were built before; nil for none.
func (in *Input) valueOf(n needs, c *constants) (ast.Value, error) {
	b := &valueBuilder{items: c.stack(), needs: n, constants: c}
	doc := b.input(in)
	c.putStack(b.items)
	return doc.Value, b.err
}

// valueBuilder makes terms. Members of the object that is being built are on
// the top of a stack, so that nested objects share it.
type valueBuilder struct {
	items [][2]*ast.Term
	terms []ast.Term // to be handed out, so that one allocation makes many
	err   error      // the first

	needs     needs
	constants *constants // nil: none
}

const termsAtOnce = 32

func (b *valueBuilder) term(v ast.Value) *ast.Term {
	if len(b.terms) == 0 {
		b.terms = make([]ast.Term, termsAtOnce)
	}
	t := &b.terms[0]
	b.terms = b.terms[1:]
	t.Value = v
	return t
}

func (b *valueBuilder) put(key, value *ast.Term) {
	b.items = append(b.items, [2]*ast.Term{key, value})
}

// object takes the members since mark off the stack.
func (b *valueBuilder) object(mark int) *ast.Term {
	if len(b.items) == mark {
		return ast.InternedEmptyObject
	}
	obj := ast.NewObject(b.items[mark:]...)
	b.items = b.items[:mark]
	return b.term(obj)
}

// text is a string as encoding/json writes it: each byte that is not UTF-8
// becomes U+FFFD.
func (b *valueBuilder) text(s string) *ast.Term {
	if s == "" {
		return ast.InternedEmptyString
	}
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	return b.term(ast.String(s))
}

func (b *valueBuilder) number(n int64) *ast.Term {
	if ast.HasInternedValue(n) {
		return ast.InternedTerm(n)
	}
	return b.term(ast.Number(strconv.FormatInt(n, 10)))
}

// The put functions with "If" leave out what is zero, as omitempty does.

func (b *valueBuilder) putText(key *ast.Term, s string)  { b.put(key, b.text(s)) }
func (b *valueBuilder) putInt(key *ast.Term, n int64)    { b.put(key, b.number(n)) }
func (b *valueBuilder) putBool(key *ast.Term, flag bool) { b.put(key, ast.InternedTerm(flag)) }

func (b *valueBuilder) putTextIf(key *ast.Term, s string) {
	if s != "" {
		b.putText(key, s)
	}
}

func (b *valueBuilder) putIntIf(key *ast.Term, n int64) {
	if n != 0 {
		b.putInt(key, n)
	}
}

func (b *valueBuilder) putBoolIf(key *ast.Term, flag *bool) {
	if flag != nil {
		b.putBool(key, *flag)
	}
}

func (b *valueBuilder) putPointerIf(key *ast.Term, s *string) {
	if s != nil {
		b.putText(key, *s)
	}
}

func (b *valueBuilder) putNumberIf(key *ast.Term, n *int) {
	if n != nil {
		b.putInt(key, int64(*n))
	}
}

// list is an array of what each makes of the items; nil becomes null.
func list[T any](b *valueBuilder, items []T, each func(*T) *ast.Term) *ast.Term {
	if items == nil {
		return ast.InternedNullTerm
	}
	if len(items) == 0 {
		return ast.InternedEmptyArray
	}
	terms := make([]*ast.Term, len(items))
	for i := range items {
		terms[i] = each(&items[i])
	}
	return b.term(ast.NewArray(terms...))
}

func (b *valueBuilder) texts(items []string) *ast.Term {
	return list(b, items, func(s *string) *ast.Term { return b.text(*s) })
}

// putMap puts an object of what each makes of the values; nil becomes null. A
// name that is not UTF-8 is an error: two of them could become the same.
func putMap[V any](b *valueBuilder, key *ast.Term, m map[string]V, each func(V) *ast.Term) {
	if m == nil {
		b.put(key, ast.InternedNullTerm)
		return
	}
	checkNames(b, m)
	mark := len(b.items)
	for name, value := range m {
		b.put(b.text(name), each(value))
	}
	b.put(key, b.object(mark))
}

func checkNames[V any](b *valueBuilder, m map[string]V) {
	for name := range m {
		if !utf8.ValidString(name) {
			b.fail(fmt.Errorf("the name %q is not valid UTF-8", name))
		}
	}
}

func (b *valueBuilder) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

func (b *valueBuilder) input(in *Input) *ast.Term {
	mark := len(b.items)
	b.putText(keySchema, in.Schema)
	if b.needs.ids {
		b.putText(keyDecisionID, in.DecisionID)
	}
	if b.needs.time {
		b.putText(keyTime, in.Time)
	}
	b.put(keyCaller, b.caller(&in.Caller))
	if b.needs.agent && in.Agent != (AgentInput{}) {
		b.put(keyAgent, b.agent(&in.Agent))
	}
	b.put(keySession, b.session(&in.Session))
	b.put(keyCall, b.call(&in.Call))
	b.put(keyTool, b.declared(&in.Tool))
	if len(in.Tools) > 0 {
		b.put(keyTools, list(b, in.Tools, b.tool))
	}
	if b.needs.sandbox {
		b.put(keySandbox, b.ceiling(&in.Sandbox))
	}
	daemon := len(b.items)
	if b.needs.daemon {
		b.putText(keyVersion, in.Daemon.Version)
		b.putText(keyPolicyRevision, in.Daemon.Revision)
	}
	b.putTextIf(keyEnvironment, in.Daemon.Environment)
	b.put(keyDaemon, b.object(daemon))
	if in.Proposed != nil || in.Ended != nil || in.Changes != nil || in.Totals != nil {
		b.effects(in)
	}
	return b.object(mark)
}

func (b *valueBuilder) caller(c *CallerInput) *ast.Term {
	mark := len(b.items)
	if b.needs.caller {
		b.putText(keyID, c.ID)
		b.putText(keyTransport, c.Transport)
		b.putNumberIf(keyUID, c.UID)
		b.putNumberIf(keyGID, c.GID)
		b.putNumberIf(keyPID, c.PID)
		b.putTextIf(keyExe, c.Exe)
	}
	b.putTextIf(keyTenant, c.Tenant)
	return b.object(mark)
}

func (b *valueBuilder) agent(a *AgentInput) *ast.Term {
	mark := len(b.items)
	b.putTextIf(keyName, a.Name)
	b.putTextIf(keyVersion, a.Version)
	b.putTextIf(keyModel, a.Model)
	return b.object(mark)
}

func (b *valueBuilder) session(s *SessionInput) *ast.Term {
	mark := len(b.items)
	if b.needs.session {
		b.putTextIf(keyID, s.ID)
	}
	b.putText(keyProfile, s.Profile)
	if b.needs.seq {
		b.putInt(keySeq, s.Seq)
	}
	if b.needs.counts {
		putMap(b, keyCounts, s.Counts, func(n int) *ast.Term { return b.number(int64(n)) })
	} else {
		checkNames(b, s.Counts)
	}
	b.put(keyLabels, b.texts(s.Labels))
	if b.needs.recent {
		b.put(keyRecent, list(b, s.Recent, b.recent))
	}
	b.put(keyGrants, b.texts(s.Grants))
	b.lived(s)
	if len(s.Granted) > 0 {
		b.put(keyGranted, list(b, s.Granted, b.grant))
	}
	return b.object(mark)
}

func (b *valueBuilder) recent(r *RecentCall) *ast.Term {
	mark := len(b.items)
	b.putInt(keySeq, r.Seq)
	b.putTextIf(keyTime, r.Time)
	b.putText(keyTool, r.Tool)
	b.putText(keyOutcome, r.Outcome)
	b.putText(keyDigest, r.Digest)
	return b.object(mark)
}

func (b *valueBuilder) call(c *CallInput) *ast.Term {
	mark := len(b.items)
	if b.needs.ids {
		b.putText(keyID, c.ID)
	}
	b.putText(keyTool, c.Tool)
	b.put(keyArgs, b.args(c.Args))
	b.putText(keyCwd, c.Cwd)
	putMap(b, keyEnv, c.Env, b.text)
	if c.StdinBytes != nil {
		b.putInt(keyStdinBytes, *c.StdinBytes)
	}
	b.putTextIf(keyStdinDigest, c.StdinDigest)
	if c.Detached {
		b.putBool(keyDetached, true)
	}
	if c.Terminal {
		b.putBool(keyTerminal, true)
	}
	if b.needs.digest {
		b.putText(keyDigest, c.Digest)
	}
	b.putTextIf(keyTransformedFrom, c.TransformedFrom)
	if c.Shell != nil {
		b.put(keyShell, b.shell(c.Shell))
	}
	if len(c.Files) > 0 {
		b.put(keyFiles, list(b, c.Files, b.file))
	}
	b.programs(c.Git, c.Kubectl, c.Python)
	return b.object(mark)
}

// args is the one part that comes as JSON text.
func (b *valueBuilder) args(raw json.RawMessage) *ast.Term {
	if raw == nil {
		return ast.InternedNullTerm
	}
	value, err := parseJSON(raw)
	if err != nil {
		b.fail(fmt.Errorf("arguments: %w", err))
		return ast.InternedNullTerm
	}
	return b.term(value)
}

// parseJSON reads one JSON document and nothing after it.
func parseJSON(raw []byte) (ast.Value, error) {
	if !hasNumber(raw) {
		var doc any
		if err := json.Unmarshal(raw, &doc); err == nil {
			return ast.InterfaceToValue(doc)
		} // the error is told as below
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON document")
	}
	return ast.InterfaceToValue(doc)
}

// hasNumber tells whether a JSON text has a number, which only a decoder leaves as
// it is spelt. Without one it is read with a third of the garbage.
func hasNumber(raw []byte) bool {
	quoted := false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case !quoted && (c == '-' || c >= '0' && c <= '9'):
			return true
		}
	}
	return false
}

func (b *valueBuilder) tool(t *ToolInput) *ast.Term {
	mark := len(b.items)
	b.putText(keyName, t.Name)
	b.putText(keySource, t.Source)
	b.put(keyEffects, b.texts(t.Effects))
	b.putText(keyRisk, t.Risk)
	if b.needs.annotations {
		putMap(b, keyAnnotations, t.Annotations, func(flag bool) *ast.Term { return ast.InternedTerm(flag) })
	} else {
		checkNames(b, t.Annotations)
	}
	return b.object(mark)
}

func (b *valueBuilder) sandbox(s *SandboxInput) *ast.Term {
	mark := len(b.items)
	c := &s.Ceiling
	b.putTextIf(keyIsolation, c.Isolation)
	b.putTextIf(keyReuse, c.Reuse)
	b.putTextIf(keyNetwork, c.Network)
	b.putTextIf(keyWorkspace, c.Workspace)
	b.putIntIf(keyCPUMillis, c.CPUMillis)
	b.putIntIf(keyMemoryBytes, c.MemoryBytes)
	b.putIntIf(keyPids, c.Pids)
	b.putIntIf(keyWallTimeMs, c.WallTimeMs)
	b.putIntIf(keyOutputBytes, c.OutputBytes)
	b.putIntIf(keyOutputTotalBytes, c.OutputTotalBytes)
	b.putIntIf(keyDiskBytes, c.DiskBytes)
	b.putIntIf(keyFileBytes, c.FileBytes)
	b.putIntIf(keyOpenFiles, c.OpenFiles)
	if len(c.Mounts) > 0 {
		b.put(keyMounts, list(b, c.Mounts, b.mount))
	}
	ceiling := b.object(mark)
	b.put(keyCeiling, ceiling)
	return b.object(mark)
}

func (b *valueBuilder) mount(m *Mount) *ast.Term {
	mark := len(b.items)
	b.putText(keyPath, m.Path)
	b.putText(keyMode, m.Mode)
	if m.IfExists {
		b.putBool(keyIfExists, true)
	}
	return b.object(mark)
}

func (b *valueBuilder) file(f *facts.File) *ast.Term {
	mark := len(b.items)
	b.putText(keyOp, f.Op)
	b.putText(keyPath, f.Path)
	b.putTextIf(keyAbs, f.Abs)
	b.putTextIf(keyReal, f.Real)
	b.putBoolIf(keyExists, f.Exists)
	b.putTextIf(keyKind, f.Kind)
	b.putBoolIf(keyInWorkspace, f.InWorkspace)
	return b.object(mark)
}
