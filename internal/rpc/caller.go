package rpc

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc/peer"

	"github.com/sandgate/sandgate/internal/gate"
)

// Access is what the daemon's configuration lets a caller do here.
type Access struct {
	Known bool // the configuration names the caller
	Admin bool // it may change the daemon: policy, images
}

// authenticator finds out who calls.
type authenticator struct {
	tokens         *Tokens // nil: TCP callers have none
	approvers      *Tokens // of people on the unix socket; nil: none
	allowAnonymous bool
}

// caller returns the authenticated identity of a request's peer. header returns
// what the request sent under a key in lower case.
func (a authenticator) caller(ctx context.Context, header func(key string) []string) (gate.Caller, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return gate.Caller{}, fmt.Errorf("the connection has no peer: %w", errdefs.ErrUnauthenticated)
	}
	info, ok := p.AuthInfo.(peerInfo)
	if !ok {
		return gate.Caller{}, fmt.Errorf("the connection has no known peer: %w", errdefs.ErrUnauthenticated)
	}
	if !info.unix {
		return a.tcpCaller(header("authorization"))
	}
	if values := header("authorization"); a.approvers != nil && len(values) > 0 {
		return person(a.approvers, values)
	}
	return info.caller, nil
}

// person is who sends an approver's token over the unix socket: somebody else than the
// user whose process has connected, as far as the daemon can tell.
func person(tokens *Tokens, values []string) (gate.Caller, error) {
	scheme, token, ok := strings.Cut(values[0], " ")
	if len(values) == 1 && ok && strings.EqualFold(scheme, "bearer") {
		if subject, ok := tokens.subject(token); ok {
			return gate.Caller{ID: "token:" + subject, Transport: "unix"}, nil
		}
	}
	return gate.Caller{}, fmt.Errorf("the token that was sent is none of approvals.tokens_file: %w", errdefs.ErrUnauthenticated)
}

// tcpCaller knows a peer by its token. A wrong token is refused even where none
// is needed: its host believes to be somebody.
func (a authenticator) tcpCaller(values []string) (gate.Caller, error) {
	if len(values) == 0 {
		if a.allowAnonymous {
			return gate.Caller{ID: "tcp:anonymous", Transport: "tcp"}, nil
		}
		return gate.Caller{}, fmt.Errorf("no token was sent: want metadata \"authorization: Bearer TOKEN\": %w", errdefs.ErrUnauthenticated)
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if len(values) == 1 && ok && strings.EqualFold(scheme, "bearer") {
		if subject, ok := a.tokens.subject(token); ok {
			return gate.Caller{ID: "token:" + subject, Transport: "tcp"}, nil
		}
	}
	return gate.Caller{}, fmt.Errorf("the token that was sent is not valid here: %w", errdefs.ErrUnauthenticated)
}

// need is what a method asks of its caller.
type need int

const (
	needAdmin    need = iota // the zero value: a method that nobody thought of is for administrators
	needKnown                // named in the configuration
	needIdentity             // anybody who can be identified
	needNothing              // health checks: a prober has no token
)

// needOf returns what a full method name asks of its caller.
func needOf(method string) need {
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	switch service {
	case "grpc.health.v1.Health":
		return needNothing
	case "sandgate.v1.ToolService", "sandgate.v1.SessionService", "sandgate.v1.ApprovalService", "grpc.reflection.v1.ServerReflection",
		"grpc.reflection.v1alpha.ServerReflection":
		return needKnown
	}
	switch service + "/" + name {
	case "sandgate.v1.SystemService/GetVersion":
		return needIdentity
	case "sandgate.v1.SystemService/GetCapabilities", "sandgate.v1.SystemService/GetLoad", "sandgate.v1.PolicyService/GetStatus",
		"sandgate.v1.ImageService/ListImages", "sandgate.v1.AuditService/GetCheckpoint",
		"sandgate.v1.AuditService/GetInclusionProof", "sandgate.v1.AuditService/GetConsistencyProof":
		return needKnown
	}
	return needAdmin
}

// authorize reports whether a caller may use a method.
func authorize(n need, caller gate.Caller, access Access) error {
	switch {
	case n >= needIdentity, n == needKnown && access.Known, access.Known && access.Admin:
		return nil
	case !access.Known:
		return fmt.Errorf("caller %s is not in the daemon's configuration: an operator can add it under callers: %w", caller.ID, errdefs.ErrPermissionDenied)
	}
	return fmt.Errorf("caller %s is no administrator: an operator can set admin for it under callers: %w", caller.ID, errdefs.ErrPermissionDenied)
}

// callerFrom returns the caller that the interceptor let in; its zero value,
// which the gate refuses, where there was no interceptor.
func callerFrom(ctx context.Context) gate.Caller {
	if r := requestOf(ctx); r != nil && r.admitted {
		return r.caller
	}
	return gate.Caller{}
}
