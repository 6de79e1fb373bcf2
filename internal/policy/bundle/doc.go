// Package bundle reads, builds, signs and publishes policies in OPA's bundle
// format, with OPA's own reader, compiler, signer and verifier. The policy
// sources of the daemon and `sandgate policy` call it. It must never take a
// bundle for signed that OPA's verifier has not verified, and never decide.
package bundle
