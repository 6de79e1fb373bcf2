package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandgate/sandgate/internal/policy"
)

// TestScenariosOfTheCookbook runs the cases of every policy of the cookbook, and
// the labelled commands of all profiles, on the source tree's policies as a whole.
func TestScenariosOfTheCookbook(t *testing.T) {
	runner := newRunner(t, policy.Config{Dir: "../../policies"})
	files, err := filepath.Glob("../../policies/cookbook/*/scenario.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("scenario files: got %v, %v, want one for each policy", files, err)
	}
	labelled, err := filepath.Glob("../../policies/testdata/bash_[^r]*.tsv")
	if err != nil || len(labelled) < 3 {
		t.Fatalf("labelled commands: got %v, %v", labelled, err)
	}
	for _, file := range append(files, labelled...) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parse := Parse
		if strings.HasSuffix(file, ".tsv") {
			parse = ParseTSV
		}
		suite, err := parse(file, raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range runner.Run(t.Context(), suite) {
			if !r.Passed() {
				t.Errorf("%s: %s: %s", file, r.Case.Name, strings.Join(r.Problems, "; "))
			}
		}
	}
}
