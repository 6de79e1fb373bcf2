package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/daemontest"
)

// typed is a streamed call that a test talks to.
type typed struct {
	t      *testing.T
	stream sandgatev1.ToolService_ExecuteStreamClient
	out    []byte // of stdout, not waited for yet
}

func talk(t *testing.T, d *daemontest.Daemon, start *sandgatev1.ExecuteStart) *typed {
	t.Helper()
	stream, err := clients(t, d, 1)[0].ExecuteStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	k := &typed{t: t, stream: stream}
	k.send(&sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Start{Start: start}})
	return k
}

func (k *typed) send(req *sandgatev1.ExecuteStreamRequest) {
	k.t.Helper()
	if err := k.stream.Send(req); err != nil {
		k.t.Fatal(err)
	}
}

func (k *typed) say(text string) {
	k.t.Helper()
	k.send(&sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Stdin{Stdin: []byte(text)}})
}

func (k *typed) signal(name string) {
	k.t.Helper()
	k.send(&sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Signal{Signal: name}})
}

func (k *typed) want(text string) {
	k.t.Helper()
	for {
		if at := bytes.Index(k.out, []byte(text)); at >= 0 {
			k.out = k.out[at+len(text):]
			return
		}
		msg, err := k.stream.Recv()
		if err != nil {
			k.t.Fatalf("no %q in %q: %v", text, k.out, err)
		}
		if res := msg.GetResult(); res != nil {
			k.t.Fatalf("the call ended as %v %q without %q, rest %q", res.GetOutcome(), res.GetMessage(), text, k.out)
		}
		k.out = append(k.out, msg.GetOutput().GetData()...)
	}
}

func (k *typed) end() (*sandgatev1.Result, error) {
	for {
		msg, err := k.stream.Recv()
		if err != nil {
			return nil, err
		}
		if msg.GetResult() != nil {
			return msg.GetResult(), nil
		}
	}
}

// TestInteractiveCalls takes signals and a terminal the whole way through a daemon, over
// its API and by the command.
func TestInteractiveCalls(t *testing.T) {
	d := daemontest.Start(t, "")
	call := func(script string) *sandgatev1.Call {
		return daemontest.Bash(script, daemontest.Profile("open")).GetCall()
	}
	t.Run("signal", func(t *testing.T) {
		k := talk(t, d, &sandgatev1.ExecuteStart{Call: call("trap 'echo told; exit 4' TERM; echo ready; while :; do sleep 0.05; done")})
		k.want("ready")
		k.signal("SIGTERM")
		k.want("told")
		if res, err := k.end(); err != nil || res.GetExitCode() != 4 {
			t.Errorf("got %v, %v, want exit code 4", res, err)
		}
	})
	t.Run("unknown signal", func(t *testing.T) {
		k := talk(t, d, &sandgatev1.ExecuteStart{Call: call("sleep 1000")})
		k.signal("SIGNOT")
		if _, err := k.end(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "SIGTERM") {
			t.Errorf("got %v, want INVALID_ARGUMENT that names the good ones", err)
		}
	})
	t.Run("terminal", func(t *testing.T) {
		k := talk(t, d, &sandgatev1.ExecuteStart{
			Call: call("exec bash --norc -i"), Stdin: true,
			Terminal: &sandgatev1.Terminal{Size: &sandgatev1.TerminalSize{Rows: 20, Cols: 70}, Term: "vt100"},
		})
		k.say("PS1='> '; tty; stty size; echo kind=$TERM\n")
		k.want("/dev/pts/0\r\n20 70\r\nkind=vt100\r\n")
		k.send(&sandgatev1.ExecuteStreamRequest{Event: &sandgatev1.ExecuteStreamRequest_Resize{Resize: &sandgatev1.TerminalSize{Rows: 40, Cols: 132}}})
		k.say("until [ \"$(stty size)\" = '40 132' ]; do sleep 0.02; done; echo re\"\"sized\n")
		k.want("resized\r\n")
		k.say("bash -c 'echo u\"\"p; exec sleep 1000'\n")
		k.want("up\r\n")
		k.say("\x03")
		k.say("exit 5\n")
		if res, err := k.end(); err != nil || res.GetExitCode() != 5 || res.GetStderr().GetTotalBytes() != 0 {
			t.Errorf("got %v, %v, want exit code 5", res, err)
		}
	})
	t.Run("command", func(t *testing.T) {
		script, err := exec.LookPath("script")
		if err != nil {
			t.Skip("there is no script(1) to make a terminal for the command")
		}
		bin, err := daemontest.BinDir()
		if err != nil {
			t.Fatal(err)
		}
		line := filepath.Join(bin, "sandgate") + " --addr unix://" + d.Socket +
			` call -t bash --profile open --arg command='test -t 0 && stty size && read -r x && echo "got $x"'`
		cmd := exec.Command(script, "-qec", "stty rows 21 cols 71; "+line+"; stty -a | grep -c ' icanon'", "/dev/null")
		cmd.Env = append(os.Environ(), "TERM=xterm", "SHELL=/bin/sh")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write([]byte("words\n")); err != nil {
			t.Fatal(err)
		}
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("21 71\r\n")) || !bytes.Contains(out, []byte("got words\r\n")) || !bytes.HasSuffix(bytes.TrimSpace(out), []byte("1")) {
			t.Errorf("got %q, %v, want the size, the words, and a terminal that is as it was", out, err)
		}
	})
}

// TestInterruptedCommand: the first Ctrl-C is the program's, the second one ends the call.
func TestInterruptedCommand(t *testing.T) {
	d := daemontest.Start(t, "")
	bin, err := daemontest.BinDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, script string
		again        bool // until it ends
		code         int
		last         string
	}{
		{"handled", "trap 'echo told; exit 7' INT; echo ready; while :; do sleep 0.05; done", false, 7, "told"},
		{"not handled", "echo ready; sleep 1000", false, 130, ""},
		{"ignored", "trap '' INT; echo ready; sleep 1000", true, 130, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "sandgate"), "--addr", "unix://"+d.Socket,
				"call", "bash", "--quiet", "--profile", "open", "--arg", "command="+tc.script)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			if !lines.Scan() || lines.Text() != "ready" {
				t.Errorf("got %q, want ready", lines.Text())
			}
			interrupt := func() {
				if err := cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
					t.Error(err)
				}
			}
			interrupt()
			last, ended, quiet := "", make(chan struct{}), make(chan struct{})
			go func() {
				defer close(quiet)
				for again := tc.again; again; { // two that come at once are one to the kernel
					select {
					case <-ended:
						again = false
					case <-time.After(50 * time.Millisecond):
						interrupt()
					}
				}
			}()
			for lines.Scan() {
				last = lines.Text()
			}
			close(ended)
			<-quiet
			_ = cmd.Wait() // the code tells
			if code := cmd.ProcessState.ExitCode(); code != tc.code || last != tc.last {
				t.Errorf("ended with %d after %q, want %d after %q", code, last, tc.code, tc.last)
			}
		})
	}
}
