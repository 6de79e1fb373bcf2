// Package repo holds the house rules of this repository as tests: package
// comments, who may import whom, how long a file may grow, and the like.
// `go test ./test/repo` runs them in well under a second and anywhere, so that
// they hold also where golangci-lint is absent. Nothing imports it, and it must
// never build or run what it judges: it only reads files.
package repo
