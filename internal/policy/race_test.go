//go:build race

package policy

// raced tells that the race detector is on: what is long and single-threaded is
// shortened, for the same code is run in full without it.
const raced = true
