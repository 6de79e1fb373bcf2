//go:build linux

// Command sandgate-init is PID 1 of a cell. The sandbox runtime on the host puts
// it there and talks to it in the protocol of sandbox/cell, over the socket at
// cell.SocketPath or else its stdin and stdout; its stderr is its log.
//
// It has two faces, chosen by its first argument:
//
//	(none)  init: takes calls from the host, one after another
//	tool    a built-in file tool, run as a call's program
//
// init forks two fork servers, one for each slot, which fork the processes of the
// calls: a stage, pid 1 of one call's namespaces, which mounts and reaps, and a
// holder, which loses every privilege and becomes the program. None of these has
// a Go runtime; what they do is written down in scripts (package raw) beforehand.
//
// init and its processes must never run what a call names with any privilege:
// only the holder executes it, and only after its proof was read back from the
// kernel. The binary must stay small: no OPA, gRPC or logging library here.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/sandgate/sandgate/internal/filetool"
)

// faceTool runs a built-in file tool; its name is the next argument.
const faceTool = "tool"

// version is set by the build.
var version = "dev"

// init pins the main goroutine to the main thread, from which the fork servers
// are forked: see raw.Arena.Fork.
func init() { runtime.LockOSThread() }

func main() {
	face := ""
	if len(os.Args) > 1 {
		face = os.Args[1]
	}
	switch face {
	case "":
		debug.SetMemoryLimit(64 << 20)
		os.Exit(runInit())
	case faceTool:
		runtime.UnlockOSThread()
		name := ""
		if len(os.Args) > 2 {
			name = os.Args[2]
		}
		os.Exit(filetool.Main(name, os.Stdin, os.Stdout, os.Stderr))
	default:
		fmt.Fprintf(os.Stderr, "sandgate-init: unknown argument %q: it is started by sandgated inside a cell\n", face)
		os.Exit(2)
	}
}
