package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/sandgate/sandgate/internal/gate"
	"github.com/sandgate/sandgate/internal/logging"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

func execute(ctx context.Context, h *harness, opts ...grpc.CallOption) error {
	_, err := sandgatev1.NewToolServiceClient(h.conn).Execute(ctx, &sandgatev1.ExecuteRequest{Call: &sandgatev1.Call{Tool: "bash"}}, opts...)
	return err
}

func wantCode(t *testing.T, err error, want codes.Code, text ...string) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("got %v, want %v", err, want)
	}
	for _, w := range text {
		if !strings.Contains(status.Convert(err).Message(), w) {
			t.Errorf("got %v, want %q in it", err, w)
		}
	}
}

func TestUnixPeerBecomesTheCaller(t *testing.T) {
	h := serve(t, nil)
	if err := execute(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	got := h.gate.seen[0].Caller
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != fmt.Sprintf("unix:uid:%d", os.Getuid()) || got.Transport != "unix" || *got.UID != os.Getuid() ||
		*got.GID != os.Getgid() || *got.PID != os.Getpid() || got.Exe != exe {
		t.Errorf("got %+v, want this process", got)
	}
}

func TestUnknownCallerIsRefused(t *testing.T) {
	h := serve(t, func(h *harness, _ *Config) { h.access = Access{} })
	wantCode(t, execute(t.Context(), h), codes.PermissionDenied, "unix:uid:", "callers")
	if len(h.gate.seen) != 0 {
		t.Errorf("the gate saw %d calls, want none", len(h.gate.seen))
	}
	if _, err := sandgatev1.NewSystemServiceClient(h.conn).GetVersion(t.Context(), &sandgatev1.GetVersionRequest{}); err != nil {
		t.Errorf("version: got %v, want it told to anybody", err)
	}
	stream, err := sandgatev1.NewToolServiceClient(h.conn).ExecuteStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantCode(t, err, codes.PermissionDenied)
}

func TestOnlyAdministratorsChangeTheDaemon(t *testing.T) {
	h := serve(t, func(h *harness, _ *Config) { h.access = Access{Known: true} })
	_, err := sandgatev1.NewPolicyServiceClient(h.conn).Reload(t.Context(), &sandgatev1.ReloadRequest{})
	wantCode(t, err, codes.PermissionDenied, "administrator")
	_, err = sandgatev1.NewImageServiceClient(h.conn).RemoveImage(t.Context(), &sandgatev1.RemoveImageRequest{Name: "x"})
	wantCode(t, err, codes.PermissionDenied)
	if _, err := sandgatev1.NewImageServiceClient(h.conn).ListImages(t.Context(), &sandgatev1.ListImagesRequest{}); err != nil {
		t.Errorf("list images: got %v, want it permitted", err)
	}
}

// Every method of the contract has a need that somebody chose.
func TestEveryMethodHasANeed(t *testing.T) {
	admin := map[string]bool{
		"PolicyService/Evaluate": true, "PolicyService/Reload": true, "ImageService/ImportImage": true, "ImageService/RemoveImage": true,
		"AuditService/QueryRecords": true, "AuditService/TailRecords": true,
	}
	h := serve(t, nil)
	for service, info := range h.server.grpc.GetServiceInfo() {
		short, ours := strings.CutPrefix(service, "sandgate.v1.")
		for _, m := range info.Methods {
			got := needOf("/" + service + "/" + m.Name)
			if want := ours && admin[short+"/"+m.Name]; (got == needAdmin) != want {
				t.Errorf("%s/%s: for administrators only %v, want %v", service, m.Name, got == needAdmin, want)
			}
		}
	}
}

func tcpServe(t *testing.T, change func(*Config)) *harness {
	t.Helper()
	h := serve(t, func(_ *harness, c *Config) { change(c) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.conn = h.listen(t, l, l.Addr().String())
	return h
}

func TestTCPCallersAreKnownByTheirToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte("# ours\n\nci-1 0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := LoadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	h := tcpServe(t, func(c *Config) { c.Tokens = tokens })
	with := func(v string) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), "authorization", v)
	}
	wantCode(t, execute(t.Context(), h), codes.Unauthenticated, "Bearer")
	for _, bad := range []string{"Bearer 0123456789abcdeX", "Bearer ", "Basic 0123456789abcdef", "0123456789abcdef"} {
		wantCode(t, execute(with(bad), h), codes.Unauthenticated, "not valid")
	}
	if err := execute(with("Bearer 0123456789abcdef"), h); err != nil {
		t.Fatal(err)
	}
	if got := h.gate.seen[0].Caller; got.ID != "token:ci-1" || got.Transport != "tcp" || got.UID != nil {
		t.Errorf("got %+v, want token:ci-1", got)
	}
	if _, err := healthpb.NewHealthClient(h.conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("health without token: got %v, want it answered", err)
	}
}

func TestAnonymousTCPCallersOnlyWhereAllowed(t *testing.T) {
	h := tcpServe(t, func(c *Config) { c.AllowAnonymous = true })
	if err := execute(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	if got := h.gate.seen[0].Caller.ID; got != "tcp:anonymous" {
		t.Errorf("got %q, want tcp:anonymous", got)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer wrong-wrong-wrong")
	wantCode(t, execute(ctx, h), codes.Unauthenticated)
}

func TestLoadTokensRefusesBadFiles(t *testing.T) {
	const good = "0123456789abcdef"
	tests := []struct {
		name, text string
		mode       os.FileMode
		want       string
	}{
		{"readable by others", "a " + good, 0o644, "chmod"},
		{"empty", "# nothing\n", 0o600, "no token"},
		{"one word", "a " + good + "\nlonely\n", 0o600, "line 2"},
		{"short token", "a short", 0o600, "at least 16"},
		{"strange subject", "a/b " + good, 0o600, "subject"},
		{"token twice", "a " + good + "\nb " + good, 0o600, "one of its own"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tokens")
			if err := os.WriteFile(path, []byte(tt.text), tt.mode); err != nil {
				t.Fatal(err)
			}
			_, err := LoadTokens(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q in it", err, tt.want)
			}
			if strings.Contains(err.Error(), good) {
				t.Errorf("got %v, want no token in it", err)
			}
		})
	}
}

func TestCallsWaitForReadinessAndHealthTellsIt(t *testing.T) {
	h := serve(t, nil)
	health := healthpb.NewHealthClient(h.conn)
	check := func(service string, want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		got, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || got.GetStatus() != want {
			t.Errorf("health of %q: got %v %v, want %v", service, got.GetStatus(), err, want)
		}
	}
	check("sandgate.v1.ToolService", healthpb.HealthCheckResponse_SERVING)
	h.server.SetReady(errors.New("secret cause"))
	check("sandgate.v1.ToolService", healthpb.HealthCheckResponse_NOT_SERVING)
	check("", healthpb.HealthCheckResponse_SERVING)
	if err := execute(t.Context(), h); err != nil {
		t.Errorf("after it was ready once: got %v, want the gate to answer", err)
	}
	_, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "no.such"})
	wantCode(t, err, codes.NotFound)

	fresh := serve(t, nil)
	fresh.server.opened.Store(false)
	fresh.server.SetReady(errors.New("secret cause"))
	err = execute(t.Context(), fresh)
	wantCode(t, err, codes.Unavailable, "doctor")
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want no cause in it", err)
	}
	caps, err := sandgatev1.NewSystemServiceClient(fresh.conn).GetCapabilities(t.Context(), &sandgatev1.GetCapabilitiesRequest{})
	if err != nil || caps.GetReady() || caps.GetNotReadyReasons()[0] != "secret cause" {
		t.Errorf("capabilities: got %v %v, want the cause", caps, err)
	}
}

func TestFaultsAreLoggedAndNotTold(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	h := serve(t, func(h *harness, c *Config) {
		c.Logger = zap.New(core)
		h.gate.execute = func(_ context.Context, call gate.Call, _ gate.Observer) (gate.Result, error) {
			if call.Tool == "bash" {
				panic("the secret of the panic")
			}
			return gate.Result{}, errors.New("the secret of the panic")
		}
	})
	var header metadata.MD
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", "mine-1")
	err := execute(ctx, h, grpc.Header(&header))
	wantCode(t, err, codes.Internal, "mine-1")
	if strings.Contains(err.Error(), "secret") || header.Get("x-request-id")[0] != "mine-1" {
		t.Errorf("got %v with header %v, want no cause and the request id", err, header)
	}
	entries := logs.FilterField(zap.String(logging.KeyRequestID, "mine-1")).All()
	if len(entries) != 1 || entries[0].Level != zapcore.ErrorLevel {
		t.Fatalf("got %+v, want one line at error level", entries)
	}
	fields := entries[0].ContextMap()
	if !strings.Contains(fmt.Sprint(fields["error"]), "secret") || !strings.Contains(fmt.Sprint(fields["stack"]), "server_test.go") {
		t.Errorf("got %v, want cause and stack", fields)
	}
}

func TestBadRequestIDIsReplaced(t *testing.T) {
	h := serve(t, nil)
	var header metadata.MD
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", "a b/..\"")
	if err := execute(ctx, h, grpc.Header(&header)); err != nil {
		t.Fatal(err)
	}
	if got := header.Get("x-request-id")[0]; len(got) != 36 {
		t.Errorf("got %q, want a new id", got)
	}
}

// rawCodec sends bytes as they are.
type rawCodec struct{ encoding.CodecV2 }

func (c rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	if raw, ok := v.([]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(raw)}, nil
	}
	return c.CodecV2.Marshal(v)
}

func TestInvalidUTF8IsAFieldError(t *testing.T) {
	h := serve(t, nil)
	const method = "/sandgate.v1.ToolService/Execute"
	invoke := func(raw []byte) error {
		return h.conn.Invoke(t.Context(), method, raw, &sandgatev1.ExecuteResponse{},
			grpc.ForceCodecV2(rawCodec{encoding.GetCodecV2(proto.Name)}))
	}
	err := invoke([]byte{0x0a, 3, 0x2a, 1, 0xff}) // call.tool = "\xff"
	wantCode(t, err, codes.InvalidArgument, "UTF-8")
	if got := fieldsOf(t, status.Convert(err)); len(got) != 1 || got[0] != "call.tool" {
		t.Errorf("got %v, want call.tool", got)
	}
	err = invoke([]byte{0x0a, 7, 0x42, 5, 0x0a, 1, 0xff, 0x12, 0}) // call.env = {"\xff": ""}
	if got := fieldsOf(t, status.Convert(err)); len(got) != 1 || got[0] != "call.env" {
		t.Errorf("got %v, want call.env", got)
	}
	wantCode(t, invoke([]byte{0x0a, 200}), codes.InvalidArgument, "decoded")
	if len(h.gate.seen) != 0 {
		t.Errorf("the gate saw %d calls, want none", len(h.gate.seen))
	}
}

func TestOversizedMessageIsRefused(t *testing.T) {
	h := serve(t, func(_ *harness, c *Config) { c.MaxRecvBytes = 1 << 20 })
	_, err := sandgatev1.NewToolServiceClient(h.conn).Execute(t.Context(), &sandgatev1.ExecuteRequest{
		Call: &sandgatev1.Call{Tool: "bash"}, Stdin: make([]byte, 2<<20),
	})
	wantCode(t, err, codes.ResourceExhausted, "larger than max")
}

func TestReflectionListsTheServices(t *testing.T) {
	h := serve(t, nil)
	stream, err := reflectionpb.NewServerReflectionClient(h.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	req := &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(req); err != nil {
		t.Fatal(err)
	}
	resp, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(resp.GetListServicesResponse().GetService()); !strings.Contains(got, "sandgate.v1.ToolService") {
		t.Errorf("got %s, want sandgate.v1.ToolService in it", got)
	}
}

func TestNewWantsItsParts(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("got no error")
	}
}
