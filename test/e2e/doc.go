// Package e2e tests the whole daemon over its socket, with real containerd and
// real policy. It must never reach into the daemon's packages.
package e2e
