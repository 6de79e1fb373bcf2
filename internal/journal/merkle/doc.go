// Package merkle keeps the tree over the journal's records and signs its heads, so
// that a record can be shown to be in the journal, and the journal of today to be
// that of yesterday with more at its end. The journal writes the tree, the audit
// service proves from it, clients and auditors check proofs and signed heads. It
// must never sign a tree that is not the one on the disk, and never write the
// private key anywhere but into its file.
//
// The tree is that of RFC 6962 as golang.org/x/mod/sumdb/tlog has it: record n of the
// journal is leaf n-1. What is hashed into a leaf is the record's own hash, 32 bytes,
// which stands for its line and, by the chain, for all lines before it. Heads are
// checkpoints of C2SP (tlog-checkpoint): a signed note of origin, size and root.
package merkle
