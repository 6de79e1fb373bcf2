// Package spool keeps the output of calls beside what is in memory: Tape that of
// a running call, for those who follow it, and Store what finished calls have
// told, for those who ask later, also after a restart. The gate is its only user.
//
// What is kept is what hosts are told: whoever writes takes secrets out before.
// Everything is bounded, in memory, in files and in time. It is best effort and
// never synced: a crash of the machine may lose any of it (one of the process loses
// nothing of calls that outlive their request, see Files.Left), and what is read back
// counts only if its digest is the one that the journal has. It must never hold
// up a call for a reader, and never give anything to anybody but by its key,
// which only the gate can make.
package spool

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
)

// Stream is one of the two output streams of a program, as sandbox.Stream.
type Stream uint8

// The output streams.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

const streams = 2

func (s Stream) index() int { return int(s) - 1 }

func (s Stream) valid() bool { return s == Stdout || s == Stderr }

// Piece is a part of the output of a call.
type Piece struct {
	Stream Stream
	Offset int64 // of Data in its stream
	Data   []byte
}

// Digest is the SHA-256 of stored pieces. The zero value stands for nothing.
type Digest [sha256.Size]byte

// String is "sha256:…", empty for the zero value.
func (d Digest) String() string {
	if d == (Digest{}) {
		return ""
	}
	return "sha256:" + hex.EncodeToString(d[:])
}

// ParseDigest reads what String has written.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if s == "" {
		return d, nil
	}
	const prefix = "sha256:"
	if len(s) != len(prefix)+hex.EncodedLen(len(d)) || s[:len(prefix)] != prefix {
		return d, fmt.Errorf("digest %.80q: want sha256: and %d hexadecimal digits", s, hex.EncodedLen(len(d)))
	}
	if _, err := hex.Decode(d[:], []byte(s[len(prefix):])); err != nil {
		return d, fmt.Errorf("digest %.80q: %w", s, err)
	}
	return d, nil
}

// Pieces are stored one after another, each with a head: its stream, its offset
// and its length, big-endian.
const pieceHead = 1 + 8 + 4

// maxPiece bounds what a reader takes for the length of a piece.
const maxPiece = 64 << 20

// hashBytes are hashed at once.
const hashBytes = 256 << 10

// Stored are pieces in their stored form, in parts that are not copied. Nobody may
// change them.
type Stored [][]byte

// Add appends a piece, whose data it keeps.
func (s *Stored) Add(p Piece) {
	data := p.Data
	p.Data = nil
	*s = append(*s, appendPieceHead(make([]byte, 0, pieceHead), p, len(data)), data)
}

// Size is how many bytes they have.
func (s Stored) Size() (n int64) {
	for _, part := range s {
		n += int64(len(part))
	}
	return n
}

// Digest is that under which they are found again.
func (s Stored) Digest() Digest {
	h := sha256.New()
	for _, part := range s {
		for n := 0; n < len(part); n += hashBytes { // a collection waits for each to end
			h.Write(part[n:min(n+hashBytes, len(part))])
		}
	}
	return Digest(h.Sum(nil))
}

func (s Stored) reader() *net.Buffers {
	out := make(net.Buffers, len(s))
	copy(out, s)
	return &out
}

// AppendPiece appends the stored form of a piece.
func AppendPiece(b []byte, p Piece) []byte {
	return append(appendPieceHead(b, p, len(p.Data)), p.Data...)
}

func appendPieceHead(b []byte, p Piece, size int) []byte {
	b = append(b, byte(p.Stream))
	b = binary.BigEndian.AppendUint64(b, uint64(p.Offset)) //nolint:gosec // offsets are not negative
	return binary.BigEndian.AppendUint32(b, uint32(size))  //nolint:gosec // bounded by what a call may keep
}

var errPieces = errors.New("stored output is damaged")

// ReadPieces reads the stored form to its end and gives each piece to take,
// whose Data are only valid meanwhile.
func ReadPieces(r io.Reader, take func(Piece) error) error {
	var head [pieceHead]byte
	var buf []byte
	for {
		if _, err := io.ReadFull(r, head[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("%w: %w", errPieces, err)
		}
		p := Piece{Stream: Stream(head[0]), Offset: int64(binary.BigEndian.Uint64(head[1:]))} //nolint:gosec // checked below
		n := binary.BigEndian.Uint32(head[9:])
		if !p.Stream.valid() || p.Offset < 0 || n > maxPiece {
			return errPieces
		}
		if int(n) > cap(buf) {
			buf = make([]byte, n)
		}
		p.Data = buf[:n]
		if _, err := io.ReadFull(r, p.Data); err != nil {
			return fmt.Errorf("%w: %w", errPieces, err)
		}
		if err := take(p); err != nil {
			return err
		}
	}
}
