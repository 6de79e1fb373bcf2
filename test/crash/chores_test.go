package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sandgate/sandgate/internal/session"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// Chores are what a host does beside calls, each in rounds of which every step is done
// again until it is acknowledged, over as many lives of the daemon as that takes. Then
// they look whether what came of it is what it has to be.

// startChores begins all of them.
func (l *load) startChores(ctx context.Context) {
	for name, chore := range map[string]func(ctx context.Context, id string, n int){
		"grant": l.grants, "files": l.files, "tree": l.tree, "disk": l.disk, "stream": l.streams, "log": l.logs,
	} {
		l.wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				select {
				case <-l.stop:
					return
				default:
				}
				chore(ctx, fmt.Sprintf("%s-%d", name, n), n)
			}
		})
	}
}

// do does something until it is acknowledged; false when ctx ended before.
func (l *load) do(ctx context.Context, what string, do func(context.Context) error) bool {
	l.until(ctx, call{id: what}, do)
	return ctx.Err() == nil
}

// made makes a session; closed ends it.
func (l *load) made(ctx context.Context, req *sandgatev1.CreateSessionRequest) bool {
	return l.do(ctx, "open "+req.GetSessionId(), func(ctx context.Context) error { return l.create(ctx, req) })
}

func (l *load) closed(ctx context.Context, id string) bool {
	return l.do(ctx, "close "+id, func(ctx context.Context) error { return l.close(ctx, id) })
}

// runs runs a command in a session, under new ids until it has exited.
func (l *load) runs(ctx context.Context, id, in, command string) *sandgatev1.Result {
	for n := 0; ctx.Err() == nil; n++ {
		c := call{id: fmt.Sprintf("%s.%d", id, n), session: in, profile: "open", command: command, want: sandgatev1.Outcome_OUTCOME_EXITED}
		l.book.send(c)
		if r := l.settle(ctx, c); r.GetOutcome() == sandgatev1.Outcome_OUTCOME_EXITED {
			return r
		}
	}
	return nil
}

// grants has a class of calls granted, uses it up or takes it back, and looks that then
// it is asked again.
func (l *load) grants(ctx context.Context, id string, n int) {
	if !l.made(ctx, &sandgatev1.CreateSessionRequest{SessionId: id, Profile: "asking"}) {
		return
	}
	uses, grant := 1+n%3, ""
	c := call{id: id + ".first", session: id, profile: "asking", command: "sleep 0", want: sandgatev1.Outcome_OUTCOME_EXITED}
	l.book.send(c)
	l.settleBy(ctx, c, func(ctx context.Context, approval string) error {
		seen, err := l.asks.GetApproval(ctx, &sandgatev1.GetApprovalRequest{ApprovalId: approval})
		if err != nil {
			return err
		}
		given, err := l.asks.Approve(ctx, &sandgatev1.ApproveRequest{
			ApprovalId: approval, Digest: seen.GetApproval().GetBindingDigest(), Grant: &sandgatev1.GrantTerms{Uses: int32(uses)}, //nolint:gosec // 1 to 3
		})
		if err == nil {
			l.book.decided(approval)
			grant = given.GetApproval().GetGrantId()
		}
		return but(err, codes.FailedPrecondition)
	})
	if grant != "" && n%4 == 3 {
		if !l.do(ctx, "revoke "+grant, func(ctx context.Context) error {
			_, err := l.asks.RevokeGrant(ctx, &sandgatev1.RevokeGrantRequest{GrantId: grant}, grpc.WaitForReady(true))
			return but(err, codes.NotFound)
		}) {
			return
		}
		uses = 0
	}
	ran, ways := 0, []string(nil)
	for i := range uses + 1 {
		c := call{id: fmt.Sprintf("%s.%d", id, i), session: id, profile: "asking", command: "sleep 0", want: sandgatev1.Outcome_OUTCOME_EXITED, free: true}
		l.book.send(c)
		r := l.settleBy(ctx, c, func(ctx context.Context, approval string) error {
			_, err := l.asks.Deny(ctx, &sandgatev1.DenyRequest{ApprovalId: approval})
			return but(err, codes.FailedPrecondition)
		})
		if r == nil {
			return
		}
		if ways = append(ways, r.GetOutcome().String()); r.GetOutcome() != sandgatev1.Outcome_OUTCOME_DENIED {
			ran++
		}
	}
	// Who was not told that there is a grant may have one all the same.
	if ran != uses && (grant != "" || ran != 0) {
		l.book.blame("%s: %d calls ran by the grant %q of %d uses: %v", id, ran, grant, uses, ways)
	}
	l.closed(ctx, id)
}

// version is what the files of a session are, in one word: each is of the version that it
// is of, all have to be of the same.
func (l *load) version(id string) string {
	dir := filepath.Join(l.book.dir, session.Key(caller, id), "workspace")
	root, err := os.OpenRoot(dir) // the one directory, also while another takes its name
	if err != nil {
		return err.Error()
	}
	defer root.Close() //nolint:errcheck // only read
	seen := map[string]int{}
	for i := range filesOfChore {
		text, err := root.ReadFile(fmt.Sprintf("f%d", i))
		if err != nil {
			return err.Error()
		}
		seen[string(text)]++
	}
	if len(seen) != 1 {
		return fmt.Sprintf("%v", seen)
	}
	for text := range seen {
		return text
	}
	return ""
}

const filesOfChore = 12

// write writes all files of a version.
func (l *load) write(ctx context.Context, id, version string) bool {
	command := fmt.Sprintf("for i in {0..%d}; do printf %s >f$i; done", filesOfChore-1, version)
	return l.runs(ctx, id+".write-"+version, id, command) != nil
}

// either waits until the files of a session are of one of these versions: between them
// there is none.
func (l *load) either(id string, versions ...string) {
	var got string
	for range 20 { // the directory that was read may have been replaced, and be on its way out
		got = l.version(id)
		if slices.Contains(versions, got) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	l.book.blame("the files of %s are %s, want one of %v", id, got, versions)
}

// files takes snapshots, puts them back and forks.
func (l *load) files(ctx context.Context, id string, _ int) {
	forks := map[string]string{"": id + "-now", "one": id + "-then"}
	if !l.made(ctx, &sandgatev1.CreateSessionRequest{SessionId: id, Profile: "open"}) || !l.write(ctx, id, "A") ||
		!l.do(ctx, "snapshot "+id, func(ctx context.Context) error {
			_, err := l.terms.CreateSnapshot(ctx, &sandgatev1.CreateSnapshotRequest{SessionId: id, SnapshotId: "one"}, grpc.WaitForReady(true))
			return but(err, codes.AlreadyExists)
		}) || !l.write(ctx, id, "B") {
		return
	}
	for from, fork := range forks {
		want := map[string]string{"": "B", "one": "A"}[from]
		if !l.do(ctx, "fork "+fork, func(ctx context.Context) error {
			_, err := l.terms.ForkSession(ctx, &sandgatev1.ForkSessionRequest{SessionId: id, SnapshotId: from, ForkId: fork}, grpc.WaitForReady(true))
			return but(err, codes.AlreadyExists) // whole, as what follows shows
		}) {
			return
		}
		l.either(fork, want)
	}
	if !l.do(ctx, "restore "+id, func(ctx context.Context) error {
		_, err := l.terms.RestoreSnapshot(ctx, &sandgatev1.RestoreSnapshotRequest{SessionId: id, SnapshotId: "one"}, grpc.WaitForReady(true))
		l.either(id, "A", "B")
		return err
	}) {
		return
	}
	l.either(id, "A")
	if !l.do(ctx, "remove the snapshot of "+id, func(ctx context.Context) error {
		_, err := l.terms.DeleteSnapshot(ctx, &sandgatev1.DeleteSnapshotRequest{SessionId: id, SnapshotId: "one"}, grpc.WaitForReady(true))
		return but(err, codes.NotFound)
	}) {
		return
	}
	for _, s := range []string{id, forks[""], forks["one"]} {
		if !l.closed(ctx, s) {
			return
		}
	}
}

// newRepository makes a git repository with one commit.
func newRepository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, args := range [][]string{{"init", "-q", "-b", "main", "."}, {"commit", "-q", "--allow-empty", "-m", "one"}} {
		if out, err := inRepository(dir, args...); err != nil {
			t.Fatalf("git %v: %v %s", args, err, out)
		}
	}
	return dir
}

func inRepository(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=T", "-c", "user.email=t@example.com"}, args...)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// tree commits on a branch of its own, which has to be in the repository when the
// session is closed, once and with what was committed.
func (l *load) tree(ctx context.Context, id string, _ int) {
	branch := "topic/" + id
	if !l.made(ctx, &sandgatev1.CreateSessionRequest{
		SessionId: id, Profile: "open", Workspace: &sandgatev1.WorkspaceSpec{
			Kind:        sandgatev1.WorkspaceKind_WORKSPACE_KIND_GIT_WORKTREE,
			GitWorktree: &sandgatev1.GitWorktree{Repository: l.repository, Branch: branch, KeepBranch: true},
		},
	}) || l.runs(ctx, id+".commit", id, `[ "$(git log -1 --format=%s)" = two ] || { rm -f .git/index.lock; echo `+id+` >file && git add file && git -c user.name=A -c user.email=a@example.com commit -q -m two; }`) == nil ||
		!l.closed(ctx, id) {
		return
	}
	got, err := inRepository(l.repository, "for-each-ref", "--format=%(refname:short) %(subject)", "refs/heads/topic/")
	var own []string
	for line := range strings.Lines(got) {
		if name, _, _ := strings.Cut(line, " "); name == branch || strings.HasPrefix(name, branch+"-") {
			own = append(own, strings.TrimSpace(line))
		}
	}
	if err != nil || len(own) != 1 || own[0] != branch+" two" {
		l.book.blame("%s: the repository has %v (%v), want one branch %s with its commit", id, own, err, branch)
	}
	if text, err := inRepository(l.repository, "show", branch+":file"); err != nil || text != id {
		l.book.blame("%s: the branch has %q, %v", id, text, err)
	}
}

// disk works in a session with a disk quota.
func (l *load) disk(ctx context.Context, id string, _ int) {
	if !l.made(ctx, &sandgatev1.CreateSessionRequest{SessionId: id, Profile: "open", Quota: &sandgatev1.SessionQuota{DiskBytes: 16 << 20}}) ||
		l.runs(ctx, id+".write", id, "echo kept >f; sync f") == nil {
		return
	}
	r := l.runs(ctx, id+".read", id, "cat f; df --output=size -B1 . | tail -1")
	if r == nil {
		return
	}
	if out := r.GetStdout(); len(out.GetHead()) == 0 && out.GetTotalBytes() > 0 { // the daemon was killed before it had stored the output
		l.closed(ctx, id)
		return
	}
	var text string
	var size int64
	if _, err := fmt.Sscan(string(r.GetStdout().GetHead()), &text, &size); err != nil || text != "kept" || size > 16<<20 {
		l.book.blame("%s: in the session with a quota there is %q (%v)", id, r.GetStdout().GetHead(), err)
	}
	l.closed(ctx, id)
}

// streams sends calls by ExecuteStream, which wait for their approval, and follows those
// whose stream broke off.
func (l *load) streams(ctx context.Context, id string, n int) {
	c := call{id: id, session: "streams", profile: "open", command: "echo " + id + " >>" + linesFile + "; echo " + id, writes: true, want: sandgatev1.Outcome_OUTCOME_EXITED}
	if n%3 == 0 {
		c.session, c.profile = "asked-streams", "asking"
	}
	l.book.send(c)
	l.do(ctx, "stream "+id, func(ctx context.Context) error {
		r, err := l.stream(ctx, &c)
		if err != nil {
			if r, err = l.attach(ctx, id, func([]byte, int64) {}); status.Code(err) == codes.NotFound {
				return errAgain
			}
		}
		switch {
		case err != nil:
			return err
		case r.GetOutcome() == sandgatev1.Outcome_OUTCOME_APPROVAL_REQUIRED: // its stream broke off when it was asked
			return errAgain
		}
		l.book.answered(c, r)
		return nil
	})
}

// errAgain: the daemon does not know the call.
var errAgain = errors.New("it is sent again")

func (l *load) stream(ctx context.Context, c *call) (*sandgatev1.Result, error) {
	s, err := l.tools.ExecuteStream(ctx, grpc.WaitForReady(true))
	if err != nil {
		return nil, err
	}
	start := &sandgatev1.ExecuteStart{Call: c.request().GetCall(), DetachOnDisconnect: true}
	if err := s.Send(&sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Start{Start: start}}); err != nil {
		return nil, err
	}
	for {
		m, err := s.Recv()
		if err != nil {
			return nil, err
		}
		if r := m.GetResult(); r != nil {
			return r, nil
		}
		if asked := m.GetApprovalPending().GetApproval(); asked != nil {
			if err := l.approve(ctx, asked.GetApprovalId()); err != nil {
				return nil, err
			}
		}
	}
}

// attach follows a call to its result.
func (l *load) attach(ctx context.Context, id string, take func(data []byte, offset int64)) (*sandgatev1.Result, error) {
	s, err := l.tools.Attach(ctx, &sandgatev1.AttachRequest{CallId: id}, grpc.WaitForReady(true))
	if err != nil {
		return nil, err
	}
	for {
		m, err := s.Recv()
		if err != nil {
			return nil, err
		}
		if r := m.GetResult(); r != nil {
			return r, nil
		}
		if o := m.GetOutput(); o != nil {
			take(o.GetData(), o.GetOffset())
		}
	}
}

// logs follows a detached call that writes for a while. Whatever a follower was told
// once is told again, also of a call that was running when the daemon was killed.
func (l *load) logs(ctx context.Context, id string, n int) {
	const lines = 60
	var want strings.Builder
	for i := range lines {
		fmt.Fprintf(&want, "%s line %d\n", id, i)
	}
	c := call{
		id: id, session: "logs", profile: "open", detached: true, writes: true, want: sandgatev1.Outcome_OUTCOME_EXITED,
		command: fmt.Sprintf("for i in {0..%d}; do echo %s line $i; sleep 0.0%02d; done; echo %s >>%s", lines-1, id, n%4, id, linesFile),
	}
	l.book.send(c)
	seen, last := 0, ""
	l.do(ctx, "log "+id, func(ctx context.Context) error {
		if _, err := l.tools.Execute(ctx, c.request(), grpc.WaitForReady(true)); err != nil {
			return err
		}
		got := []byte(nil)
		r, err := l.attach(ctx, id, func(data []byte, offset int64) {
			if offset != int64(len(got)) {
				l.book.blame("%s: output at %d follows %d bytes", id, offset, len(got))
			}
			got = append(got, data...)
		})
		if status.Code(err) == codes.NotFound {
			return errAgain
		}
		if !strings.HasPrefix(want.String(), string(got)) {
			l.book.blame("%s: its output is %.300q", id, got)
		}
		if err != nil {
			seen = max(seen, len(got))
			return err
		}
		last = fmt.Sprintf("%v %q", r.GetOutcome(), r.GetMessage())
		l.book.answered(c, r)
		switch {
		case r.GetOutcome() == c.want && len(got) != want.Len():
			l.book.blame("%s: %d bytes of output, want %d (%s)", id, len(got), want.Len(), last)
		case len(got) < seen:
			l.book.blame("%s: a follower had seen %d bytes, now there are %d (%s)", id, seen, len(got), last)
		case r.GetStdout().GetTotalBytes() != int64(len(got)):
			l.book.blame("%s: %d bytes of output, its result tells of %d (%s)", id, len(got), r.GetStdout().GetTotalBytes(), last)
		case len(got) > 0 && r.GetOutcome() == sandgatev1.Outcome_OUTCOME_UNKNOWN && !tellsItsEnd(r.GetMessage(), len(got)):
			l.book.blame("%s: nothing tells that its output ends after %d bytes: %s", id, len(got), last)
		}
		return nil
	})
}

// tellsItsEnd reports whether a message says that there may be more output than these
// bytes: the daemon was killed, or the cell under the daemon.
func tellsItsEnd(message string, bytes int) bool {
	return strings.Contains(message, fmt.Sprintf("stdout ends after %d bytes", bytes)) || strings.Contains(message, "the cell ended under the call")
}
