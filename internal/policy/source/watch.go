package source

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"

	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/policy/bundle"
)

// settleAtMost is for how long a change may be put off because others follow.
const settleAtMost = 2 * time.Second

// maxWatches bounds the directories that are watched; the others are looked at
// when the watched ones change, and at each poll.
const maxWatches = 512

// watch loads the policy again whenever it has changed. What notices a change is
// inotify; where that cannot be had, and on file systems that do not tell, the
// regular look does.
func (s *Source) watch(ctx context.Context) {
	poll := time.NewTicker(s.cfg.Poll)
	defer poll.Stop()
	events, watches := s.watches(poll)
	if watches != nil {
		defer func() { _ = watches.Close() }()
	}
	s.reloadChanged(ctx) // what changed since it was read, and was not watched yet
	settle := time.NewTimer(time.Hour)
	settle.Stop()
	defer settle.Stop()
	var first time.Time // of the changes that are not yet looked at
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-events:
			if !open {
				events = nil
				continue
			}
			if first.IsZero() {
				first = time.Now()
			}
			if time.Since(first) < settleAtMost {
				settle.Reset(s.cfg.Settle)
			}
			continue
		case <-settle.C:
		case <-poll.C:
		}
		first = time.Time{}
		if err := s.follow(watches); err != nil {
			s.logger.Warn("watching the policy", zap.Error(err))
		}
		s.reloadChanged(ctx)
	}
}

// watches starts to watch; without inotify the poll becomes quick instead.
func (s *Source) watches(poll *time.Ticker) (<-chan fsnotify.Event, *fsnotify.Watcher) {
	w, err := fsnotify.NewWatcher()
	if err == nil {
		if err = s.follow(w); err == nil {
			go func() { // an overflow of events is a change like another: the poll finds it
				for err := range w.Errors {
					s.logger.Warn("watching the policy", zap.Error(err))
				}
			}()
			return w.Events, w
		}
		_ = w.Close()
	}
	every := min(s.cfg.Poll, time.Second)
	poll.Reset(every)
	s.logger.Warn("the policy cannot be watched and is looked at regularly instead", zap.Duration("every", every), zap.Error(err))
	return nil, nil
}

// follow watches every directory that the policy is in. It is called again after
// each change, since there may be others.
func (s *Source) follow(w *fsnotify.Watcher) error {
	if w == nil {
		return nil
	}
	if s.kind == KindFile {
		return w.Add(filepath.Dir(s.cfg.File))
	}
	if err := w.Add(s.cfg.Dir); err != nil {
		return err
	}
	left := maxWatches
	return filepath.WalkDir(s.cfg.Dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || path == s.cfg.Dir:
			return nil // the loader says what cannot be read
		case entry.Type()&fs.ModeSymlink == 0 && !entry.IsDir():
			return nil
		case strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			return nil
		}
		if left--; left < 0 {
			return filepath.SkipAll
		}
		if err := w.Add(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// reloadChanged loads the policy if its content is not that which was tried last.
func (s *Source) reloadChanged(ctx context.Context) {
	s.load.Lock()
	defer s.load.Unlock()
	p, err := s.read()
	if fingerprint(p, err) == s.seen {
		if err == nil && s.cfg.Engine.Status().Error == "" {
			s.mu.Lock()
			s.state.LastSuccess = time.Now().UTC()
			s.mu.Unlock()
		}
		return
	}
	_ = s.activate(ctx, p, err) // kept in the status
}

// fingerprint tells contents apart, also those that could not be read.
func fingerprint(p policy.Package, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(p.Files)) {
		_, _ = fmt.Fprintf(sum, "%s %x\n", name, sha256.Sum256(p.Files[name])) // a hash never fails
	}
	_, _ = io.WriteString(sum, p.Revision)
	return string(sum.Sum(nil))
}

// readFile reads a bundle file, within bounds.
func readFile(name string) (_ []byte, err error) {
	f, err := os.Open(name) //nolint:gosec // the operator names his own file
	if err != nil {
		return nil, fmt.Errorf("policy bundle: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("policy bundle: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("policy bundle %s is not a regular file; a directory is given as policy.dir", name)
	}
	return io.ReadAll(io.LimitReader(f, bundle.MaxBytes+1))
}
