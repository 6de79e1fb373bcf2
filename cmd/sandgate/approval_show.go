package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// What a person reads before he says yes comes from a model, and from whoever the model
// has read. So nothing of it may act on a terminal, hide, or seem to stand elsewhere
// than it does: visible is what every such text goes through.

// lineWidth is how much of a line is shown before it is broken: a terminal that breaks it
// by itself would let its rest pass for a line of ours.
const lineWidth = 100

// hiddenLetters are letters and marks of Unicode that are not seen.
var hiddenLetters = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x034f, Hi: 0x034f, Stride: 1},
		{Lo: 0x115f, Hi: 0x1160, Stride: 1},
		{Lo: 0x17b4, Hi: 0x17b5, Stride: 1},
		{Lo: 0x180b, Hi: 0x180f, Stride: 1},
		{Lo: 0x2800, Hi: 0x2800, Stride: 1},
		{Lo: 0x3164, Hi: 0x3164, Stride: 1},
		{Lo: 0xfe00, Hi: 0xfe0f, Stride: 1},
		{Lo: 0xffa0, Hi: 0xffa0, Stride: 1},
	},
	R32: []unicode.Range32{{Lo: 0xe0000, Hi: 0xe0fff, Stride: 1}},
}

// rightToLeft are the scripts whose letters make a terminal show what is beside them in
// another order.
var rightToLeft = &unicode.RangeTable{
	R16: []unicode.Range16{{Lo: 0x0590, Hi: 0x08ff, Stride: 1}, {Lo: 0xfb1d, Hi: 0xfdff, Stride: 1}, {Lo: 0xfe70, Hi: 0xfefe, Stride: 1}},
	R32: []unicode.Range32{{Lo: 0x10800, Hi: 0x10fff, Stride: 1}, {Lo: 0x1e800, Hi: 0x1efff, Stride: 1}},
}

// visible writes a text so that every character of it is seen where it is: all others
// as ⟨U+202E⟩ and the like, these brackets too, so that no two texts look alike.
func visible(text string) string {
	plain := utf8.ValidString(text)
	for _, r := range text {
		plain = plain && shows(r)
	}
	if plain {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, "⟨byte %02X⟩", text[0])
		case shows(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "⟨%U⟩", r)
		}
		text = text[n:]
	}
	return b.String()
}

// shows reports whether a character is seen, as one of its own, where it stands.
func shows(r rune) bool {
	if r < 0x80 {
		return r >= ' ' && r != 0x7f
	}
	return unicode.IsPrint(r) && r != '⟨' && r != '⟩' && !unicode.In(r, unicode.M, hiddenLetters, rightToLeft, unicode.Zs)
}

// approvalText is an approval for a person to read.
type approvalText struct {
	b   strings.Builder
	p   palette
	now time.Time
}

// line writes a name and what is to be said of it.
func (t *approvalText) line(name, text string) {
	if text != "" {
		fmt.Fprintf(&t.b, "  %-11s %s\n", name, text)
	}
}

// block shows a text of several lines, each behind a bar that nothing in it can make.
func (t *approvalText) block(text string) {
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		line = visible(strings.TrimSuffix(line, "\r"))
		bar := "  │ "
		for len(line) > 0 || bar == "  │ " {
			cut := len(line)
			if utf8.RuneCountInString(line) > lineWidth {
				cut = 0
				for range lineWidth {
					_, n := utf8.DecodeRuneInString(line[cut:])
					cut += n
				}
			}
			t.b.WriteString(bar + line[:cut] + "\n")
			line, bar = line[cut:], "  ↳ "
		}
	}
}

// writeApproval shows what would run if the approval were given.
func writeApproval(w io.Writer, a *sandgatev1.Approval, now time.Time) error {
	t := approvalText{p: newPalette(w), now: now}
	call := a.GetCall()
	fmt.Fprintf(&t.b, "%s  %s%s\n", t.p.bold(visible(a.GetApprovalId())), stateText(a.GetState()), t.until(a))
	t.line("waits for", visible(a.GetWaitsFor()))
	t.line("caller", visible(a.GetCallerId())+principalText(a.GetCallerPrincipal())+agentText(call.GetAgent()))
	t.line("call", visible(call.GetCallId()))
	t.line("session", visible(call.GetSessionId()))
	t.line("profile", visible(call.GetProfile()))
	t.line("tool", t.p.bold(visible(call.GetTool())))
	t.arguments(call.GetArgsJson())
	if a.GetArgumentsCut() {
		t.line(t.p.yellow("CUT"), "not all of the arguments are kept: deny it if you do not know the rest")
	}
	t.line("directory", visible(call.GetCwd()))
	t.line("workspace", visible(call.GetWorkspaceDir()))
	if names := slices.Sorted(maps.Keys(call.GetEnv())); len(names) > 0 {
		t.line("variables", visible(strings.Join(names, ", "))+" (their values are not shown; they are part of what is approved)")
	}
	t.stdin(a)
	t.run(a)
	t.files(a)
	for _, r := range a.GetDecision().GetReasons() {
		t.line("asked", visible(r.GetMessage())+" ["+visible(r.GetRule())+"]")
	}
	for _, r := range a.GetDecision().GetWarnings() {
		t.line("warning", visible(r.GetMessage())+" ["+visible(r.GetRule())+"]")
	}
	t.votes(a)
	if g := a.GetSuggestedGrant(); g != nil && a.GetState() == sandgatev1.ApprovalState_APPROVAL_STATE_PENDING {
		t.line("grant", fmt.Sprintf("could be given as well (--grant): %s; %s", visible(g.GetSummary()), termsText(g.GetTerms())))
		for _, f := range g.GetFiles() {
			t.line("", "as long as it stays: "+fileText(f))
		}
		for _, text := range g.GetNotFrozen() {
			t.line("", t.p.yellow("NOT FROZEN: ")+visible(text))
		}
	}
	t.line("grant id", visible(a.GetGrantId()))
	t.line("digest", visible(a.GetBindingDigest()))
	if why := a.GetMayNotApprove(); why != "" {
		t.line("you", t.p.yellow("may not approve it: ")+visible(withoutClass(why, codes.PermissionDenied)))
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

func (t *approvalText) until(a *sandgatev1.Approval) string {
	switch a.GetState() { //nolint:exhaustive // the others are over
	case sandgatev1.ApprovalState_APPROVAL_STATE_PENDING, sandgatev1.ApprovalState_APPROVAL_STATE_APPROVED:
		return ", expires in " + a.GetExpireTime().AsTime().Sub(t.now).Round(time.Second).String()
	}
	return ""
}

func stateText(s sandgatev1.ApprovalState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "APPROVAL_STATE_"))
}

func agentText(a *sandgatev1.Agent) string {
	text := strings.TrimSpace(strings.Join([]string{a.GetName(), a.GetVersion(), a.GetModel()}, " "))
	if text == "" {
		return ""
	}
	return " (says that it is " + visible(text) + ")"
}

// arguments shows each argument; a text of several lines as a block.
func (t *approvalText) arguments(raw string) {
	dec := json.NewDecoder(bytes.NewReader([]byte(raw)))
	dec.UseNumber()
	var args map[string]any
	if raw == "" || dec.Decode(&args) != nil {
		t.line("arguments", "")
		t.block(raw)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(args)) {
		text, ok := args[name].(string)
		if !ok {
			plain, err := json.Marshal(args[name])
			if err != nil {
				plain = []byte("?")
			}
			text = string(plain)
		}
		fmt.Fprintf(&t.b, "  %s:\n", visible(name))
		t.block(text)
	}
}

func (t *approvalText) stdin(a *sandgatev1.Approval) {
	switch {
	case a.StdinBytes == nil:
		t.line("stdin", t.p.yellow("NOT FROZEN: ")+"it is sent while the call runs")
	case a.GetStdinBytes() > 0:
		t.line("stdin", fmt.Sprintf("%d bytes, %s", a.GetStdinBytes(), visible(a.GetStdinDigest())))
	}
}

func (t *approvalText) files(a *sandgatev1.Approval) {
	for _, f := range a.GetFiles() {
		t.line("file", fileText(f))
	}
	for _, text := range a.GetNotFrozen() {
		t.line("NOT FROZEN", visible(text))
	}
	for _, text := range a.GetChanges() {
		t.line(t.p.red("CHANGED"), visible(text)+": it cannot be approved any more")
	}
}

// fileText is a file that something is bound to.
func fileText(f *sandgatev1.ApprovalFile) string {
	text := fmt.Sprintf("%s %s", visible(f.GetOp()), visible(f.GetPath()))
	if f.GetRealPath() != f.GetPath() {
		text += " → " + visible(f.GetRealPath())
	}
	switch {
	case f.GetSha256() != "":
		return text + fmt.Sprintf(", %d bytes, sha256 %s", f.GetSizeBytes(), visible(f.GetSha256()))
	case f.GetOp() == "dir":
		return text
	}
	return text + ", which is not there"
}

func principalText(principal string) string {
	if principal == "" {
		return ""
	}
	return ", who is " + visible(principal)
}

func (t *approvalText) votes(a *sandgatev1.Approval) {
	if a.GetQuorum() > 1 || len(a.GetVotes()) > 0 {
		t.line("approvals", fmt.Sprintf("%d of %d", len(a.GetVotes()), a.GetQuorum()))
	}
	for _, v := range a.GetVotes() {
		text := visible(v.GetApprover()) + principalText(v.GetPrincipal()) + " at " + timeText(v.GetTime())
		if v.GetComment() != "" {
			text += ": " + visible(v.GetComment())
		}
		t.line("approved by", text)
	}
	t.line("denied by", visible(a.GetDeniedBy()))
	t.line("because", visible(a.GetMessage()))
}

func timeText(t *timestamppb.Timestamp) string {
	if t == nil {
		return "never"
	}
	return t.AsTime().Local().Format(time.DateTime)
}

func termsText(g *sandgatev1.GrantTerms) string {
	who := "this session"
	if g.GetScope() == "caller" {
		who = "all calls of this caller"
	}
	return fmt.Sprintf("%s, %d uses, %s", who, g.GetUses(), g.GetTtl().AsDuration())
}
