package powercut

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// Facts are what the daemon has acknowledged beside calls. The guest says each to the
// host, which tells them to the next boot, which looks whether they hold:
//
//	MADE session       it is there, unless
//	CLOSING session    its end was asked for, and
//	CLOSED session     it is not, nor are its grants
//	YES approval       somebody has given it
//	GRANT id session   it lives
//	USED id            it was used once more
const factTag = "! "

// askingProfile asks about all its calls, which their own caller may approve.
const askingProfile = `package sandgate.profiles.asking

ask contains {"rule": "all", "message": "it is a test"}

ask_terms := {"self": true, "quorum": 1}

obligations := {}
`

const grantUses = 50

// permits makes sessions, has calls approved and granted in them, and closes them, until
// the power goes or the rounds are over.
func (g *guest) permits(boot string, rounds int) {
	for n := range rounds {
		if err := g.round(fmt.Sprintf("p%s-%d", boot, n)); err != nil {
			g.say("ERROR %v", err)
		}
	}
}

func (g *guest) round(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if _, err := g.terms.CreateSession(ctx, &sandgatev1.CreateSessionRequest{SessionId: id, Profile: "asking"}, grpc.WaitForReady(true)); err != nil {
		return err
	}
	g.say("FACT MADE %s", id)
	call := func(n int) *sandgatev1.ExecuteRequest {
		return daemontest.Bash("sleep 0", daemontest.CallID(fmt.Sprintf("%s.%d", id, n)), daemontest.Session(id), daemontest.Profile("asking"), daemontest.Timeout(time.Minute))
	}
	asked := g.send(call(0))
	if asked.GetOutcome() != sandgatev1.Outcome_OUTCOME_APPROVAL_REQUIRED {
		return fmt.Errorf("%s: got %v, want that it asks", id, asked.GetOutcome())
	}
	approval := asked.GetApprovalId()
	seen, err := g.asks.GetApproval(ctx, &sandgatev1.GetApprovalRequest{ApprovalId: approval})
	if err != nil {
		return err
	}
	given, err := g.asks.Approve(ctx, &sandgatev1.ApproveRequest{
		ApprovalId: approval, Digest: seen.GetApproval().GetBindingDigest(), Grant: &sandgatev1.GrantTerms{Uses: grantUses},
	})
	if err != nil {
		return err
	}
	grant := given.GetApproval().GetGrantId()
	g.say("FACT YES %s", approval)
	g.say("FACT GRANT %s %s", grant, id)
	for n := range 3 { // the first by the approval, the others by the grant
		r := g.send(call(n))
		if r.GetOutcome() != sandgatev1.Outcome_OUTCOME_EXITED {
			g.t.Errorf("%s.%d: got %v %s", id, n, r.GetOutcome(), r.GetMessage())
			return nil
		}
		g.say("ACK %s.%d %s %d", id, n, r.GetOutcome(), r.GetExitCode())
		if n > 0 {
			g.say("FACT USED %s", grant)
		}
	}
	g.say("FACT CLOSING %s", id)
	if _, err := g.terms.CloseSession(ctx, &sandgatev1.CloseSessionRequest{SessionId: id}); err != nil {
		return err
	}
	g.say("FACT CLOSED %s", id)
	return nil
}

// facts are what was acknowledged before this boot.
type facts struct {
	made, closing, closed, yes map[string]bool
	grants                     map[string]string // sessions
	used                       map[string]int32
	count                      int
}

func readFacts() (*facts, error) {
	f := &facts{
		made: map[string]bool{}, closing: map[string]bool{}, closed: map[string]bool{}, yes: map[string]bool{},
		grants: map[string]string{}, used: map[string]int32{},
	}
	file, err := os.Open(os.Getenv(envKnown))
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // only read
	for sc := bufio.NewScanner(file); sc.Scan(); {
		line, ours := strings.CutPrefix(sc.Text(), factTag)
		words := strings.Fields(line)
		if !ours || len(words) < 2 {
			continue
		}
		f.count++
		switch id := words[1]; words[0] {
		case "MADE":
			f.made[id] = true
		case "CLOSING":
			f.closing[id] = true
		case "CLOSED":
			f.closed[id] = true
		case "YES":
			f.yes[id] = true
		case "GRANT":
			f.grants[id] = words[2]
		case "USED":
			f.used[id]++
		default:
			return nil, fmt.Errorf("the fact %q is not known", line)
		}
	}
	return f, nil
}

// hold looks whether what was acknowledged before holds, and tells the host.
func (g *guest) hold() {
	f, err := readFacts()
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	there := map[string]bool{}
	for id := range f.made {
		_, err := g.terms.GetSession(ctx, &sandgatev1.GetSessionRequest{SessionId: id}, grpc.WaitForReady(true))
		if there[id] = err == nil; err != nil && status.Code(err) != codes.NotFound {
			g.t.Fatalf("session %s: %v", id, err)
		}
		switch {
		case f.closed[id] && there[id]:
			g.say("LOST the end of session %s", id)
		case !f.closing[id] && !there[id]:
			g.say("LOST session %s: %v", id, err)
		}
	}
	for id := range f.yes {
		got, err := g.asks.GetApproval(ctx, &sandgatev1.GetApprovalRequest{ApprovalId: id}, grpc.WaitForReady(true))
		if err != nil || got.GetApproval().GetState() == sandgatev1.ApprovalState_APPROVAL_STATE_PENDING || len(got.GetApproval().GetVotes()) != 1 {
			g.say("LOST the approval %s: %v %v", id, got.GetApproval().GetState(), err)
		}
	}
	list, err := g.asks.ListGrants(ctx, &sandgatev1.ListGrantsRequest{}, grpc.WaitForReady(true))
	if err != nil {
		g.t.Fatal(err)
	}
	used := map[string]int32{}
	for _, grant := range list.GetGrants() {
		used[grant.GetGrantId()] = grant.GetUsed()
	}
	for id, session := range f.grants {
		n, lives := used[id]
		if lives != there[session] || lives && n < f.used[id] {
			g.say("LOST the grant %s: it lives: %v, its session is there: %v, used %d times of at least %d", id, lives, there[session], n, f.used[id])
		}
	}
	g.say("HELD %d", f.count)
}
