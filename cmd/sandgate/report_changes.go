package main

import (
	"fmt"
	"strings"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// maxReportedPaths is how many changed paths are named.
const maxReportedPaths = 8

// changes says in one line which files a call has changed, if it has; of a transactional
// call only what is in the workspace now.
func (r reporter) changes(res *sandgatev1.Result) error {
	c := res.GetChanges()
	if e := res.GetEffects(); e != nil && e.GetState() != sandgatev1.EffectsState_EFFECTS_STATE_COMMITTED {
		return nil
	}
	var paths []string
	all := shownChanges(c)
	if len(all) == 0 {
		return nil
	}
	for _, ch := range all[:min(len(all), maxReportedPaths)] {
		paths = append(paths, [...]string{made: "+", modified: "~", deleted: "-"}[ch.kind]+visible(ch.path)+ch.note)
	}
	text := "changed: " + strings.Join(paths, " ")
	if more := len(all) - len(paths); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if c.GetTruncated() {
		text += ", not all are told"
	}
	if c.GetShared() {
		text += " (other calls worked there, too)"
	}
	_, err := fmt.Fprintln(r.w, "sandgate: "+text)
	return err
}
