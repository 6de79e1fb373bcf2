// Package containerd is the sandbox.Runtime and sandbox.ImageStore on the
// containerd client: it supervises a private containerd (or uses a running one),
// keeps a pool of cells, claims one for each call, bounds the call by a control
// group of its own, and reports what was enforced and what came of it.
//
// internal/daemon makes it; the gate calls it. It is the only package that
// imports the containerd client. It must never decide whether a call may run,
// never start a call that cannot be bounded as asked, and never create a
// container or use runc exec for a call while the pool has a cell for it.
//
// The way of a cell: the pool (pool*.go) has it made ahead, as demand asks, in a shim
// that others share (shim.go), within what all cells may have together
// (protect.go). The way of a call: claim (pool.go), limits, workspace (workspace.go),
// exec (run.go) in a stage that a fork server made ahead in the control group of its
// slot (cell.go), outcome (outcome.go), and back to the pool or to destruction.
package containerd
