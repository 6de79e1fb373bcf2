// Package abuse holds hostile calls, each an automated test named for the claim
// that it tries to break, against the real daemon and real containerd. It must
// never assert less than that the next call works and nothing is left behind.
package abuse
