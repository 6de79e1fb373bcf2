// Package crash kills the real daemon, its containerd and its shims with SIGKILL,
// time and again and at every step of what they do, under a load of calls that
// each append one line to a file, and then counts the lines: what was acknowledged
// ran exactly once, nothing ran twice, the journal is whole, nothing is left on the
// machine. `make crash` kills at least 200 times; the test kills a dozen times. It
// is for tests alone and must never be imported.
//
// The daemon is built with the tag sandgate_failpoints (see sandbox/failpoint). A
// run follows a plan that is made from a seed, which it prints: SANDGATE_CRASH_SEED
// repeats it, as far as the machine's own timing lets it.
package crash
