package merkle

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"
)

// Checkpoint is a tree head.
type Checkpoint struct {
	Origin string // which journal's; the name of its key
	Size   int64  // records
	Root   tlog.Hash
}

// Text is the text that is signed.
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// parse reads Text.
func parse(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	bad := fmt.Errorf("checkpoint: want the lines origin, size and root: %w", errdefs.ErrInvalidArgument)
	if len(lines) < 4 || lines[0] == "" {
		return Checkpoint{}, bad
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return Checkpoint{}, bad
	}
	raw, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(raw) != tlog.HashSize {
		return Checkpoint{}, bad
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: tlog.Hash(raw)}, nil
}

// OpenCheckpoint reads a signed checkpoint and checks its signature with the public
// key. A signature that does not fit, or of another key, is errdefs.ErrDataLoss.
func OpenCheckpoint(signed []byte, publicKey string) (Checkpoint, error) {
	verifier, err := note.NewVerifier(strings.TrimSpace(publicKey))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("public key %q: %w: want a line as `sandgate audit key` prints it", publicKey, errdefs.ErrInvalidArgument)
	}
	n, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint is not signed by %s: %v: %w", verifier.Name(), err, errdefs.ErrDataLoss)
	}
	c, err := parse(n.Text)
	if err == nil && c.Origin != verifier.Name() {
		err = fmt.Errorf("checkpoint of %q is signed as %q: %w", c.Origin, verifier.Name(), errdefs.ErrDataLoss)
	}
	return c, err
}

// ReadCheckpoint reads a signed checkpoint without a look at its signature, for
// those who trust the place that they have it from.
func ReadCheckpoint(signed []byte) (Checkpoint, error) { return parse(string(signed)) }

// Key signs checkpoints. It is safe for concurrent use.
type Key struct {
	signer note.Signer
	public string
}

// Public is the key that signatures are checked with: one line, NAME+HASH+KEY.
func (k *Key) Public() string { return k.public }

// Name is the origin of the checkpoints that the key signs.
func (k *Key) Name() string { return k.signer.Name() }

// Sign signs the tree of that size and root.
func (k *Key) Sign(size int64, root tlog.Hash) ([]byte, error) {
	c := Checkpoint{Origin: k.signer.Name(), Size: size, Root: root}
	signed, err := note.Sign(&note.Note{Text: c.Text()}, k.signer)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	return signed, nil
}

// LoadKey reads the private key in the file, and makes one (mode 0600) if there is
// none. One that others may read is refused.
func LoadKey(path string) (*Key, error) {
	text, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeKey(path); err == nil {
			text, err = readKey(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("key of the journal: %w", err)
	}
	signer, err := note.NewSigner(text)
	if err != nil {
		return nil, fmt.Errorf("key of the journal: %s holds none: %w", path, errdefs.ErrFailedPrecondition)
	}
	public, err := publicOf(signer.Name(), text)
	if err != nil {
		return nil, err
	}
	return &Key{signer: signer, public: public}, nil
}

// publicOf takes the public key out of PRIVATE+KEY+NAME+HASH+SEED, where the seed is
// base64, which may hold a plus itself.
func publicOf(name, private string) (string, error) {
	parts := strings.SplitN(private, "+", 5)
	seed, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(seed) != 1+ed25519.SeedSize {
		return "", fmt.Errorf("key of the journal: want an Ed25519 key: %w", errdefs.ErrFailedPrecondition)
	}
	public, ok := ed25519.NewKeyFromSeed(seed[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return "", fmt.Errorf("key of the journal: want an Ed25519 key: %w", errdefs.ErrFailedPrecondition)
	}
	return note.NewEd25519VerifierKey(name, public)
}

func readKey(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0) // #nosec G304 -- in the data directory
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // was only read
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s has mode %v: want a file that only its owner may read: %w", path, info.Mode(), errdefs.ErrFailedPrecondition)
	}
	buf := make([]byte, 4096)
	n, err := f.Read(buf)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return strings.TrimSpace(string(buf[:n])), nil
}

// makeKey makes a key with a name of its own, whole or not at all.
func makeKey(path string) error {
	id := make([]byte, 6)
	if _, err := rand.Read(id); err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	private, _, err := note.GenerateKey(rand.Reader, "sandgate/"+hex.EncodeToString(id))
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	return WriteFile(path, []byte(private+"\n"))
}

// WriteFile puts a file (mode 0600) in the place of another, whole and on the disk.
func WriteFile(path string, content []byte) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err == nil {
		var d *os.File
		if d, err = os.Open(dir); err == nil { // #nosec G304 -- the file's own
			err = errors.Join(d.Sync(), d.Close())
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), removed(tmp.Name()))
	}
	return nil
}

func removed(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
