package seen_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/proposal"
	"github.com/sandgate/sandgate/internal/seen"
)

func build(t *testing.T, command string, root facts.FS) string {
	t.Helper()
	tools, err := catalog.New(catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tool, err := tools.Lookup("bash")
	if err != nil {
		t.Fatal(err)
	}
	args, err := json.Marshal(map[string]string{"command": command})
	if err != nil {
		t.Fatal(err)
	}
	call, _, err := proposal.Build(tool, proposal.Call{Args: args}, root)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(call)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestFactsAreTheSameAgain derives facts in a workspace and again from the record.
func TestFactsAreTheSameAgain(t *testing.T) {
	root := facts.NewMemFS(
		map[string]string{"a.txt": "x", "src/b.go": "y", "src/c.go": "z"},
		map[string]string{"link": "/etc", "inner": "src", "dangling": "nowhere", "loop": "loop"},
	)
	for _, command := range []string{
		"cat a.txt", "cat link/passwd", "cat inner/b.go > src/out", "ls src/*.go", "cd inner && cat ../a.txt", "cat none/x dangling loop", "true",
	} {
		t.Run(command, func(t *testing.T) {
			watched := seen.Watch(root)
			want := build(t, command, watched)
			if plain := build(t, command, root); plain != want {
				t.Fatalf("facts change by being watched: %s", cmp.Diff(plain, want))
			}
			raw, err := json.Marshal(seen.Of(&policy.Input{Time: "2026-01-01T00:00:00Z"}, watched))
			if err != nil {
				t.Fatal(err)
			}
			if len(raw) > 300 {
				t.Errorf("the record grows by %d bytes: %s", len(raw), raw)
			}
			var kept seen.Call
			if err := json.Unmarshal(raw, &kept); err != nil {
				t.Fatal(err)
			}
			then := kept.Workspace()
			if got := build(t, command, then); want != got || then.Missed {
				t.Errorf("missed %v, facts by the record %s (-want +got):\n%s", then.Missed, raw, cmp.Diff(want, got))
			}
		})
	}
}

func TestRecordIsBounded(t *testing.T) {
	watched := seen.Watch(facts.NewMemFS(nil, nil))
	for i := range 100 {
		if _, err := watched.Lstat(fmt.Sprintf("some/file/%d", i)); err == nil {
			t.Fatal("a file in an empty workspace")
		}
	}
	in := policy.Input{Time: "t"}
	in.Session.Seq, in.Session.Counts = 9, map[string]int{"allow": 5, "ask": 3, "deny": 1}
	in.Session.Labels = []string{strings.Repeat("x", 600)}
	want := &seen.Call{Version: 1, At: "t", Seq: 9, Counts: []int{5, 3, 1}, Cut: []string{"labels", "fs"}}
	if diff := cmp.Diff(want, seen.Of(&in, watched)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	then := want.Workspace()
	if _, err := then.Lstat("a"); err == nil || !then.Missed {
		t.Errorf("got %v, want that nothing is known", err)
	}
}
