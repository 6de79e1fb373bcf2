// Package cli runs the built sandgate command in scripts, against a daemon whose
// sandbox is a fake, so that it needs no root. It has tests only and is imported
// by nobody.
package cli
