package telemetry

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TracingOptions say where spans go.
type TracingOptions struct {
	// Address of an OTLP collector over gRPC: host:port or unix:///path. Required.
	Address string
	// Insecure is for a collector without TLS.
	Insecure bool
	// SampleRatio of the calls that have no caller's trace, above 0 to 1; a trace that
	// its caller sampled is always kept, one that it did not never.
	SampleRatio float64
	// Version of the daemon.
	Version string
	// OnError is told why spans were not sent. Optional. OpenTelemetry has one such
	// function for the whole process.
	OnError func(error)
}

// Tracing pushes spans to a collector.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// NewTracing makes the exporter. It does not wait for the collector: spans that
// cannot be sent are dropped. Close must be called.
func NewTracing(ctx context.Context, o TracingOptions) (*Tracing, error) {
	if o.Address == "" || o.SampleRatio <= 0 || o.SampleRatio > 1 {
		return nil, errors.New("tracing: want an address and a sample ratio above 0 and at most 1")
	}
	options := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(o.Address)}
	if o.Insecure {
		options = append(options, otlptracegrpc.WithInsecure())
	}
	exporter, err := otlptracegrpc.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	if o.OnError != nil {
		otel.SetErrorHandler(otel.ErrorHandlerFunc(o.OnError))
	}
	return newTracing(sdktrace.NewBatchSpanProcessor(exporter), o), nil
}

func newTracing(processor sdktrace.SpanProcessor, o TracingOptions) *Tracing {
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(processor),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.SampleRatio))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "sandgated"), attribute.String("service.version", o.Version),
		)),
	)
	return &Tracing{provider: provider, tracer: provider.Tracer("github.com/sandgate/sandgate")}
}

// Close sends what waits, until ctx ends.
func (t *Tracing) Close(ctx context.Context) error {
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	return nil
}
