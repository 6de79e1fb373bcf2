package main

import (
	"strings"
	"testing"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// TestChangesInsideGitAreOne: a commit changes many files that nobody wants to read of;
// those by which git runs programs are told all the same.
func TestChangesInsideGitAreOne(t *testing.T) {
	commit := &sandgatev1.Changes{
		Created:  []string{".git/objects/ab", ".git/objects/ab/cdef", ".git/refs/heads/new", "new.go", "sub/.git/hooks/pre-commit"},
		Modified: []string{".git/config", ".git/index", "old.go", "sub/.git/index", "x.git/HEAD"},
		Deleted:  []string{".git/index.lock"},
	}
	initial := &sandgatev1.Changes{Created: []string{".git", ".git/HEAD", ".git/hooks", ".git/hooks/post-commit.sample"}}
	worktree := &sandgatev1.Changes{Created: []string{".git", "f"}}
	for name, tt := range map[string]struct {
		changes     *sandgatev1.Changes
		line, lines string
	}{
		"a commit": {
			commit,
			"sandgate: changed: +new.go +sub/.git/hooks/pre-commit ~.git/config ~old.go ~x.git/HEAD ~.git/ (3 made, 1 changed, 1 deleted) ~sub/.git/ (1 changed)\n",
			"A new.go\nA sub/.git/hooks/pre-commit\nM .git/config\nM old.go\nM x.git/HEAD\nM .git/ (3 made, 1 changed, 1 deleted)\nM sub/.git/ (1 changed)\n",
		},
		"git init": {
			initial, "sandgate: changed: +.git/hooks +.git/ (2 made)\n",
			"A .git/hooks\nA .git/ (2 made)\n",
		},
		"a worktree": {worktree, "sandgate: changed: +f +.git\n", "A f\nA .git\n"},
	} {
		var line, lines strings.Builder
		if err := newReporter(&line).changes(&sandgatev1.Result{Changes: tt.changes}); err != nil || line.String() != tt.line {
			t.Errorf("%s: got the line\n%q, %v, want\n%q", name, line.String(), err, tt.line)
		}
		if err := printChanges(&lines, &sandgatev1.ListChangesResponse{Changes: tt.changes}, false); err != nil || lines.String() != tt.lines {
			t.Errorf("%s: got the list\n%q, %v, want\n%q", name, lines.String(), err, tt.lines)
		}
	}
	var raw strings.Builder
	if err := printChanges(&raw, &sandgatev1.ListChangesResponse{Changes: commit}, true); err != nil || !strings.Contains(raw.String(), ".git/objects/ab/cdef") {
		t.Errorf("JSON has not all paths: %v\n%s", err, raw.String())
	}
}
