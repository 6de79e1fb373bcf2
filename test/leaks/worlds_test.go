package leaks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// Profiles, the tool and the image that only the daemon of this test has.
const (
	gvisorProfile      = "stronger"
	transactionProfile = "careful"
	imageTool          = "cat_in_image"
	imageName          = "leaks.local/cat:1"
	// Sessions of transactions.
	committing = "leaks-committed"
	dropping   = "leaks-dropped"
	// quota is the disk of a session that has a file system of its own.
	quota = 32 << 20
)

// worlds are the kinds of calls that bring more than a cell of the host image: they are
// slower, and few.
func worlds() []kind {
	return []kind{
		{"imported image", 1, inImage("")},
		{"imported image, session", 1, inImage("leaks-image")},
		{"gVisor", 1, inGVisor("")},
		{"gVisor, session", 1, inGVisor("leaks-gvisor")},
		{"disk quota", 1, withQuota},
		{"transaction, committed", 1, transaction(committing, "echo %d >made", sandgatev1.EffectsState_EFFECTS_STATE_COMMITTED)},
		{"transaction, dropped", 1, transaction(dropping, "echo %d >made; mkfifo fifo", sandgatev1.EffectsState_EFFECTS_STATE_DROPPED)},
		{"detached, attached to", 1, detached},
		{"detached, cancelled", 1, detachedAndCancelled},
		{"terminal", 1, typedAt},
	}
}

// in makes the call in a session of its kind, so that no session is made after the first
// call of the kind; empty is none.
func in(session string) option {
	return func(r *sandgatev1.ExecuteRequest) { r.Call.SessionId = session }
}

func inImage(session string) func(context.Context, *target, int) error {
	return func(ctx context.Context, d *target, _ int) error {
		resp, err := d.Tools.Execute(ctx, daemontest.Request(imageTool, struct{}{}, daemontest.Profile("open"),
			daemontest.Stdin([]byte("through an image\n")), in(session)))
		if err != nil {
			return err
		}
		r := resp.GetResult()
		if got := r.GetReceipt(); got.GetImage() != imageName || !strings.HasPrefix(got.GetImageDigest(), "sha256:") {
			return fmt.Errorf("it ran in the image %q %q (%v %s), want %s", got.GetImage(), got.GetImageDigest(), r.GetOutcome(), r.GetMessage(), imageName)
		}
		return ended(r, exited, "through an image\n")
	}
}

func inGVisor(session string) func(context.Context, *target, int) error {
	return func(ctx context.Context, d *target, _ int) error {
		resp, err := d.Tools.Execute(ctx, daemontest.Bash("grep -o gvisor /proc/version; sleep 1000 & true",
			daemontest.Profile(gvisorProfile), in(session)))
		if err != nil {
			return err
		}
		r := resp.GetResult()
		if got := r.GetReceipt().GetIsolation(); got != "gvisor" {
			return fmt.Errorf("it ran in %q (%v %s), want gvisor", got, r.GetOutcome(), r.GetMessage())
		}
		return ended(r, exited, "gvisor\n")
	}
}

// quotaSession opens a session with a file system of its own; the caller closes it.
func quotaSession(ctx context.Context, d *target, id string) error {
	_, err := d.sessions.CreateSession(ctx, &sandgatev1.CreateSessionRequest{
		SessionId: id, Profile: "open", Quota: &sandgatev1.SessionQuota{DiskBytes: quota},
	})
	return err
}

func closeSession(ctx context.Context, d *target, id string) error {
	_, err := d.sessions.CloseSession(ctx, &sandgatev1.CloseSessionRequest{SessionId: id})
	return err
}

// withQuota opens a session that has a quota, fills it in every other one, and closes it.
func withQuota(ctx context.Context, d *target, n int) error {
	id := fmt.Sprintf("leaks-quota-%d", n)
	if err := quotaSession(ctx, d, id); err != nil {
		return err
	}
	command, stdout, want := "echo x >kept; echo y >gone; rm gone; cat kept", "x\n", exited
	if n/100%2 == 1 {
		command, stdout, want = "head -c 64m /dev/zero >big", "", sandgatev1.Outcome_OUTCOME_DISK_LIMIT
	}
	resp, err := d.Tools.Execute(ctx, daemontest.Bash(command, daemontest.Profile("open"), daemontest.Session(id)))
	if err == nil {
		err = ended(resp.GetResult(), want, stdout)
	}
	if got := resp.GetResult().GetReceipt().GetEnforced()["workspace_disk_bytes"]; err == nil && (got == 0 || got > quota) {
		err = fmt.Errorf("it ran with a workspace of %d bytes, want at most %d", got, quota)
	}
	return errors.Join(err, closeSession(ctx, d, id))
}

// transaction writes a file of the call's own number in a session; whatever becomes of
// it must be what is told.
func transaction(session, command string, want sandgatev1.EffectsState) func(context.Context, *target, int) error {
	return func(ctx context.Context, d *target, n int) error {
		resp, err := d.Tools.Execute(ctx, daemontest.Bash(fmt.Sprintf(command, n), daemontest.Profile(transactionProfile), in(session)))
		if err != nil {
			return err
		}
		r := resp.GetResult()
		if got := r.GetEffects().GetState(); got != want {
			return fmt.Errorf("its changes are %v (%v %s), want %v", got, r.GetOutcome(), r.GetMessage(), want)
		}
		return ended(r, exited, "")
	}
}

// begin starts a detached call.
func begin(ctx context.Context, d *target, req *sandgatev1.ExecuteRequest) error {
	req.Detach = true
	resp, err := d.Tools.Execute(ctx, req)
	if err == nil && resp.GetRunning().GetCallId() == "" {
		err = fmt.Errorf("it does not run: %v %s", resp.GetResult().GetOutcome(), resp.GetResult().GetMessage())
	}
	return err
}

// follow attaches to a call until it has ended.
func follow(ctx context.Context, d *target, id string) (stdout string, res *sandgatev1.Result, err error) {
	s, err := d.Tools.Attach(ctx, &sandgatev1.AttachRequest{CallId: id})
	if err != nil {
		return "", nil, err
	}
	for {
		m, err := s.Recv()
		switch {
		case errors.Is(err, io.EOF) && res != nil:
			return stdout, res, nil
		case err != nil:
			return stdout, nil, err
		case m.GetResult() != nil:
			res = m.GetResult()
		case m.GetOutput().GetStream() == sandgatev1.Stream_STREAM_STDOUT:
			stdout += string(m.GetOutput().GetData())
		}
	}
}

func detached(ctx context.Context, d *target, n int) error {
	id := fmt.Sprintf("detached-%d", n)
	if err := begin(ctx, d, request(n, "echo here; sleep 0.05; echo there", inSession, daemontest.CallID(id))); err != nil {
		return err
	}
	stdout, res, err := follow(ctx, d, id)
	if err != nil {
		return err
	}
	if stdout != "here\nthere\n" {
		return fmt.Errorf("who attached saw %q, want here and there", stdout)
	}
	return ended(res, exited, "here\nthere\n")
}

func detachedAndCancelled(ctx context.Context, d *target, n int) error {
	id := fmt.Sprintf("detached-%d", n)
	if err := begin(ctx, d, request(n, "sleep 1000 & sleep 1000", inSession, daemontest.CallID(id))); err != nil {
		return err
	}
	return cancelDetached(ctx, d, id)
}

func cancelDetached(ctx context.Context, d *target, id string) error {
	if _, err := d.Tools.Cancel(ctx, &sandgatev1.CancelRequest{CallId: id}); err != nil {
		return err
	}
	_, res, err := follow(ctx, d, id)
	if err != nil {
		return err
	}
	return ended(res, cancelled, "")
}

// typedAt answers a program that has a terminal.
func typedAt(ctx context.Context, d *target, n int) error {
	s, err := open(ctx, d, &sandgatev1.ExecuteStart{
		Call:  request(n, "stty -echo; test -t 0 && read line && echo got $line; sleep 1000 & true", inSession).GetCall(),
		Stdin: true, Terminal: &sandgatev1.Terminal{},
	})
	if err != nil {
		return err
	}
	if err := s.Send(&sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Stdin{Stdin: []byte("typed\n")}}); err != nil {
		return err
	}
	res, err := result(s)
	if err != nil {
		return err
	}
	if got := daemontest.Text(res.GetStdout()); !strings.HasSuffix(got, "got typed\r\n") {
		return fmt.Errorf("the terminal shows %q, want that it got what was typed", got)
	}
	return ended(res, exited, "")
}
