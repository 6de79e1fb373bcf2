package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/loader/filter"

	"github.com/sandgate/sandgate/internal/policy"
)

// Bounds of a bundle as a file.
const (
	// MaxBytes is the largest bundle that is read, packed.
	MaxBytes = 32 << 20
	// MaxUnpacked is what its files may have together.
	MaxUnpacked = 64 << 20
	// MaxFiles is how many files it may have.
	MaxFiles = 4_000
)

const (
	signaturesFile = ".signatures.json"
	manifestFile   = ".manifest"
)

// errNotBundle says what a bundle is to somebody who has something else.
var errNotBundle = errors.New("is not a bundle: want a .tar.gz as `sandgate policy build` and `opa build` make it")

// unpack reads the files of a bundle, within bounds. Paths that lead out of it
// are an error.
func unpack(raw []byte) (map[string][]byte, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", errNotBundle, err)
	}
	files, left := map[string][]byte{}, int64(MaxUnpacked)
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w (%w)", errNotBundle, err)
		}
		if header.Typeflag == tar.TypeDir {
			continue
		}
		name := strings.TrimPrefix(path.Clean("/"+header.Name), "/")
		if header.Typeflag != tar.TypeReg || strings.Contains("/"+header.Name+"/", "/../") {
			return nil, fmt.Errorf("the bundle has %q, which is not a regular file in it", header.Name)
		}
		if len(files) >= MaxFiles {
			return nil, fmt.Errorf("the bundle has more than %d files", MaxFiles)
		}
		body, err := io.ReadAll(io.LimitReader(archive, left+1))
		if err != nil {
			return nil, fmt.Errorf("%w (%w)", errNotBundle, err)
		}
		if left -= int64(len(body)); left < 0 {
			return nil, fmt.Errorf("the bundle has more than %d MiB of files", MaxUnpacked>>20)
		}
		if _, twice := files[name]; twice {
			return nil, fmt.Errorf("the bundle has %q twice", name)
		}
		files[name] = body
	}
	return files, nil
}

// Read takes a policy out of a bundle. name is where it is from, for people. With
// keys the bundle must have a signature that one of them verifies; without, a
// signature is not looked at. The error says what is wrong with it.
func Read(name string, raw []byte, keys *Verification) (policy.Package, error) {
	if len(raw) > MaxBytes {
		return policy.Package{}, fmt.Errorf("bundle %s has more than %d MiB", name, MaxBytes>>20)
	}
	files, err := unpack(raw)
	if err != nil {
		return policy.Package{}, fmt.Errorf("bundle %s: %w", name, err)
	}
	b, err := open(files, keys)
	if err != nil {
		return policy.Package{}, fmt.Errorf("bundle %s: %w", name, err)
	}
	if b.Type() == bundle.DeltaBundleType {
		return policy.Package{}, fmt.Errorf("bundle %s is a delta of another one: it can only come from a bundle service", name)
	}
	p, err := content(b)
	p.Name = name
	return p, err
}

// content is what the daemon loads of a bundle.
func content(b *bundle.Bundle) (policy.Package, error) {
	if len(b.WasmModules) > 0 {
		return policy.Package{}, errors.New("the bundle is compiled to WebAssembly: build it with the target rego")
	}
	p := policy.Package{Files: map[string][]byte{}, Revision: b.Manifest.Revision}
	for _, m := range b.Modules {
		p.Files[strings.TrimPrefix(m.Path, "/")] = m.Raw
	}
	if len(b.Data) > 0 {
		data, err := json.Marshal(b.Data)
		if err != nil {
			return policy.Package{}, fmt.Errorf("data of the bundle: %w", err)
		}
		p.Files["data.json"] = data
	}
	return p, nil
}

// VerifyDir sees that the signature of a directory, in its .signatures.json, is
// of one of the keys and of these very files.
func VerifyDir(p policy.Package, keys *Verification) error {
	if _, err := open(p.Files, keys); err != nil {
		return fmt.Errorf("policy directory %s: %w", p.Name, err)
	}
	return nil
}

// open reads files with OPA's bundle reader.
func open(files map[string][]byte, keys *Verification) (*bundle.Bundle, error) {
	reader := bundle.NewCustomReader(&memory{files: files, names: slices.Sorted(maps.Keys(files))}).
		WithRegoVersion(ast.RegoV1).
		WithProcessAnnotations(true).
		WithSizeLimitBytes(MaxUnpacked)
	if keys == nil {
		reader = reader.WithSkipBundleVerification(true)
	} else {
		if _, signed := files[signaturesFile]; !signed {
			return nil, errors.New("it has no signature (.signatures.json), and policies must be signed here: sign it with `sandgate policy sign`")
		}
		reader = reader.WithBundleVerificationConfig(keys.opa())
	}
	b, err := reader.Read()
	if err != nil {
		return nil, err
	}
	return &b, nil
}

// memory is a bundle.DirectoryLoader of files that were read already.
type memory struct {
	files map[string][]byte
	names []string
}

// NextFile implements bundle.DirectoryLoader.
func (m *memory) NextFile() (*bundle.Descriptor, error) {
	if len(m.names) == 0 {
		return nil, io.EOF
	}
	name := m.names[0]
	m.names = m.names[1:]
	return bundle.NewDescriptor("/"+name, "/"+name, bytes.NewReader(m.files[name])), nil
}

// WithFilter implements bundle.DirectoryLoader; nothing is filtered.
func (m *memory) WithFilter(filter.LoaderFilter) bundle.DirectoryLoader { return m }

// WithPathFormat implements bundle.DirectoryLoader; there is one format.
func (m *memory) WithPathFormat(bundle.PathFormat) bundle.DirectoryLoader { return m }

// WithSizeLimitBytes implements bundle.DirectoryLoader; unpack has held the bounds.
func (m *memory) WithSizeLimitBytes(int64) bundle.DirectoryLoader { return m }

// WithFollowSymlinks implements bundle.DirectoryLoader; there are none.
func (m *memory) WithFollowSymlinks(bool) bundle.DirectoryLoader { return m }
