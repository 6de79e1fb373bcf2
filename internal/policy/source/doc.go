// Package source brings policies to the engine from where the configuration says:
// a watched directory, a watched bundle file, or bundles that OPA's own plugins
// fetch over HTTP or from a registry; and it hands decisions to OPA's decision log
// and status plugins. internal/daemon calls it. It must never let a policy decide
// that the engine has not proved fit, nor make a decision wait for a log.
package source
