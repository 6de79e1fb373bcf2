// Package sandboxtest holds what tests of and above the sandbox share: Fake, an
// in-memory sandbox.Runtime that runs Go functions instead of programs, and
// Run, the contract suite that every sandbox.Runtime has to pass.
//
// Tests of the gate, the fronts and the runtimes import it. It must never be
// imported by a command or by anything that a command is built from: Fake
// isolates nothing.
package sandboxtest
