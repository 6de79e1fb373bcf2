// Package cgroup bounds and measures the processes of one call on both kinds of
// control groups: v1 with a hierarchy per controller and unified v2.
//
// The containerd runtime calls it: runc makes the cell's group, this package
// makes one group inside it for each call, writes its limits, reads back what
// the kernel made of them, and reads the usage at the end. It must never report
// a limit that it did not read back, and never touch a group outside of the
// path that it was given.
package cgroup
