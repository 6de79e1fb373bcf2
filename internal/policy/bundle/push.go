package bundle

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// PushOptions say how a registry is reached.
type PushOptions struct {
	// PlainHTTP speaks to a registry without TLS; on loopback that is tried anyway.
	PlainHTTP bool
	// Transport is used for all requests. Nil: the usual one.
	Transport http.RoundTripper
}

// Push puts a bundle into an OCI registry, in the form that OPA's downloader
// takes, and returns the reference by digest. Credentials are docker's.
func Push(ctx context.Context, ref string, raw []byte, o PushOptions) (string, error) {
	m, err := Describe(raw)
	if err != nil {
		return "", err
	}
	var opts []name.Option
	if o.PlainHTTP {
		opts = append(opts, name.Insecure)
	}
	tag, err := name.ParseReference(strings.TrimPrefix(ref, "oci://"), append(opts, name.StrictValidation)...)
	if err != nil {
		return "", fmt.Errorf("reference %q: want REGISTRY/REPOSITORY:TAG: %w", ref, err)
	}
	layer := static.NewLayer(raw, types.OCILayer)
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image, mutate.Addendum{
		Layer: layer, MediaType: types.OCILayer,
		Annotations: map[string]string{"org.opencontainers.image.title": "bundle.tar.gz", "org.opencontainers.image.revision": m.Revision},
	})
	if err != nil {
		return "", fmt.Errorf("make the image: %w", err)
	}
	ropts := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	if o.Transport != nil {
		ropts = append(ropts, remote.WithTransport(o.Transport))
	}
	if err := remote.Write(tag, image, ropts...); err != nil {
		return "", fmt.Errorf("push to %s: %w", tag, err)
	}
	digest, err := image.Digest()
	if err != nil {
		return "", err
	}
	return tag.Context().Digest(digest.String()).String(), nil
}
