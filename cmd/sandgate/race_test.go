//go:build race

package main

// ofTheLibrary narrows runs of the whole library's tests, which are long and
// single-threaded, to a few while the race detector is on; make policy-test and the
// walk-through run all of them with the real program.
func ofTheLibrary() []string { return []string{"--run", "chained|rate"} }
