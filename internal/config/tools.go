package config

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// identityForm is a name and an address as git takes them.
var identityForm = regexp.MustCompile(`^([^<>"\\[:cntrl:]]{1,100}) <([^<>"\\[:cntrl:][:space:]]{1,200})>$`)

// defaultGitIdentity has an address that nobody can have (RFC 2606).
const defaultGitIdentity = "sandgate agent <agent@sandgate.invalid>"

// Committer is the name and the address of GitIdentity.
func (t Tools) Committer() (name, email string) {
	m := identityForm.FindStringSubmatch(t.GitIdentity)
	if m == nil {
		return "", ""
	}
	return strings.TrimSpace(m[1]), m[2]
}

func (t Tools) problems() []string {
	if name, _ := t.Committer(); name == "" || !utf8.ValidString(t.GitIdentity) {
		return []string{fmt.Sprintf("tools.git_identity: is %q: want a name and an address, such as %q", t.GitIdentity, defaultGitIdentity)}
	}
	return nil
}
