package e2e

import (
	"bytes"
	"context"
	"errors"
	"net"
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

func TestBadRequestsAreNamedAndNothingRuns(t *testing.T) {
	d := daemontest.Start(t, "pool: {idle: 1}\n")
	for _, c := range []struct {
		name string
		call *sandgatev1.Call
		code codes.Code
		says []string
	}{
		{"unknown tool", &sandgatev1.Call{Tool: "bsah", ArgsJson: "{}"}, codes.NotFound, []string{"bsah", "bash"}},
		{"no tool", &sandgatev1.Call{ArgsJson: "{}"}, codes.InvalidArgument, []string{"tool"}},
		{"wrong type", &sandgatev1.Call{Tool: "bash", ArgsJson: `{"command": 7}`}, codes.InvalidArgument, []string{"command", "string"}},
		{"missing argument", &sandgatev1.Call{Tool: "bash", ArgsJson: `{}`}, codes.InvalidArgument, []string{"command"}},
		{"unknown argument", &sandgatev1.Call{Tool: "bash", ArgsJson: `{"command":"ls","cmd":1}`}, codes.InvalidArgument, []string{"cmd"}},
		{"not JSON", &sandgatev1.Call{Tool: "bash", ArgsJson: `{"command":`}, codes.InvalidArgument, []string{"JSON"}},
		{"oversized", &sandgatev1.Call{Tool: "bash", ArgsJson: `{"command":"` + strings.Repeat("a", 2<<20) + `"}`}, codes.InvalidArgument, []string{"args_json", "1048576"}},
		{"larger than a message", &sandgatev1.Call{Tool: "bash", ArgsJson: `{"command":"` + strings.Repeat("a", 5<<20) + `"}`}, codes.ResourceExhausted, []string{"larger than max"}},
		{"NUL", &sandgatev1.Call{Tool: "bash", ArgsJson: `{"command":"ls \u0000"}`}, codes.InvalidArgument, []string{"NUL"}},
		{"half a surrogate pair", &sandgatev1.Call{Tool: "bash", ArgsJson: "{\"command\":\"\\ud800\"}"}, codes.InvalidArgument, []string{"surrogate"}},
		{"profile not given", &sandgatev1.Call{Tool: "bash", ArgsJson: `{"command":"ls"}`, Profile: "nope"}, codes.PermissionDenied, []string{"nope", "readonly"}},
		{"workspace not permitted", &sandgatev1.Call{Tool: "bash", ArgsJson: `{"command":"ls"}`, WorkspaceDir: "/etc"}, codes.PermissionDenied, []string{"/etc", "workspace_dirs"}},
		{"environment name", &sandgatev1.Call{Tool: "bash", ArgsJson: `{"command":"ls"}`, Env: map[string]string{"A=B": "x"}}, codes.InvalidArgument, []string{"env"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			_, err := d.Tools.Execute(ctx, &sandgatev1.ExecuteRequest{Call: c.call})
			if status.Code(err) != c.code {
				t.Fatalf("got %v, want %v", err, c.code)
			}
			for _, want := range c.says {
				if !strings.Contains(status.Convert(err).Message(), want) {
					t.Errorf("message %q does not say %q", status.Convert(err).Message(), want)
				}
			}
		})
	}
	if got := d.Footprint(); got.Guests != 0 {
		t.Errorf("something runs: %+v", got)
	}
}

// startExpectingFailure runs sandgated until it ends by itself and returns what
// it said. A daemon that goes on is an error of the test.
func startExpectingFailure(t *testing.T, config string) string {
	t.Helper()
	daemontest.RequireRoot(t)
	bin, err := daemontest.BinDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "sandgated"), "--config", path)
	var out bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = daemontest.Environ(), &out, &out
	err = cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("sandgated: got %v, want it to refuse to start:\n%s", err, out.String())
	}
	return out.String()
}

// shortDir is a directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sg-") //nolint:usetesting // its path is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestDaemonThatCannotServeSaysWhyAndLeavesNothing(t *testing.T) {
	daemontest.RequireRoot(t)
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close() //nolint:errcheck // nothing was written
	broken := shortDir(t)
	if err := os.WriteFile(filepath.Join(broken, "containerd"), []byte("#!/bin/sh\necho no such luck >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	bin, err := daemontest.BinDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"containerd-shim-runc-v2", "runc", "sandgate-init"} {
		if err := os.Symlink(filepath.Join(bin, name), filepath.Join(broken, name)); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(shortDir(t), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	base := "containerd: {bin_dir: " + bin + "}\n"
	for _, c := range []struct {
		name, config string
		says         []string
	}{
		{"missing policy directory", base + "policy: {dir: /nonexistent/policies}\n", []string{"policy", "/nonexistent/policies"}},
		{"containerd that does not start", "containerd: {bin_dir: " + broken + "}\n", []string{"containerd", "no such luck"}},
		{"used port", base + "listen: {tcp: {address: '" + used.Addr().String() + "', allow_anonymous: true}}\n", []string{used.Addr().String(), "in use"}},
		{"data directory is a file", base + "data_dir: " + file + "\n", []string{file}},
		{"unwritable data directory", base + "data_dir: /proc/sandgate\n", []string{"/proc/sandgate"}},
		{"unknown key", base + "polices: {}\n", []string{"polices"}},
		{"default above ceiling", base + "defaults: {memory: 1024GiB}\n", []string{"defaults.memory", "ceiling.memory"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := c.config
			if !strings.Contains(config, "data_dir") {
				config += "data_dir: " + shortDir(t) + "\n"
			}
			said := startExpectingFailure(t, config)
			for _, want := range c.says {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q:\n%s", want, said)
				}
			}
			if strings.Contains(said, "goroutine ") {
				t.Errorf("it panicked:\n%s", said)
			}
		})
	}
}
