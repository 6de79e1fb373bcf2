// Package cell is the protocol between a sandbox runtime on the host and
// sandgate-init, PID 1 of a cell, with what both of its ends need: Conn is the
// host's end, FrameReader, FrameWriter and the codec are what init's is made of.
//
// The host end is called by sandbox/containerd (and by tests), the other one by
// cmd/sandgate-init only. The package must never trust what it reads: bytes from
// a cell are hostile input, so every frame is bounded, decoding never panics and
// allocates only in proportion to the frame it was given. It starts no process and
// touches no file; it imports little but the standard library, because init has
// to start within a millisecond.
//
// # The way of a call
//
//	host                                init
//	                      ◀── Hello     once, when init is up
//	Doors ──▶                           with a pipe for each slot, if init takes them
//	Prepare ──▶                         makes a stage: fresh namespaces, a holder
//	                      ◀── Prepared  pids and proof of what the holder lost
//	(host moves the workspace into the stage's mount namespace)
//	Exec ──▶                            sizes, limits, all but the execve
//	(host makes sure that the program may run)
//	Release ──▶                         execve in the holder, or the host writes the
//	                                    call's number to the door, where it waits itself
//	                      ◀── Started   the program runs; limits as read back
//	Stdin* ──▶  StdinClose ──▶
//	             StdinAck ◀──           credit for more stdin
//	               Output ◀──           kept chunks, with offsets
//	Signal ──▶ Resize ──▶               while the program runs
//	Kill ──▶                            at any time
//	                      ◀── Exit      the whole tree is gone, all output was sent
//
// Exec with Next lets init make the next stage, in the other slot, while the program
// runs. Each slot has a fork server: the host moves it into the control group of the
// slot's calls once, and what it forks is born in it.
// Poisoned may come instead of Prepared: the host must destroy the cell.
//
// # What a cell must be
//
// init wants to be PID 1 with the host's socket at SocketPath, or with stdin and
// stdout as this protocol's pipes, root in a user namespace that maps at least ids 0 and PayloadUID, with the capabilities
// SYS_ADMIN, SETUID, SETGID, SETPCAP and KILL in it (NET_ADMIN brings loopback
// up; without it the call has no working 127.0.0.1; gVisor wants CHOWN too). The cell's /proc must be
// unmasked: the kernel refuses a fresh procfs in a nested namespace otherwise.
// The directories MountPoints must exist in its root, which may be read-only.
package cell
