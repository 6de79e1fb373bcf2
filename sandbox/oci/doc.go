// Package oci turns the description of a cell into the runtime-spec that the
// outer wall is built from: namespaces, id mapping, mounts, capabilities,
// seccomp. The containerd runtime calls it.
//
// It is pure: it reads nothing of the machine and writes nothing, so what a
// cell is can be seen in its golden files. It must never know of a call: cells
// are made before they have one, and everything of a call is set up inside.
package oci
