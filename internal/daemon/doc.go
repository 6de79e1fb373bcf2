// Package daemon is the composition root: it builds sandgate's parts from a
// configuration, runs them until it is told to stop, and takes them down in
// order. cmd/sandgated calls it, tests with a sandbox of their own. It must
// never hold logic that belongs to a part, and no other package may import it
// but commands and tests.
package daemon
