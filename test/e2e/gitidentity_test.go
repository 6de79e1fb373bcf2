package e2e

import (
	"os/exec"
	"testing"

	"github.com/sandgate/sandgate/test/daemontest"
)

// TestGitCommitsInACell: nobody has to say first who commits, and whoever does so in the
// repository or by variables is obeyed.
func TestGitCommitsInACell(t *testing.T) {
	daemontest.RequireRoot(t)
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git here")
	}
	d := daemontest.Start(t, `
pool: {idle: 1}
tools: {git_identity: "Some Agent <agent@example.org>"}
callers: [{match: {uid: 0}, profiles: [open]}]
`)
	const commit = "git commit -q --allow-empty -m x && git log -1 --format='%an <%ae> %cn <%ce>'"
	for script, want := range map[string]string{
		"git init -q a && cd a && " + commit:                            "Some Agent <agent@example.org> Some Agent <agent@example.org>\n",
		"git init -q b && cd b && git config user.name Me && " + commit: "Me <agent@example.org> Me <agent@example.org>\n",
		"git init -q c && cd c && GIT_AUTHOR_NAME=Her GIT_AUTHOR_EMAIL=her@example.org; export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL; " + commit: "Her <her@example.org> Some Agent <agent@example.org>\n",
	} {
		if got := in(t, d, "s", script); got != want {
			t.Errorf("%s\ngot %q, want %q", script, got, want)
		}
	}
}
