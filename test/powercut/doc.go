// Package powercut cuts the power of a virtual machine in which the real daemon
// runs calls, time and again, and then looks whether what was acknowledged is
// there. `make powercut` runs it; it needs qemu, see test/cgroup2. It is for tests
// alone and must never be imported.
//
// # What is modelled
//
// The guest is Debian's kernel under qemu with the machine's own root as a
// read-only share (test/cgroup2 makes both). The daemon's data directory is on ext4
// on a disk of its own, and the guest says over its serial line what the daemon has
// acknowledged. The power goes by SIGKILL of qemu: what the guest's kernel held in
// its page cache is gone, as after a crash of a kernel.
//
// A power cut takes more: a disk acknowledges writes that are only in its own
// volatile cache until a flush. So the disk is served by an NBD server of this
// package (disk), and qemu caches nothing itself (cache.direct). A write is only
// remembered; a flush, and a write with FUA, makes it stable. At a cut every sector
// that was written since keeps, by chance, its stable content or any one of the
// contents that were written to it: writes are lost, reordered and torn, down to
// sectors of 512 bytes, which disks write as a whole. What the guest flushed is
// never lost: a disk that lies about flushes is not modelled.
package powercut
