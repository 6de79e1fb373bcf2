// Package sandgatev1 is the generated code of sandgate's wire contract, version
// 1. The .proto files beside it are the source and the reference; `make
// generate` writes the rest. The gRPC front, the CLI and tests import it; the
// gate, the policy and the sandbox must never do so.
package sandgatev1
