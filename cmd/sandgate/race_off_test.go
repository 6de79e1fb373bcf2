//go:build !race

package main

// ofTheLibrary narrows runs of the whole library's tests: not at all.
func ofTheLibrary() []string { return nil }
