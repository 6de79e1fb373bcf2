package main

import (
	"fmt"
	"path"
	"slices"
	"strings"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// shownChange is one line or word of a list of changes for people.
type shownChange struct {
	kind changeKind
	path string
	note string // right behind the path; empty: none
}

type changeKind int

const (
	made changeKind = iota
	modified
	deleted
)

// shownChanges are the paths of changes for people to read. What git keeps in a .git is
// one of them, whatever a commit wrote there; but not what tells git to run programs, its
// hooks and configuration.
func shownChanges(c *sandgatev1.Changes) []shownChange {
	var out []shownChange
	repositories := map[string]*[3]int{}
	whole := map[string]changeKind{} // .git that came or went itself
	for kind, list := range [][]string{made: c.GetCreated(), modified: c.GetModified(), deleted: c.GetDeleted()} {
		for _, p := range list {
			dir, inside := gitDir(p)
			if dir == "" {
				out = append(out, shownChange{kind: changeKind(kind), path: p})
				continue
			}
			if repositories[dir] == nil {
				repositories[dir] = &[3]int{}
			}
			if !inside {
				whole[dir] = changeKind(kind)
				continue
			}
			repositories[dir][kind]++
		}
	}
	dirs := make([]string, 0, len(repositories))
	for dir := range repositories {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	for _, dir := range dirs {
		kind, alone := whole[dir]
		n := repositories[dir]
		if *n == [3]int{} { // a file of that name, as a worktree has it
			out = append(out, shownChange{kind: kind, path: dir})
			continue
		}
		if !alone {
			kind = modified
		}
		out = append(out, shownChange{kind: kind, path: dir + "/", note: countsText(n)})
	}
	slices.SortStableFunc(out, func(a, b shownChange) int { return int(a.kind) - int(b.kind) })
	return out
}

func countsText(n *[3]int) string {
	var parts []string
	for kind, verb := range [3]string{made: "made", modified: "changed", deleted: "deleted"} {
		if n[kind] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[kind], verb))
		}
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// gitDir is the .git that a path is, or is inside of; empty: none, or what people have
// to see of it.
func gitDir(p string) (dir string, inside bool) {
	if path.Base(p) == ".git" {
		return p, false
	}
	i := strings.Index("/"+p, "/.git/")
	if i < 0 {
		return "", false
	}
	dir = p[:i+len(".git")]
	for part := range strings.SplitSeq(p[len(dir)+1:], "/") { // also of submodules and worktrees
		if strings.HasPrefix(part, "config") || part == "hooks" && path.Ext(p) != ".sample" { // samples are not run
			return "", false
		}
	}
	return dir, true
}
