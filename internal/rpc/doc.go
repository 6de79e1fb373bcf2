// Package rpc is the gRPC front: it knows who calls, checks and bounds what
// comes in, hands it to the gate, and turns what comes back into the messages
// of proto/sandgate/v1. internal/daemon builds it from its parts.
//
// It is the only package of the daemon that imports the generated code. It must
// never decide or run a call itself, and never send the cause of an internal
// fault to a client: status.go is the one place where errors become codes.
package rpc
