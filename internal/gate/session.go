package gate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/session"
	"github.com/sandgate/sandgate/sandbox/failpoint"
)

// ruleQuota is the rule of a denial because the session has used up a quota.
const ruleQuota = "daemon:session-quota"

// SessionSpec is what a host wishes of a new session.
type SessionSpec struct {
	ID      string // empty: the gate makes one (a UUIDv7)
	Profile string // empty: the caller's default
	Terms   session.Terms
}

// CreateSession makes a session for the caller. What the host wishes beyond the
// configuration's bounds is taken back to them. It is durable when CreateSession
// returns. An id that is in use is errdefs.ErrAlreadyExists.
func (g *Gate) CreateSession(ctx context.Context, caller Caller, spec SessionSpec) (session.Info, error) {
	if err := checkIdentity(&Call{ID: "session", Caller: caller, SessionID: spec.ID}); err != nil {
		return session.Info{}, err
	}
	if spec.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return session.Info{}, fmt.Errorf("make session id: %w", err)
		}
		spec.ID = id.String()
	}
	given := g.cfg.Profiles(caller)
	if spec.Profile == "" {
		spec.Profile = given.Default
	}
	if err := given.permit(spec.Profile); err != nil {
		return session.Info{}, err
	}
	if tree := spec.Terms.Tree; tree != nil && tree.Branch == "" {
		named := *tree
		named.Branch = "sandgate/" + spec.ID
		spec.Terms.Tree = &named
	}
	terms, err := g.checkTerms(ctx, caller, spec.Terms)
	if err != nil {
		return session.Info{}, err
	}
	if err := g.endIfOver(ctx, caller.ID, spec.ID); err != nil {
		return session.Info{}, err
	}
	recorded := false
	record := func() error {
		data := session.Created(spec.Profile, &terms)
		if terms.Kind == session.Worktree {
			data = session.WithFiles(spec.Profile, &terms)
		}
		err := g.recordSession(ctx, caller.ID, spec.ID, data)
		recorded = err == nil
		return err
	}
	finish := func(s *session.Session) error { return g.makeWorkspace(ctx, caller, s) }
	info, err := g.cfg.Sessions.Create(caller.ID, spec.ID, spec.Profile, terms, record, finish)
	if err != nil {
		if recorded {
			err = errors.Join(err, g.recordSession(ctx, caller.ID, spec.ID, session.HasEnded(session.EndedFailed, "")))
		}
		return session.Info{}, err
	}
	return info, nil
}

// endIfOver ends a session whose time is over before the next look would, so that its
// id can be taken again by who was told that it has ended.
func (g *Gate) endIfOver(ctx context.Context, owner, id string) error {
	reason := g.cfg.Sessions.Over(owner, id)
	if reason == "" {
		return nil
	}
	err := g.endSession(ctx, owner, id, reason, "", false)
	if errdefs.IsNotFound(err) || errdefs.IsAborted(err) {
		return nil // somebody else does it
	}
	return err
}

// checkTerms checks what a host wishes and brings it within the bounds.
func (g *Gate) checkTerms(ctx context.Context, caller Caller, t session.Terms) (session.Terms, error) {
	if err := t.Validate(); err != nil {
		return t, err
	}
	switch t.Kind { //nolint:exhaustive // the others need nothing of the machine
	case session.Directory:
		call := Call{Caller: caller, WorkspaceDir: t.Dir}
		if err := g.checkWorkspace(&call); err != nil {
			return t, err
		}
		info, err := os.Stat(call.WorkspaceDir)
		if err != nil || !info.IsDir() {
			return t, fmt.Errorf("%s is no directory: %w", t.Dir, errdefs.ErrFailedPrecondition)
		}
		t.Dir = call.WorkspaceDir
	case session.Worktree:
		tree, err := g.checkTree(ctx, caller, *t.Tree)
		if err != nil {
			return t, err
		}
		t.Tree = &tree
	}
	return g.cfg.Sessions.Within(t), nil
}

// GetSession tells what is known of a session of the owner. The front has made
// sure that the caller may ask.
func (g *Gate) GetSession(_ context.Context, owner, id string) (session.Info, error) {
	return g.cfg.Sessions.Get(owner, id)
}

// ListSessions returns the sessions of the owner, or everybody's if it is empty,
// sorted by owner and id: those behind after, at most limit. more tells whether
// there are more. The front has made sure that the caller may ask.
func (g *Gate) ListSessions(_ context.Context, owner string, after session.Page, limit int) (list []session.Info, more bool) {
	return g.cfg.Sessions.List(owner, after, limit)
}

// CloseSession ends a session of the owner: its running calls are cancelled, its
// cells destroyed and its workspace removed. A session that does not exist is
// errdefs.ErrNotFound. What was committed on the branch of a working tree is put
// into its repository first, where that was wished for and unless it is to be
// discarded; where that fails the session stays. The front has made sure that the
// caller may do so.
func (g *Gate) CloseSession(ctx context.Context, caller Caller, owner, id string, discard bool) error {
	if caller.ID == "" || owner == "" {
		return fmt.Errorf("the caller is not known: %w", errdefs.ErrUnauthenticated)
	}
	by := caller.ID
	if by == owner {
		by = ""
	}
	return g.endSession(ctx, owner, id, session.EndedClosed, by, discard)
}

// endSession ends a session. Its end is recorded when nothing of it runs any more
// and before its files go: what a crash leaves of them is removed at start.
func (g *Gate) endSession(ctx context.Context, owner, id, reason, by string, discard bool) error {
	s, err := g.cfg.Sessions.Close(owner, id)
	if err != nil {
		return err
	}
	running := g.ledger.ofSession(owner, id)
	for _, e := range running {
		g.ledger.stop(e, errSessionEnded)
	}
	for _, e := range running {
		select {
		case <-g.ledger.done(e):
		case <-ctx.Done():
			g.cfg.Sessions.Reopen(s)
			return context.Cause(ctx)
		}
	}
	if !discard {
		if err := g.keepWork(ctx, s); err != nil {
			g.cfg.Sessions.Reopen(s)
			return err
		}
	}
	failpoint.At(failpoint.SessionQuiet)
	if err := g.recordSession(ctx, owner, id, session.HasEnded(reason, by)); err != nil {
		g.cfg.Sessions.Reopen(s)
		return err
	}
	failpoint.At(failpoint.SessionEnding)
	g.forgetPermits(owner, id)
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), recordTimeout, errCleanTimeout)
	defer cancel()
	g.watches.Forget(s.WorkspaceDir())
	err = g.cfg.Runtime.EndSession(ctx, sessionReuseKey(owner, id))
	if err = errors.Join(err, g.cfg.Sessions.Closed(s, reason)); err != nil {
		return fmt.Errorf("clean up after session %q: %w", id, err)
	}
	return nil
}

var errCleanTimeout = errors.New("the session's cells took too long to end")

// recordSession writes a session record even when the host has gone away.
func (g *Gate) recordSession(ctx context.Context, owner, id string, data session.EventData) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), recordTimeout, errRecordTimeout)
	defer cancel()
	failpoint.At(failpoint.SessionBefore)
	defer failpoint.At(failpoint.SessionAfter)
	if _, err := g.cfg.Journal.Append(ctx, journal.Entry{Kind: journal.KindSession, Caller: owner, Session: id, Data: data}); err != nil {
		return fmt.Errorf("record that session %q was %s: %w", id, data.Event, err)
	}
	return nil
}

// How sessions are ended whose time is over.
const (
	expireEvery = 5 * time.Second
	expireAtOne = 256 // ended at one look
)

// KeepSessions ends sessions whose time is over until ctx ends. A session takes no
// call from the very moment on; its files go at the next look.
func (g *Gate) KeepSessions(ctx context.Context) {
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	for {
		g.ExpireSessions(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// ExpireSessions ends the sessions whose time is over now and returns how many
// those were. What fails is tried again the next time.
func (g *Gate) ExpireSessions(ctx context.Context) int {
	ended := 0
	for _, due := range g.cfg.Sessions.Expired(expireAtOne) {
		if ctx.Err() != nil {
			break
		}
		err := g.endSession(ctx, due.Caller, due.ID, due.Reason, "", false)
		if err != nil {
			g.log.Warn("session not ended", zap.String("session", due.ID), zap.String("caller", due.Caller), zap.Error(err))
			continue
		}
		g.log.Info("session expired", zap.String("session", due.ID), zap.String("caller", due.Caller), zap.String("reason", due.Reason))
		ended++
	}
	return ended
}

// makeWorkspace makes the files of a new session where that takes more than a
// directory, which its first call makes.
func (g *Gate) makeWorkspace(ctx context.Context, caller Caller, s *session.Session) error {
	terms := s.Terms()
	if terms.Kind != session.Worktree {
		return nil
	}
	if err := g.makeTree(ctx, caller, s, *terms.Tree); err != nil {
		return err
	}
	return g.recordSession(ctx, caller.ID, s.Snapshot().ID, session.Made())
}

// keepWork saves what outlives the session.
func (g *Gate) keepWork(ctx context.Context, s *session.Session) error {
	terms := s.Terms()
	if terms.Kind != session.Worktree || !terms.Tree.Keep {
		return nil
	}
	return g.keepTree(ctx, s, *terms.Tree)
}

// enterSession gives an allowed call its place in its session. A quota that is
// used up for good makes a denial of the decision, which the model can read; one
// that is used up for the moment is an error, so that the id can be used again.
func (w *way) enterSession() error {
	if w.session == nil || !w.mayRun() {
		return nil
	}
	if terms := w.session.Terms(); terms.Kind == session.Directory && w.call.WorkspaceDir == "" {
		if err := w.gate.mayHave(w.call.Caller, terms.Dir); err != nil {
			return err
		}
	}
	err := w.session.Begin()
	if used, ok := errors.AsType[*session.QuotaError](err); ok && used.Lasting {
		w.decision, w.transformed = usedUp(w.decision, used), nil
		return nil
	}
	w.entered = err == nil
	return err
}

// mayHave asks whether the caller may still have the directory of its session.
func (g *Gate) mayHave(caller Caller, dir string) error {
	if g.cfg.WorkspaceDirs == nil {
		return fmt.Errorf("the directory of the session: this daemon binds no directories of the machine any more: %w", errdefs.ErrPermissionDenied)
	}
	if err := g.cfg.WorkspaceDirs(caller, dir); err != nil {
		return denyDir(dir, err)
	}
	return nil
}

// leaveSession gives the session back at the end of a call.
func (w *way) leaveSession() {
	if w.session == nil {
		return
	}
	if w.entered {
		w.session.Leave(w.seq != 0)
	}
	w.gate.cfg.Sessions.Release(w.session)
}

// withinQuota is a decision as the session's lasting quotas leave it.
func (g *Gate) withinQuota(d policy.Decision, state *session.State) policy.Decision {
	if state == nil || d.Outcome != policy.Allow {
		return d
	}
	if used, ok := errors.AsType[*session.QuotaError](g.cfg.Sessions.UsedUp(state)); ok {
		return usedUp(d, used)
	}
	return d
}

// usedUp is the denial that a quota makes of a decision.
func usedUp(d policy.Decision, used *session.QuotaError) policy.Decision {
	return policy.Decision{
		ID: d.ID, Outcome: policy.Deny, Profile: d.Profile, Revision: d.Revision,
		Reasons: []policy.Reason{{
			Rule: ruleQuota, Message: used.Error(),
			Remediation: "nothing more runs in this session: tell the user what is left to do, who can open another one",
		}},
	}
}
