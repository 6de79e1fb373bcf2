package bundle

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/bundle"
	opakeys "github.com/open-policy-agent/opa/v1/keys"
)

// Key is what verifies a signature.
type Key struct {
	// PEM is the public key or certificate; for HS256 and its kin the shared secret.
	PEM string
	// Algorithm is the only one that is taken. Empty: that of the key's type.
	Algorithm string
}

// Verification says which signatures are good.
type Verification struct {
	// Keys by their id, which the signature names. At least one.
	Keys map[string]Key
	// KeyID is the only key that is taken, whatever a signature names. Empty: any.
	KeyID string
	// Scope that a signature must have. Empty: none.
	Scope string
}

// Check reports what is wrong with the keys, and fills in their algorithms.
func (v *Verification) Check() error {
	if len(v.Keys) == 0 {
		return errors.New("there is no key to verify signatures with")
	}
	for id, key := range v.Keys {
		alg, err := algorithmOf([]byte(key.PEM), key.Algorithm, false)
		if err != nil {
			return fmt.Errorf("key %q: %w", id, err)
		}
		key.Algorithm = alg
		v.Keys[id] = key
	}
	if _, known := v.Keys[v.KeyID]; v.KeyID != "" && !known {
		return fmt.Errorf("key_id %q is none of the keys", v.KeyID)
	}
	return nil
}

func (v *Verification) opa() *bundle.VerificationConfig {
	keys := make(map[string]*bundle.KeyConfig, len(v.Keys))
	for id, key := range v.Keys {
		keys[id] = &bundle.KeyConfig{Key: key.PEM, Algorithm: key.Algorithm, Scope: v.Scope}
	}
	return bundle.NewVerificationConfig(keys, v.KeyID, v.Scope, nil)
}

// algorithmOf is the algorithm that is wanted, or the usual one of the key.
func algorithmOf(text []byte, want string, private bool) (string, error) {
	if want == "EdDSA" {
		return "", errors.New("OPA's bundle signatures know no EdDSA: want ES256, RS256, PS256 or their kin")
	}
	if want != "" {
		if !opakeys.IsSupportedAlgorithm(want) {
			return "", fmt.Errorf("unknown algorithm %q: want ES256, RS256, PS256, HS256 or their kin", want)
		}
		if want[0] == 'H' {
			return want, nil
		}
	}
	usual, err := usualAlgorithm(text, private)
	switch {
	case err != nil:
		return "", err
	case want == "":
		return usual, nil
	case (want[0] == 'E') != (usual[0] == 'E'):
		return "", fmt.Errorf("the algorithm %s does not fit the key, which is one for %s", want, usual)
	}
	return want, nil
}

func usualAlgorithm(text []byte, private bool) (string, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return "", errors.New("is no PEM file; for a shared secret name the algorithm HS256")
	}
	key, err := parseKey(block, private)
	if err != nil {
		return "", err
	}
	switch k := key.(type) {
	case *rsa.PublicKey, *rsa.PrivateKey:
		return "RS256", nil
	case *ecdsa.PublicKey:
		return curveAlgorithm(k.Curve.Params().BitSize)
	case *ecdsa.PrivateKey:
		return curveAlgorithm(k.Curve.Params().BitSize)
	case ed25519.PublicKey, ed25519.PrivateKey:
		return "", errors.New("is an Ed25519 key, which OPA's bundle signatures do not know: want one on the curve P-256, or RSA")
	}
	return "", fmt.Errorf("is a key of a type that OPA does not sign with (%T)", key)
}

func curveAlgorithm(size int) (string, error) {
	switch size {
	case 256:
		return "ES256", nil
	case 384:
		return "ES384", nil
	case 521:
		return "ES512", nil
	}
	return "", fmt.Errorf("is on a curve of %d bits: want P-256, P-384 or P-521", size)
}

// parseKey parses what OPA parses.
func parseKey(block *pem.Block, private bool) (any, error) {
	switch block.Type {
	case "PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE":
		if private {
			return nil, fmt.Errorf("is a public key (%s): a signature needs the private one", block.Type)
		}
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
		if !private {
			return nil, fmt.Errorf("is a private key (%s): whoever verifies needs the public one only; keep this one away from the daemon", block.Type)
		}
	}
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	}
	return nil, fmt.Errorf("is a PEM file of type %q: want a key", block.Type)
}
