// Package raw runs lists of system calls in forked processes that have no Go
// runtime: what such a process is to do was written into an Arena before it was
// forked, or comes to it through a pipe as a Script for its inbox. It is what
// makes a call's processes cheap: a fork costs a tenth of a millisecond where
// the start of a Go program costs one and a half.
//
// Only cmd/sandgate-init uses it. A forked process must never return into Go
// code, allocate, grow its stack or touch a lock: everything from Fork on is
// nosplit and makes raw system calls only. It must never run a Script that came
// from a call's program.
//
// The shape is that of the fork servers of online judges (go-judge's go-sandbox,
// isolate): prepared buffers, no library call between clone and execve.
package raw
