package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/policy"
)

// ParseTSV reads a file of labelled commands: a line each with the decision, the
// command of a bash call and why, between tabs. Lines that begin with # are its
// header; "# profile: NAME" there names the profile (default readonly), and
// "/workspace/LINK -> TARGET" makes a symlink. In the command \n, \t, \r and \\
// are escapes. "ask" also holds for a command that is refused before the policy.
func ParseTSV(file string, raw []byte) (Suite, error) {
	if len(raw) > maxFileBytes {
		return Suite{}, fmt.Errorf("%s: %d bytes, the most is %d", file, len(raw), maxFileBytes)
	}
	suite := Suite{File: file, Profile: "readonly"}
	links := map[string]string{}
	var errs []error
	for i, line := range strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n") {
		if comment, ok := strings.CutPrefix(line, "#"); ok {
			suite.header(comment, links)
			continue
		}
		if line == "" {
			continue
		}
		c, err := labelled(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", file, i+1, err))
			continue
		}
		c.Line = i + 1
		suite.Cases = append(suite.Cases, c)
	}
	if len(suite.Cases) == 0 && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("%s: no cases: want lines of DECISION<TAB>COMMAND<TAB>WHY", file))
	}
	for i := range suite.Cases {
		c := &suite.Cases[i]
		c.Profile, c.Session.Profile = suite.Profile, suite.Profile
	}
	suite.Workspace = facts.NewMemFS(nil, links)
	return suite, errors.Join(errs...)
}

var (
	headerProfile = regexp.MustCompile(`^\s*profile:\s*(\S+)\s*$`)
	headerLink    = regexp.MustCompile(`/workspace/(\S+) -> ([^\s,;]+)`)
)

func (s *Suite) header(comment string, links map[string]string) {
	if m := headerProfile.FindStringSubmatch(comment); m != nil {
		s.Profile = m[1]
	}
	for _, m := range headerLink.FindAllStringSubmatch(comment, -1) {
		links[m[1]] = strings.TrimSuffix(m[2], ".")
	}
}

func labelled(line string) (Case, error) {
	fields := strings.SplitN(line, "\t", 3)
	if len(fields) != 3 {
		return Case{}, errors.New("want three fields between tabs: decision, command, why")
	}
	c := Case{
		Name: fmt.Sprintf("%s (%s)", fields[1], fields[2]), Time: defaultTime,
		Caller: policy.CallerInput{ID: "cli:policy-test", Transport: "cli"},
		Call:   Call{Tool: "bash"},
		Want:   Want{Outcome: policy.Outcome(fields[0]), MayBeRefused: fields[0] == string(policy.Ask)},
	}
	switch c.Want.Outcome {
	case policy.Allow, policy.Ask, policy.Deny:
	default:
		return Case{}, fmt.Errorf("decision %q, want allow, ask or deny", fields[0])
	}
	command := strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\t`, "\t", `\r`, "\r").Replace(fields[1])
	raw, err := json.Marshal(map[string]string{"command": command})
	if err != nil {
		return Case{}, err
	}
	c.Call.Args = raw
	return c, nil
}
