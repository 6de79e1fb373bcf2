package main

import (
	"os"
	"strings"
	"testing"
)

func TestPolicyInitMakesWhatPassesAtOnce(t *testing.T) {
	inTempDir(t, nil)
	for _, args := range [][]string{
		{"init", "mine"},
		{"lint", "mine"},
		append([]string{"test", "mine"}, ofTheLibrary()...),
		{"mutate", "mine", "--only", "sandgate/extra/team/team.rego", "--threshold", "90"},
	} {
		if out, err := runPolicy(t, "", args...); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	if err := os.WriteFile("README.md", []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := runPolicy(t, "", "init")
	if exitOf(err) != exitUsage || !strings.Contains(err.Error(), "README.md is there already: nothing was written") {
		t.Errorf("over a file: got %v", err)
	}
	if list, err := os.ReadDir("."); err != nil || len(list) != 2 {
		t.Errorf("after the refusal: got %v, %v", list, err)
	}
}
