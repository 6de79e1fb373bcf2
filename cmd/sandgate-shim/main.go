//go:build linux

// Command sandgate-shim stands in for the runc shim's program where containerd
// cleans up after a task whose shim goes on serving others: containerd runs it for
// every cell that is deleted, and nearly always everything is gone by then.
//
// containerd runs it, as sandbox/containerd asks for. It answers by itself only
// when the OCI runtime has no record of the container any more and nothing is
// mounted in its bundle; everything else it must leave to the real shim, which it
// becomes. It must stay small: its start is the price of every cell's end.
//
// By the name on-cpu-N it becomes the OCI runtime that the link "runtime" beside that
// name leads to, on processor N: see place.go. By the name sandgate-pulse it has the
// kernel's scheduler look more often than with its ticks: see pulse.go.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// realShim is found in PATH, which containerd sets.
const realShim = "containerd-shim-runc-v2"

func main() {
	if isPulse(os.Args[0]) {
		os.Exit(runPulse())
	}
	if runtime, cpu, ok := placed(os.Args[0]); ok {
		fmt.Fprintf(os.Stderr, "sandgate-shim: become %s: %v\n", runtime, becomeOn(cpu, runtime, os.Args[1:]))
		os.Exit(1)
	}
	if isGone(os.Args[1:]) {
		return // an empty answer: no exit status is known here, and none is asked for
	}
	path, err := exec.LookPath(realShim)
	if err == nil {
		err = syscall.Exec(path, append([]string{path}, os.Args[1:]...), os.Environ()) //nolint:gosec // the operator's own binary
	}
	fmt.Fprintf(os.Stderr, "sandgate-shim: become %s: %v\n", realShim, err)
	os.Exit(1)
}

// isGone reports whether the arguments ask to delete a container of which nothing
// is left. In doubt it is not.
func isGone(args []string) bool {
	id, bundle, namespace := flagValue(args, "-id"), flagValue(args, "-bundle"), flagValue(args, "-namespace")
	if !slices.Contains(args, "delete") || id == "" || id != filepath.Base(id) || bundle == "" || namespace == "" {
		return false
	}
	text, err := os.ReadFile(filepath.Join(bundle, "options.json")) //nolint:gosec // containerd's own directory
	if err != nil {
		return false
	}
	var options struct {
		Root string `json:"root"`
	}
	if json.Unmarshal(text, &options) != nil || !filepath.IsAbs(options.Root) {
		return false
	}
	if _, err := os.Lstat(filepath.Join(options.Root, namespace, id)); !os.IsNotExist(err) { //nolint:gosec // it only looks
		return false
	}
	if strings.ContainsAny(bundle, " \t\n\\") {
		return false // mountinfo would have it in another writing
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	return err == nil && !strings.Contains(string(mounts), " "+bundle+"/")
}

// flagValue returns the argument after a flag.
func flagValue(args []string, name string) string {
	if i := slices.Index(args, name); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}
