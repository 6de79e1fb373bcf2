package repo

import (
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sandgate/sandgate/internal/config"
)

// TestExampleConfigurationIsValid: who copies the example gets a daemon.
func TestExampleConfigurationIsValid(t *testing.T) {
	parsed, err := config.Parse(read(t, "deploy/sandgated.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	parsed = parsed.WithDefaults(0)
	if err := parsed.Validate(); err != nil {
		t.Error(err)
	}
}

// TestReferenceConfigurationIsValid parses every example of the reference, those
// behind comment signs too, as somebody does who takes the signs away by hand. Of
// the sources of a policy only one can be given: each has its turn.
func TestReferenceConfigurationIsValid(t *testing.T) {
	text := read(t, "deploy/reference.yaml")
	uncommented := withoutCommentSigns(string(text))
	sources := []string{"dir", "bundle_file", "bundles"}
	for _, source := range sources {
		var doc map[string]any
		if err := yaml.UnmarshalStrict([]byte(uncommented), &doc); err != nil {
			t.Fatalf("%v\n%s", err, uncommented)
		}
		policy, _ := doc["policy"].(map[string]any)
		if policy[source] == nil || doc["metrics"] == nil || doc["tools"] == nil {
			t.Fatalf("the examples were not found, of policy: %v", policy)
		}
		for _, other := range sources {
			if other != source {
				delete(policy, other)
			}
		}
		raw, err := yaml.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := config.Parse(raw)
		if err == nil {
			parsed = parsed.WithDefaults(0)
			err = parsed.Validate()
		}
		if err != nil {
			t.Errorf("with policy.%s: %v", source, err)
		}
	}
	if parsed, err := config.Parse(text); err != nil {
		t.Error(err)
	} else if parsed = parsed.WithDefaults(0); parsed.Validate() != nil {
		t.Error(parsed.Validate())
	}
}

// example is a commented line that is a key, not prose.
var example = regexp.MustCompile(`^( *)# ?( *(?:- )?[a-z_]+:(?: .*)?)$`)

// withoutCommentSigns takes the signs from all lines that are examples; a line of
// an example that is itself an example loses two.
func withoutCommentSigns(text string) string {
	lines := strings.Split(text, "\n")
	for range 2 {
		for i, line := range lines {
			lines[i] = example.ReplaceAllString(line, "$1$2")
		}
		// What is left of a comment in an example: "#     # key: value".
		for i, line := range lines {
			if inner, found := strings.CutPrefix(line, "#"); found && example.MatchString(strings.TrimPrefix(inner, " ")) {
				lines[i] = strings.TrimPrefix(inner, " ")
			}
		}
	}
	return strings.Join(lines, "\n")
}
