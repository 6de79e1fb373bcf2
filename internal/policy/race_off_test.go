//go:build !race

package policy

// raced tells that the race detector is on.
const raced = false
