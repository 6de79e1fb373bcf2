//go:build linux

package raw

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
)

// child is a process that runs a script of the test's.
type child struct {
	*Arena
	script *Script
	report Int
	out    Int // the writing end of what read reads
	ours   *os.File
	theirs *os.File
}

// newChild makes the pipes and begins the script. The process is not started.
// No script here may Reap: outside of a namespace that would end the machine.
func newChild(t *testing.T) *child {
	t.Helper()
	a, err := NewArena()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{Arena: a}
	if c.ours, c.theirs, err = os.Pipe(); err != nil {
		t.Fatal(err)
	}
	at := a.Reserve(8)
	c.report, c.out = a.IntAt(at), a.IntAt(at+4)
	for i := range 2 {
		binary.NativeEndian.PutUint32(a.Bytes(at, 8)[4*i:], uint32(c.theirs.Fd())) //nolint:gosec // a descriptor
	}
	c.script = a.Script(32, 4096)
	return c
}

// run starts the process and returns what it wrote and how it ended.
func (c *child) run(t *testing.T, meanwhile func()) (string, syscall.WaitStatus) {
	t.Helper()
	c.Put(c.script)
	pid, err := c.Fork(c.script, c.report, syscall.SIGCHLD)
	if err != nil {
		t.Fatal(err)
	}
	if meanwhile != nil {
		meanwhile()
	}
	if err := c.theirs.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(c.ours)
	if err != nil {
		t.Fatal(err)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.ours.Close(); err != nil {
		t.Fatal(err)
	}
	return string(text), status
}

func TestScriptRunsWithoutARuntime(t *testing.T) {
	c := newChild(t)
	s, w := c.script, c.Word()
	s.Signals()
	s.Call("get pid", syscall.SYS_GETPID).Keep(w)
	s.ExitIfZero(w)
	s.Call("close nothing", syscall.SYS_CLOSE, 9999).Ignore(syscall.EBADF)
	skip := s.Fork("fork a child", uintptr(syscall.SIGCHLD))
	s.Call("wait", syscall.SYS_WAIT4, -1, 0, 0, 0)
	s.Call("write", syscall.SYS_WRITE, c.out, "parent\n", 7)
	s.Exit(7)
	skip.To(s.Here())
	s.Call("write", syscall.SYS_WRITE, c.out, "child\n", 6)
	s.Exit(0)
	if text, status := c.run(t, nil); text != "child\nparent\n" || status.ExitStatus() != 7 {
		t.Errorf("got %q and %d, want the child's line, the parent's and 7", text, status.ExitStatus())
	}
}

func TestSpawnedProcessSharesTheMemory(t *testing.T) {
	c := newChild(t)
	s, w, said := c.script, c.Word(), c.Word()
	pid, role := c.Reserve(8), c.Role(c.report)
	var stack uintptr
	want := "a\n\x00\x00\x00\x00\x00\x00" // the child has written into a copy
	if SharesMemory {
		stack, want = c.Stack(), "b\n\x00\x00\x00\x00\x00\x00"
	}
	binary.NativeEndian.PutUint64(c.Bytes(c.Addr(said), 8), uint64('a')|'\n'<<8)
	from := c.Reserve(8)
	binary.NativeEndian.PutUint32(c.Bytes(from, 4), uint32('b')|'\n'<<8)
	s.Slim()
	child := s.Spawn("spawn a child", syscall.CLONE_VM|syscall.CLONE_PARENT_SETTID|uintptr(syscall.SIGCHLD), role, stack, pid).Keep(w)
	s.Call("wait", syscall.SYS_WAIT4, w, 0, 0, 0)
	s.Call("write what the child left", syscall.SYS_WRITE, c.out, c.Addr(said), 8)
	s.Call("is told of the pid", syscall.SYS_WRITE, c.out, pid, 4)
	s.Call("as returned", syscall.SYS_WRITE, c.out, c.Addr(w), 4)
	s.Exit(5)
	child.To(s.Here())
	s.Copy(c.IntAt(from), c.IntAt(c.Addr(said)))
	s.Call("fail", syscall.SYS_CLOSE, 9999)
	text, status := c.run(t, nil)
	if len(text) != 20+16 || status.ExitStatus() != 5 {
		t.Fatalf("got %q and %d, want a fault, what was written, two pids and 5", text, status.ExitStatus())
	}
	if f, err := DecodeFault([]byte(text)[8:20]); err != nil || f.Errno != syscall.EBADF {
		t.Errorf("fault of the child: got %+v, %v, want EBADF", f, err)
	}
	if got := text[20:28]; got != want {
		t.Errorf("the parent sees %q, want %q", got, want)
	}
	if text[28:32] != text[32:36] {
		t.Errorf("pid as stored %q, as returned %q", text[28:32], text[32:36])
	}
}

func TestFaultNamesItsStep(t *testing.T) {
	c := newChild(t)
	c.script.Call("first", syscall.SYS_GETPID)
	c.script.Call("open what is not there", syscall.SYS_OPENAT, -1, "/no/such", 0)
	c.script.Exit(0)
	text, status := c.run(t, nil)
	if len(text) != 20 || status.ExitStatus() != 1 {
		t.Fatalf("got %q and %d, want a record and 1", text, status.ExitStatus())
	}
	f, err := DecodeFault([]byte(text)[8:])
	if err != nil || f.Errno != syscall.ENOENT || c.script.Tag(f.Tag) != "open what is not there" {
		t.Errorf("got %+v, %v, %q", f, err, c.script.Tag(f.Tag))
	}
	if got := c.script.Tag(99); got != "step 99" {
		t.Errorf("an unknown tag is %q", got)
	}
}

// inbox runs a process that takes a script from a pipe.
func inbox(t *testing.T, write func(*child, *Script), cut int) (string, syscall.WaitStatus) {
	t.Helper()
	c := newChild(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	at := c.Reserve(4)
	binary.NativeEndian.PutUint32(c.Bytes(at, 4), uint32(r.Fd())) //nolint:gosec // a descriptor
	c.script.Call("close the other end", syscall.SYS_CLOSE, int(w.Fd()))
	c.script.Receive("take a script", c.IntAt(at), 1)
	return c.run(t, func() {
		s := c.Inbox(1, 8, nil)
		write(c, s)
		m, err := s.Message()
		if err != nil {
			t.Error(err)
		}
		if _, err := w.Write(m[:len(m)-cut]); err != nil {
			t.Error(err)
		}
		if err := errors.Join(w.Close(), r.Close()); err != nil {
			t.Error(err)
		}
	})
}

func TestScriptComesThroughAPipe(t *testing.T) {
	long := strings.Repeat("x", 100<<10) // more than a pipe holds
	text, status := inbox(t, func(c *child, s *Script) {
		s.Call("write", syscall.SYS_WRITE, c.out, long, len(long))
		s.Exit(3)
	}, 0)
	if text != long || status.ExitStatus() != 3 {
		t.Errorf("got %d bytes and %d, want %d and 3", len(text), status.ExitStatus(), len(long))
	}
	text, status = inbox(t, func(c *child, s *Script) { s.Call("write", syscall.SYS_WRITE, c.out, "no", 2) }, 1)
	if text != "" || status.ExitStatus() != 0 {
		t.Errorf("a script that was cut: got %q and %d, want a quiet end", text, status.ExitStatus())
	}
}

func TestExecTriesOnePathAfterAnother(t *testing.T) {
	run := func(paths ...string) (string, syscall.WaitStatus) {
		return inbox(t, func(c *child, s *Script) {
			s.Call("take stdout", syscall.SYS_DUP3, c.out, 1, 0)
			s.Exec("execute", paths, []string{"sh", "-c", "echo $A$1", "sh", "b"}, []string{"A=a"})
		}, 0)
	}
	if text, status := run("/nowhere/sh", "/etc/passwd/sh", "/bin/sh"); text != "ab\n" || status.ExitStatus() != 0 {
		t.Errorf("got %q and %d, want ab", text, status.ExitStatus())
	}
	for _, tc := range []struct {
		paths []string
		errno syscall.Errno
		at    uint32
	}{
		{[]string{"/nowhere/sh"}, syscall.ENOENT, 0},
		{[]string{"/nowhere/sh", "/etc/passwd", "/none"}, syscall.EACCES, 1},
		{[]string{"/nowhere/sh", "/proc/self/loop/" + strings.Repeat("x", 300)}, syscall.ENOENT, 0},
	} {
		text, _ := run(tc.paths...)
		if len(text) != 20 {
			t.Fatalf("%q: got %q, want a record", tc.paths, text)
		}
		f, err := DecodeFault([]byte(text)[8:])
		if err != nil || f.Errno != tc.errno || f.Detail != tc.at {
			t.Errorf("%q: got %+v, %v, want %v at %d", tc.paths, f, err, tc.errno, tc.at)
		}
	}
}

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	a, err := NewArena()
	if err != nil {
		t.Fatal(err)
	}
	s := a.Inbox(0, 1, nil)
	s.String(strings.Repeat("x", MaxInboxBytes))
	if _, err := s.Message(); !errors.Is(err, syscall.E2BIG) {
		t.Errorf("a script beyond its bound: got %v, want E2BIG", err)
	}
	for name, err := range map[string]error{
		"end": func() error { _, err := DecodeEnd(make([]byte, 3)); return err }(), "fault": func() error { _, err := DecodeFault(nil); return err }(),
	} {
		if err == nil {
			t.Errorf("%s of a wrong size: no error", name)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a script with more ops than it has room for: no panic")
		}
	}()
	s.Exit(0)
	s.Exit(0)
}
