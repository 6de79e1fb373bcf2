//go:build linux

// Command sandgate-init is PID 1 of a cell. The sandbox runtime on the host puts
// it there and talks to it over its stdin and stdout in the protocol of
// sandbox/cell; its stderr is its log.
//
// It has four faces, chosen by its first argument:
//
//	(none)  init: takes calls from the host, one after another
//	stage   pid 1 of one call's namespaces: mounts, then reaps
//	holder  becomes one call's program, after it has lost every privilege
//	tool    a built-in file tool, run as a call's program
//
// init, stage and holder must never run what a call names with any privilege:
// only the holder executes it, and only after its proof was read back from the
// kernel. The binary must stay small and quick to start, since each call starts
// it twice: no OPA, gRPC or logging library here.
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

// init pins the main goroutine to the main thread: in the holder the credentials
// of that thread are those of the program.
func init() { runtime.LockOSThread() }

func main() {
	face := ""
	if len(os.Args) > 1 {
		face = os.Args[1]
	}
	switch face {
	case "":
		runtime.UnlockOSThread()
		os.Exit(runInit())
	case faceStage:
		debug.SetGCPercent(-1) // lives for one call, allocates next to nothing
		os.Exit(runStage())
	case faceHolder:
		debug.SetGCPercent(-1)
		os.Exit(runHolder())
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
