package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/open-policy-agent/opa/v1/tracing"

	"github.com/sandgate/sandgate/internal/policy/bundle"
)

// maxAnswerBytes bounds what is read of any other answer of a service.
const maxAnswerBytes = 1 << 20

// bounded marks the requests of this package's plugins for boundedService.
type bounded struct{}

// registerBounds puts boundedService into OPA's HTTP clients, which have no other
// place for it, once in this process.
var registerBounds = sync.OnceFunc(func() { tracing.RegisterHTTPTracing(boundedService{}) })

// boundedService wraps OPA's HTTP clients where the marker asks for it.
type boundedService struct{}

// NewTransport implements tracing.HTTPTracingService.
func (boundedService) NewTransport(base http.RoundTripper, opts tracing.Options) http.RoundTripper {
	for _, o := range opts {
		if _, ours := o.(bounded); ours {
			if base == nil {
				base = http.DefaultTransport
			}
			return boundedTransport{base}
		}
	}
	return base
}

// NewHandler implements tracing.HTTPTracingService; nothing is served here.
func (boundedService) NewHandler(h http.Handler, _ string, _ tracing.Options) http.Handler { return h }

// boundedTransport holds a bundle to its bounds as a whole before OPA unpacks it
// into memory: OPA itself bounds each file only. An answer that breaks off is an
// error of the request, so that it counts as a server that is away.
type boundedTransport struct{ base http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.base.RoundTrip(req)
	if err != nil || resp.Body == nil {
		return resp, err
	}
	if req.Method != http.MethodGet || resp.StatusCode != http.StatusOK {
		resp.Body = readCloser{io.LimitReader(resp.Body, maxAnswerBytes), resp.Body}
		return resp, nil
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, bundle.MaxBytes+1))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("the answer broke off: %w", err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	if err := measure(raw); err != nil {
		resp.Body = io.NopCloser(failing{err})
	}
	return resp, nil
}

// readCloser reads one thing and closes another.
type readCloser struct {
	io.Reader
	io.Closer
}

// failing is a body that cannot be read.
type failing struct{ err error }

// Read implements io.Reader.
func (f failing) Read([]byte) (int, error) { return 0, f.err }

// measure says whether a bundle is too large, packed or unpacked, without keeping
// anything of it. What is no archive is left to OPA to say.
func measure(raw []byte) error {
	if len(raw) > bundle.MaxBytes {
		return fmt.Errorf("the bundle has more than %d MiB, packed", bundle.MaxBytes>>20)
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil //nolint:nilerr // OPA says what it is not
	}
	files, counted := 0, &io.LimitedReader{R: unzipped, N: bundle.MaxUnpacked + 1}
	for archive := tar.NewReader(counted); ; files++ {
		_, err := archive.Next()
		switch {
		case counted.N <= 0:
			return fmt.Errorf("the bundle has more than %d MiB, unpacked", bundle.MaxUnpacked>>20)
		case err != nil: // the end, or OPA says what is wrong with it
			return nil //nolint:nilerr // as said
		case files >= bundle.MaxFiles:
			return fmt.Errorf("the bundle has more than %d files", bundle.MaxFiles)
		}
	}
}
