package bundle

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/bundle"
	"sigs.k8s.io/yaml"

	"github.com/sandgate/sandgate/internal/policy"
)

// SignOptions say with what is signed.
type SignOptions struct {
	Key       string // PEM of the private key; for HS256 and its kin the shared secret. Required.
	Algorithm string // empty: that of the key's type
	KeyID     string // under which the verifier has the public key. Required.
	Scope     string // that the verifier demands; empty: none
}

func (o *SignOptions) config() (*bundle.SigningConfig, func(), error) {
	nothing := func() {}
	if o.Key == "" || o.KeyID == "" {
		return nil, nothing, errors.New("signing needs a key and its id")
	}
	alg, err := algorithmOf([]byte(o.Key), o.Algorithm, true)
	if err != nil {
		return nil, nothing, fmt.Errorf("signing key: %w", err)
	}
	o.Algorithm = alg
	if o.Scope == "" {
		return bundle.NewSigningConfig(o.Key, alg, ""), nothing, nil
	}
	// OPA takes claims from a file only.
	claims, err := json.Marshal(map[string]string{"scope": o.Scope})
	if err != nil {
		return nil, nothing, err
	}
	f, err := os.CreateTemp("", "sandgate-claims-*.json")
	if err != nil {
		return nil, nothing, err
	}
	remove := func() { _ = os.Remove(f.Name()) }
	_, err = f.Write(claims)
	if err = errors.Join(err, f.Close()); err != nil {
		remove()
		return nil, nothing, err
	}
	return bundle.NewSigningConfig(o.Key, alg, f.Name()), remove, nil
}

// Sign returns the bundle with a signature of all its files. A former signature
// is replaced.
func Sign(raw []byte, o SignOptions) ([]byte, error) {
	files, err := unpack(raw)
	if err != nil {
		return nil, err
	}
	delete(files, signaturesFile)
	b, err := open(files, nil)
	if err != nil {
		return nil, err
	}
	if b.Type() != bundle.SnapshotBundleType {
		return nil, errors.New("a delta bundle cannot be signed")
	}
	sc, done, err := o.config()
	defer done()
	if err != nil {
		return nil, err
	}
	if err := b.GenerateSignature(sc, o.KeyID, true); err != nil {
		return nil, fmt.Errorf("sign the bundle: %w", err)
	}
	return pack(b)
}

// SignDir writes .signatures.json into a policy directory: a signature of all the
// policy files in it, tests included.
func SignDir(dir string, o SignOptions) error {
	p, err := policy.ReadDir(dir)
	if err != nil {
		return err
	}
	delete(p.Files, signaturesFile)
	if _, err := open(p.Files, nil); err != nil {
		return err
	}
	sc, done, err := o.config()
	defer done()
	if err != nil {
		return err
	}
	hashed, err := hashes(p.Files)
	if err != nil {
		return err
	}
	token, err := bundle.GenerateSignedToken(hashed, sc, o.KeyID)
	if err != nil {
		return fmt.Errorf("sign the directory: %w", err)
	}
	text, err := json.Marshal(bundle.SignaturesConfig{Signatures: []string{token}})
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, signaturesFile), text)
}

// hashes are those that OPA's verifier takes of the files: of data and manifest
// the value counts, not the spelling.
func hashes(files map[string][]byte) ([]bundle.FileInfo, error) {
	hasher, err := bundle.NewSignatureHasher(bundle.SHA256)
	if err != nil {
		return nil, err
	}
	var out []bundle.FileInfo
	for _, name := range slices.Sorted(maps.Keys(files)) {
		var value any = files[name]
		if bundle.IsStructuredDoc(name) || strings.HasSuffix(name, ".yaml") {
			asJSON, err := yaml.YAMLToJSON(files[name])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if err := json.Unmarshal(asJSON, &value); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		sum, err := hasher.HashFile(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, bundle.NewFile(name, hex.EncodeToString(sum), string(bundle.SHA256)))
	}
	return out, nil
}

// replaceFile writes a file so that a watcher sees the old or the new one.
func replaceFile(name string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".sandgate-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(0o644) // as the policy beside it: whoever verifies reads it
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
