package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/journal/merkle"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// exitDamaged is the exit code of a journal that is not what it should be.
const exitDamaged = 3

// damaged is an error with exitDamaged.
type damaged struct{ error }

// ExitCode is what the command ends with.
func (damaged) ExitCode() int { return exitDamaged }

// Unwrap returns what is wrong.
func (d damaged) Unwrap() error { return d.error }

// verifyFlags are those of `sandgate audit verify`.
type verifyFlags struct {
	dir, key, checkpoint, save string
	asJSON                     bool
}

func newAuditVerifyCommand(c *client) *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check the journal's hashes, chain, checkpoints and signatures",
		Long: `With --dir reads a journal's directory, no daemon needed: every line's hash, the
chain over all segments, the records of removed segments, every checkpoint against
the tree of the records, and the snapshots. Damage is named by file, line, record
and byte.

Without it asks the daemon for its newest checkpoint and all records, and computes
hashes, chain and tree here, so that the daemon need not be believed.

With --key signatures are checked. With --checkpoint the journal must be the one of
that checkpoint, which was saved by --save before, with more at its end; keep it
where the daemon's machine cannot change it. Records behind the newest checkpoint
that were cut off the end are missed by nobody: the output says how many there are.

The exit code is 0 when all is well, 3 when the journal was damaged or changed, and
1 when it could not be looked at.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if f.key, err = keyOf(f.key); err != nil {
				return err
			}
			if f.dir != "" {
				err = f.offline(cmd)
			} else {
				err = c.audit(func(service sandgatev1.AuditServiceClient) error { return f.online(cmd, service) })
			}
			if errdefs.IsDataLoss(err) {
				return damaged{err}
			}
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.dir, "dir", "", "directory of a journal, to be read without a daemon")
	fl.StringVar(&f.key, "key", "", "public key of the journal, or a file with it (see sandgate audit key)")
	fl.StringVar(&f.checkpoint, "checkpoint", "", "file with an earlier checkpoint")
	fl.StringVar(&f.save, "save", "", "file to keep the newest checkpoint in when all is well")
	fl.BoolVar(&f.asJSON, "json", false, "print JSON")
	return cmd
}

// verdict is what verify prints.
type verdict struct {
	Records        int64          `json:"records"`
	First          int64          `json:"first"`
	Last           int64          `json:"last"`
	LastHash       string         `json:"last_hash"`
	Segments       int            `json:"segments,omitempty"`
	Checkpoints    int64          `json:"checkpoints,omitempty"`
	CheckpointSize int64          `json:"checkpoint_size"`
	Signed         bool           `json:"signed"`
	TornBytes      int64          `json:"torn_bytes,omitempty"`
	TornAt         *journal.Place `json:"torn_at,omitempty"`
}

func (f *verifyFlags) print(out io.Writer, v verdict) error {
	if f.asJSON {
		return writeIndented(out, v)
	}
	text := fmt.Sprintf("%d records, %d to %d: hashes and chain are right\n", v.Records, v.First, v.Last)
	switch {
	case v.CheckpointSize == 0:
		text += "no checkpoint was signed yet: that no records were cut off the end is not proven\n"
	case v.Signed:
		text += fmt.Sprintf("the signed checkpoint counts %d of them", v.CheckpointSize)
	default:
		text += fmt.Sprintf("the checkpoint counts %d of them; its signature was not checked: give --key", v.CheckpointSize)
	}
	if behind := v.Last - v.CheckpointSize; v.CheckpointSize > 0 {
		text += fmt.Sprintf(", %d were written since\n", max(behind, 0))
	}
	if v.TornBytes > 0 {
		text += fmt.Sprintf("%d bytes at the end of %s (line %d, byte %d) are what a crash leaves of a record that was never acknowledged\n",
			v.TornBytes, v.TornAt.Path, v.TornAt.Line, v.TornAt.Offset)
	}
	_, err := io.WriteString(out, text)
	return err
}

// keep saves a checkpoint that was found to be good.
func (f *verifyFlags) keep(note []byte) error {
	if f.save == "" || len(note) == 0 {
		return nil
	}
	if err := merkle.WriteFile(f.save, note); err != nil {
		return fmt.Errorf("--save: %w", err)
	}
	return nil
}

// earlier reads the checkpoint of --checkpoint; nil: none was given.
func (f *verifyFlags) earlier() ([]byte, error) {
	if f.checkpoint == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(f.checkpoint)
	if err != nil {
		return nil, fmt.Errorf("--checkpoint: %w", err)
	}
	return raw, nil
}

func (f *verifyFlags) offline(cmd *cobra.Command) error {
	earlier, err := f.earlier()
	if err != nil {
		return err
	}
	got, err := journal.VerifyAll(f.dir, journal.VerifyOptions{PublicKey: f.key, Checkpoint: earlier})
	if err != nil {
		return err
	}
	v := verdict{
		Records: got.Records, First: got.FirstSeq, Last: got.LastSeq, LastHash: got.LastHash, Segments: got.Segments,
		Checkpoints: got.Checkpoints, CheckpointSize: got.CheckpointSize, Signed: got.Signed && got.CheckpointSize > 0,
	}
	if got.TornBytes > 0 {
		v.TornBytes, v.TornAt = got.TornBytes, &got.TornAt
	}
	return errors.Join(f.print(cmd.OutOrStdout(), v), f.keep(got.Newest))
}

func (f *verifyFlags) online(cmd *cobra.Command, service sandgatev1.AuditServiceClient) error {
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	head, c, err := f.newest(ctx, service)
	if err != nil {
		return err
	}
	last, err := lastRecord(ctx, service)
	if err != nil {
		return err
	}
	w := &walk{first: max(head.GetFirstSequence(), 1), counted: c.Size}
	stream, err := service.TailRecords(ctx, &sandgatev1.TailRecordsRequest{FromSequence: w.first})
	if err != nil {
		return err
	}
	for w.last < max(last, c.Size) {
		got, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := w.record(got.GetRecord()); err != nil {
			return err
		}
	}
	if c.Size > 0 {
		if err := w.proven(ctx, service, c); err != nil {
			return err
		}
	}
	v := verdict{Records: w.last - w.first + 1, First: w.first, Last: w.last, LastHash: w.hash, CheckpointSize: c.Size, Signed: f.key != "" && c.Size > 0}
	return errors.Join(f.print(cmd.OutOrStdout(), v), f.keep([]byte(head.GetNote())))
}

// newest is the daemon's newest checkpoint, found to be signed and to follow from that of
// --checkpoint; of size 0: none was signed yet.
func (f *verifyFlags) newest(ctx context.Context, service sandgatev1.AuditServiceClient) (*sandgatev1.GetCheckpointResponse, merkle.Checkpoint, error) {
	head, err := service.GetCheckpoint(ctx, &sandgatev1.GetCheckpointRequest{})
	if status.Code(err) == codes.NotFound {
		if f.key == "" && f.checkpoint == "" && f.save == "" {
			return nil, merkle.Checkpoint{}, nil
		}
		return nil, merkle.Checkpoint{}, fmt.Errorf("%s: there is nothing yet for --key, --checkpoint and --save; the daemon signs one some seconds after it has written records (journal.checkpoint_interval), as long as its disk has room", explain(err))
	}
	if err != nil {
		return nil, merkle.Checkpoint{}, err
	}
	key := f.key
	if key == "" {
		key = head.GetPublicKey()
	}
	c, err := merkle.OpenCheckpoint([]byte(head.GetNote()), key)
	if err != nil {
		return nil, merkle.Checkpoint{}, err
	}
	return head, c, f.consistent(ctx, service, c, key)
}

// lastRecord is the number of the newest record; 0: there is none.
func lastRecord(ctx context.Context, service sandgatev1.AuditServiceClient) (int64, error) {
	page, err := service.QueryRecords(ctx, &sandgatev1.QueryRecordsRequest{NewestFirst: true, PageSize: 1})
	if err != nil || len(page.GetRecords()) == 0 {
		return 0, err
	}
	return page.GetRecords()[0].GetSequence(), nil
}

// consistent checks that the journal is the one of the earlier checkpoint.
func (f *verifyFlags) consistent(ctx context.Context, service sandgatev1.AuditServiceClient, c merkle.Checkpoint, key string) error {
	raw, err := f.earlier()
	if err != nil || raw == nil {
		return err
	}
	old, err := merkle.OpenCheckpoint(raw, key)
	if err != nil {
		return fmt.Errorf("--checkpoint: %w", err)
	}
	if old.Size > c.Size {
		return fmt.Errorf("the journal counts %d records, the earlier checkpoint %d: records are missing: %w", c.Size, old.Size, errdefs.ErrDataLoss)
	}
	proof, err := service.GetConsistencyProof(ctx, &sandgatev1.GetConsistencyProofRequest{OldTreeSize: old.Size, TreeSize: c.Size})
	if err != nil {
		return err
	}
	hashes, err := hashesOf(proof.GetHashes())
	if err == nil {
		err = tlog.CheckTree(hashes, c.Size, c.Root, old.Size, old.Root)
	}
	if err != nil {
		return fmt.Errorf("the journal is not that of the earlier checkpoint of %d records: %v: %w", old.Size, err, errdefs.ErrDataLoss)
	}
	return nil
}

// walk checks records one after the other.
type walk struct {
	first, last     int64
	hash, firstHash string
	// counted is how many records the checkpoint counts, countedHash that of the last of
	// them.
	counted     int64
	countedHash string
	tree        memoryTree
}

func (w *walk) record(r *sandgatev1.Record) error {
	rec, err := journal.Parse([]byte(r.GetJson()))
	if err != nil {
		return fmt.Errorf("record %d: %w", r.GetSequence(), err)
	}
	switch {
	case w.last == 0 && rec.Seq < w.first || w.last > 0 && rec.Seq != w.last+1:
		return fmt.Errorf("record %d comes after %d: %w", rec.Seq, w.last, errdefs.ErrDataLoss)
	case w.last > 0 && rec.Prev != w.hash:
		return fmt.Errorf("record %d does not follow from the record before it: %w", rec.Seq, errdefs.ErrDataLoss)
	}
	if w.last == 0 {
		w.first, w.firstHash = rec.Seq, rec.Hash
	}
	w.last, w.hash = rec.Seq, rec.Hash
	if w.last == w.counted {
		w.countedHash = rec.Hash
	}
	if w.first > 1 || w.last > w.counted {
		return nil
	}
	return w.tree.add(rec.Hash)
}

// proven checks that what was read is what the checkpoint counts: by the tree where all
// records are there, else by the proofs of the first and the last, which the chain ties
// together.
func (w *walk) proven(ctx context.Context, service sandgatev1.AuditServiceClient, c merkle.Checkpoint) error {
	if w.first == 1 {
		root, err := tlog.TreeHash(c.Size, &w.tree)
		if err != nil {
			return err
		}
		if root != c.Root {
			return fmt.Errorf("the records are not those that the checkpoint of %d counts: %w", c.Size, errdefs.ErrDataLoss)
		}
		return nil
	}
	if err := included(ctx, service, c, w.first, w.firstHash); err != nil {
		return err
	}
	return included(ctx, service, c, c.Size, w.countedHash)
}

// included checks the proof that a record is in the tree of a checkpoint.
func included(ctx context.Context, service sandgatev1.AuditServiceClient, c merkle.Checkpoint, seq int64, hash string) error {
	proof, err := service.GetInclusionProof(ctx, &sandgatev1.GetInclusionProofRequest{Sequence: seq, TreeSize: c.Size})
	if err != nil {
		return err
	}
	leaf, err := merkle.Leaf(hash)
	if err != nil {
		return err
	}
	hashes, err := hashesOf(proof.GetHashes())
	if err == nil {
		err = tlog.CheckRecord(hashes, c.Size, c.Root, seq-1, leaf)
	}
	if err != nil {
		return fmt.Errorf("record %d is not proven to be in the checkpoint of %d: %v: %w", seq, c.Size, err, errdefs.ErrDataLoss)
	}
	return nil
}

func hashesOf(raw [][]byte) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, 0, len(raw))
	for _, h := range raw {
		if len(h) != tlog.HashSize {
			return nil, fmt.Errorf("a hash has %d bytes: want %d", len(h), tlog.HashSize)
		}
		out = append(out, tlog.Hash(h))
	}
	return out, nil
}

// memoryTree is a tree in memory.
type memoryTree struct {
	size   int64
	hashes []tlog.Hash
}

func (t *memoryTree) add(recordHash string) error {
	leaf, err := merkle.Leaf(recordHash)
	if err != nil {
		return err
	}
	more, err := tlog.StoredHashesForRecordHash(t.size, leaf, t)
	if err != nil {
		return err
	}
	t.hashes = append(t.hashes, more...)
	t.size++
	return nil
}

// ReadHashes implements tlog.HashReader.
func (t *memoryTree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		if at >= int64(len(t.hashes)) {
			return nil, fmt.Errorf("hash %d of the tree: %w", at, errdefs.ErrOutOfRange)
		}
		out[i] = t.hashes[at]
	}
	return out, nil
}

// showRecord prints a record and what proves it.
func showRecord(cmd *cobra.Command, service sandgatev1.AuditServiceClient, r *sandgatev1.Record, givenKey string) error {
	rec, err := journal.Parse([]byte(r.GetJson()))
	if err != nil {
		return damaged{err}
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(r.GetJson()), "", "  "); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(cmd.OutOrStdout(), pretty.String()); err != nil {
		return err
	}
	key, err := keyOf(givenKey)
	if err != nil {
		return err
	}
	head, err := service.GetCheckpoint(cmd.Context(), &sandgatev1.GetCheckpointRequest{})
	if err != nil {
		return err
	}
	if key == "" {
		key = head.GetPublicKey()
	}
	c, err := merkle.OpenCheckpoint([]byte(head.GetNote()), key)
	if err != nil {
		return damaged{err}
	}
	if c.Size < rec.Seq {
		_, err := fmt.Fprintf(cmd.ErrOrStderr(), "record %d has its hash; no checkpoint counts it yet\n", rec.Seq)
		return err
	}
	if err := included(cmd.Context(), service, c, rec.Seq, rec.Hash); err != nil {
		if errdefs.IsDataLoss(err) {
			return damaged{err}
		}
		return err
	}
	_, err = fmt.Fprintf(cmd.ErrOrStderr(), "record %d has its hash and is proven to be in the checkpoint of %d records by %s\n", rec.Seq, c.Size, c.Origin)
	return err
}
