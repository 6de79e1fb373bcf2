package containerd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	ctd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sandgate/sandgate/sandbox"
	"github.com/sandgate/sandgate/sandbox/cell"
)

const snapshotter = "overlayfs"

// defaultPath is PATH of a call that sets none and whose image sets none.
const defaultPath = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

// resolve finds what the call's cell is to be made of, and the call's whole
// environment. An image is pinned by the digest that its name has now; a name
// with "@sha256:…" must have exactly that one.
func (r *Runtime) resolve(ctx context.Context, call *sandbox.Call) (class, []string, error) {
	cl := class{image: call.Image, isolation: call.Isolation, wide: isWide(call)}
	if _, ok := r.cfg.Runtimes[cl.isolation]; !ok {
		return cl, nil, fmt.Errorf("isolation %q has no runtime configured here: %w", cl.isolation, errdefs.ErrFailedPrecondition)
	}
	var imageEnv []string
	if call.Image != sandbox.HostImage {
		name, want, pinned := strings.Cut(call.Image, "@")
		img, err := r.conn.GetImage(ctx, name)
		if err != nil {
			return cl, nil, fmt.Errorf("image %q (import it first): %w", name, err)
		}
		cl.digest = img.Target().Digest.String()
		if pinned && want != cl.digest {
			return cl, nil, fmt.Errorf("image %q has digest %s, not %s: %w", name, cl.digest, want, errdefs.ErrFailedPrecondition)
		}
		cl.image = name
		spec, err := img.Spec(ctx)
		if err != nil {
			return cl, nil, fmt.Errorf("image %q: read its configuration: %w", name, err)
		}
		imageEnv = spec.Config.Env
	}
	cl, err := r.bind(cl, call.Workspace)
	return cl, environment(call.Env, imageEnv, defaults(cl)), err
}

// defaults are the variables that a program gets if nothing else is said. They spare
// programs what they would look up with the same result: C.UTF-8 has only the kinds of
// characters of its own (for LANG twelve more files are read, which say what C does), and
// bash asks the list of users for a shell that is not named. Together these are four in ten
// of the system calls of a bash that does nothing.
func defaults(cl class) [][2]string {
	out := [][2]string{{"HOME", cell.Home}, {"PATH", defaultPath}, {"TMPDIR", "/tmp"}, {"LC_CTYPE", "C.UTF-8"}}
	if cl.digest == "" {
		out = append(out, [2]string{"SHELL", hostShell})
	}
	return out
}

// environment adds what a program needs and the call has not set. Of an image it takes
// the value of PATH. Who names a language means all of it, and who names a home is a user
// whose shell is not known.
func environment(env, imageEnv []string, defaults [][2]string) []string {
	value := func(list []string, name, otherwise string) string {
		for _, e := range list {
			if v, ok := strings.CutPrefix(e, name+"="); ok {
				return v
			}
		}
		return otherwise
	}
	out := slices.Clone(env)
	for _, d := range defaults {
		has := func(e string) bool {
			name, _, _ := strings.Cut(e, "=")
			return name == d[0] || name == "LANG" && d[0] == "LC_CTYPE" || name == "HOME" && d[0] == "SHELL"
		}
		switch {
		case slices.ContainsFunc(env, has):
		case d[0] == "PATH":
			out = append(out, "PATH="+value(imageEnv, "PATH", d[1]))
		default:
			out = append(out, d[0]+"="+d[1])
		}
	}
	return out
}

// snapshotFor prepares the root of a cell from its image, with owners shifted to
// the cell's ids. It is read-only in the cell; the layer on top holds no more
// than mount points and goes with the cell.
func (r *Runtime) snapshotFor(ctx context.Context, c *aCell, ids []specs.LinuxIDMapping) (ctd.NewContainerOpts, error) {
	img, err := r.conn.GetImage(ctx, c.class.image)
	if err != nil {
		return nil, fmt.Errorf("image %q: %w", c.class.image, err)
	}
	if got := img.Target().Digest.String(); got != c.class.digest {
		return nil, fmt.Errorf("image %q changed from %s to %s: %w", c.class.image, c.class.digest, got, errdefs.ErrFailedPrecondition)
	}
	if err := img.Unpack(ctx, snapshotter); err != nil {
		return nil, fmt.Errorf("unpack image %q: %w", c.class.image, err)
	}
	remapped := ctd.WithUserNSRemappedSnapshot(c.id, img, ids, ids)
	return func(ctx context.Context, client *ctd.Client, record *containers.Container) error {
		// Cells that are made at once shift the owners in snapshots of the same names, of
		// which containerd makes only one.
		r.shifting.Lock()
		defer r.shifting.Unlock()
		return remapped(ctx, client, record)
	}, nil
}

// Import implements sandbox.ImageStore. With a name, the archive must hold one
// image for this platform; without, its images keep the names that it gives them.
func (r *Runtime) Import(ctx context.Context, tarball io.Reader, name string) ([]sandbox.Image, error) {
	if name == sandbox.HostImage || strings.ContainsAny(name, "@ \t\n\x00") {
		return nil, fmt.Errorf("image name %q: want a name without @ and spaces, and not %q: %w", name, sandbox.HostImage, errdefs.ErrInvalidArgument)
	}
	// Until images refer to it, the lease keeps what comes in from being collected.
	ctx, done, err := r.conn.WithLease(ctx)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	defer done(context.WithoutCancel(ctx)) //nolint:errcheck // the lease expires by itself
	found, err := r.readArchive(ctx, tarball, name)
	if err != nil {
		return nil, fmt.Errorf("import: not an OCI or docker archive with an image for %s (%w): %w",
			platforms.Format(platforms.DefaultSpec()), err, errdefs.ErrInvalidArgument)
	}
	var out []sandbox.Image
	for _, img := range found {
		if err := ctd.NewImageWithPlatform(r.conn, img, platforms.Default()).Unpack(ctx, snapshotter); err != nil {
			return nil, fmt.Errorf("import: unpack %q: %w", img.Name, err)
		}
		saved, err := r.saveImage(ctx, img)
		if err != nil {
			return nil, fmt.Errorf("import: save %q: %w", img.Name, err)
		}
		out = append(out, r.describe(ctx, saved))
	}
	return out, nil
}

// readArchive stores the archive's content and finds the images in it.
func (r *Runtime) readArchive(ctx context.Context, reader io.Reader, name string) ([]images.Image, error) {
	store := r.conn.ContentStore()
	index, err := archive.ImportIndex(ctx, store, reader)
	if err != nil {
		return nil, err
	}
	text, err := content.ReadBlob(ctx, store, index)
	if err != nil {
		return nil, err
	}
	var top ocispec.Index
	if err := json.Unmarshal(text, &top); err != nil {
		return nil, err
	}
	var found []images.Image
	for _, m := range top.Manifests {
		if m.Platform != nil && !platforms.Default().Match(*m.Platform) {
			continue
		}
		as := cmp.Or(name, m.Annotations[images.AnnotationImageName], m.Annotations[ocispec.AnnotationRefName])
		if as == "" {
			return nil, errors.New("it names no image: give a name")
		}
		walk := images.SetChildrenLabels(store, images.FilterPlatforms(images.ChildrenHandler(store), platforms.Default()))
		if err := images.WalkNotEmpty(ctx, walk, m); err != nil {
			return nil, err
		}
		found = append(found, images.Image{Name: as, Target: m})
	}
	switch {
	case len(found) == 0:
		return nil, errors.New("none is in it")
	case len(found) > 1 && name != "":
		return nil, fmt.Errorf("it holds %d images, which cannot all be %q: give no name", len(found), name)
	}
	return found, nil
}

// saveImage makes the name refer to the image, whatever it referred to before.
func (r *Runtime) saveImage(ctx context.Context, img images.Image) (images.Image, error) {
	service := r.conn.ImageService()
	saved, err := service.Create(ctx, img)
	if errdefs.IsAlreadyExists(err) {
		return service.Update(ctx, img, "target")
	}
	return saved, err
}

// List implements sandbox.ImageStore.
func (r *Runtime) List(ctx context.Context) ([]sandbox.Image, error) {
	all, err := r.conn.ImageService().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	out := make([]sandbox.Image, len(all))
	for i, img := range all {
		out[i] = r.describe(ctx, img)
	}
	slices.SortFunc(out, func(a, b sandbox.Image) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// Remove implements sandbox.ImageStore. Cells that were made from it go on.
func (r *Runtime) Remove(ctx context.Context, name string) error {
	if err := r.conn.ImageService().Delete(ctx, name, images.SynchronousDelete()); err != nil {
		return fmt.Errorf("image %q: %w", name, err)
	}
	return nil
}

// describe leaves the size at 0 when content is missing.
func (r *Runtime) describe(ctx context.Context, img images.Image) sandbox.Image {
	size, err := img.Size(ctx, r.conn.ContentStore(), platforms.Default())
	if err != nil {
		r.log.Warn("image size unknown", "image", path.Clean(img.Name), "error", err)
	}
	return sandbox.Image{Name: img.Name, Digest: img.Target.Digest.String(), SizeBytes: size, CreatedAt: img.CreatedAt}
}
