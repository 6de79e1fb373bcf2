package peer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// dockerAnswers is how long the engine may take to tell its version.
const dockerAnswers = 10 * time.Second

// docker measures `docker run` of an image that has no content: like the other
// peers it gets the machine's own programs by a mount of /usr.
func docker(ctx context.Context, e Env) (*Peer, error) {
	path, err := onPath("docker")
	if err != nil {
		return nil, err
	}
	// A client without an engine is common; one that hangs must not stop the benchmark.
	ask, cancel := context.WithTimeout(ctx, dockerAnswers)
	defer cancel()
	version, err := command(ask, nil, path, "version", "--format", "engine {{.Server.Version}}, client {{.Client.Version}}")
	if err != nil {
		return nil, fmt.Errorf("no docker engine answers (%w): %w", err, ErrAbsent)
	}
	root, err := emptyRoot()
	if err != nil {
		return nil, err
	}
	image := fmt.Sprintf("sandgate-bench:%d", os.Getpid())
	if _, err := command(ctx, root, path, "import", "-", image); err != nil {
		return nil, err
	}
	argv := append([]string{path, "run", "--rm", "--network", "none", "--volume", "/usr:/usr:ro", image}, e.Bash...)
	return &Peer{
		Name: "docker", Version: version, Argv: e.Bash, Clients: []int{1},
		Wall: "`docker run --rm --network none`, its default seccomp filter and capabilities; no user namespace, no limits",
		Op: func(ctx context.Context, _ int) error {
			_, err := command(ctx, nil, argv...)
			return err
		},
		Close: func() error {
			_, err := command(context.WithoutCancel(ctx), nil, path, "image", "rm", "--force", image)
			return err
		},
	}, nil
}

// emptyRoot is the layer of a root that gets its programs from a mount of /usr.
func emptyRoot() (*bytes.Buffer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	var errs []error
	for _, dir := range []string{"proc/", "dev/", "usr/", "tmp/", "etc/"} {
		errs = append(errs, w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}))
	}
	for _, link := range []string{"bin", "lib", "lib64"} {
		errs = append(errs, w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: link, Linkname: "usr/" + link, Mode: 0o777}))
	}
	if err := errors.Join(append(errs, w.Close())...); err != nil {
		return nil, fmt.Errorf("make an empty image: %w", err)
	}
	return &buf, nil
}
