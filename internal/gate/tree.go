package gate

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/session"
)

func errNoTrees() error {
	return fmt.Errorf("this daemon makes no git worktrees: %w", errdefs.ErrNotImplemented)
}

func (g *Gate) checkTree(context.Context, Caller, session.Tree) (session.Tree, error) {
	return session.Tree{}, errNoTrees()
}

func (g *Gate) makeTree(context.Context, *session.Session, session.Tree) error { return errNoTrees() }

func (g *Gate) keepTree(context.Context, *session.Session, session.Tree) error { return errNoTrees() }
