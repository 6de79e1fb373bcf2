package rpc

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sandgate/sandgate/internal/audit"
	"github.com/sandgate/sandgate/internal/journal"
	"github.com/sandgate/sandgate/internal/journal/merkle"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// audited serves a journal of n records.
func audited(t *testing.T, n int, access Access) (sandgatev1.AuditServiceClient, *journal.Journal) {
	t.Helper()
	dir := t.TempDir()
	key, err := merkle.LoadKey(filepath.Join(dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(filepath.Join(dir, "j.jsonl"), journal.Options{Key: key, CheckpointRecords: n, CheckpointEvery: time.Hour}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := range n {
		e := journal.Entry{Kind: journal.KindDecision, Caller: []string{"unix:uid:1", "unix:uid:2"}[i%2], CallID: "c", Data: map[string]any{"outcome": "DENIED", "tool": "bash"}}
		if _, err := j.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	h := serve(t, func(h *harness, c *Config) { c.Audit, h.access = audit.New(j, zap.NewNop()), access })
	return sandgatev1.NewAuditServiceClient(h.conn), j
}

func TestAuditServiceAnswersQueries(t *testing.T) {
	client, _ := audited(t, 10, Access{Known: true, Admin: true})
	var seqs []int64
	req := &sandgatev1.QueryRecordsRequest{Caller: "unix:uid:2", Tool: "bash", Outcome: "DENIED", PageSize: 2, NewestFirst: true}
	for {
		page, err := client.QueryRecords(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.GetRecords() {
			seqs = append(seqs, r.GetSequence())
			if rec, err := journal.Parse([]byte(r.GetJson())); err != nil || rec.Caller != r.GetCaller() || r.GetKind() != "decision" {
				t.Errorf("record %v: %v", r, err)
			}
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	if len(seqs) != 5 || seqs[0] != 10 || seqs[4] != 2 {
		t.Errorf("got %v, want 10 to 2, every second", seqs)
	}
	now := time.Now()
	for name, bad := range map[string]*sandgatev1.QueryRecordsRequest{
		"page_size": {PageSize: 1001}, "start_time": {StartTime: &timestamppb.Timestamp{Nanos: -5}},
		"end_time": {StartTime: timestamppb.New(now), EndTime: timestamppb.New(now)}, "page token": {PageToken: "x"},
	} {
		_, err := client.QueryRecords(t.Context(), bad)
		wantCode(t, err, codes.InvalidArgument, name)
	}
}

func TestAuditServiceProvesWhatItTells(t *testing.T) {
	client, _ := audited(t, 10, Access{Known: true, Admin: true})
	var head *sandgatev1.GetCheckpointResponse
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		var err error
		if head, err = client.GetCheckpoint(t.Context(), &sandgatev1.GetCheckpointRequest{}); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	c, err := merkle.OpenCheckpoint([]byte(head.GetNote()), head.GetPublicKey())
	if err != nil || c.Size != head.GetTreeSize() || head.GetFirstSequence() != 1 {
		t.Fatalf("checkpoint %v: %v", head, err)
	}
	stream, err := client.TailRecords(t.Context(), &sandgatev1.TailRecordsRequest{FromSequence: 1})
	if err != nil {
		t.Fatal(err)
	}
	for want := int64(1); want <= c.Size; want++ {
		got, err := stream.Recv()
		if err != nil || got.GetRecord().GetSequence() != want {
			t.Fatalf("got %v %v, want record %d", got, err, want)
		}
		rec, err := journal.Parse([]byte(got.GetRecord().GetJson()))
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := merkle.Leaf(rec.Hash)
		if err != nil {
			t.Fatal(err)
		}
		proof, err := client.GetInclusionProof(t.Context(), &sandgatev1.GetInclusionProofRequest{Sequence: want, TreeSize: c.Size})
		if err != nil || tlog.CheckRecord(proofOf(t, proof.GetHashes()), c.Size, c.Root, want-1, leaf) != nil {
			t.Errorf("record %d is not proven: %v", want, err)
		}
	}
	proof, err := client.GetConsistencyProof(t.Context(), &sandgatev1.GetConsistencyProofRequest{OldTreeSize: c.Size, TreeSize: c.Size})
	if err != nil || tlog.CheckTree(proofOf(t, proof.GetHashes()), c.Size, c.Root, c.Size, c.Root) != nil {
		t.Errorf("the tree is not proven to be its own beginning: %v", err)
	}
	_, err = client.GetInclusionProof(t.Context(), &sandgatev1.GetInclusionProofRequest{Sequence: 5000})
	wantCode(t, err, codes.OutOfRange, "5000")
	_, err = client.GetConsistencyProof(t.Context(), &sandgatev1.GetConsistencyProofRequest{})
	wantCode(t, err, codes.InvalidArgument, "old_tree_size")
	late, err := client.TailRecords(t.Context(), &sandgatev1.TailRecordsRequest{FromSequence: 5000})
	if err == nil {
		_, err = late.Recv()
	}
	wantCode(t, err, codes.OutOfRange, "5000")
}

// TestWordsThatNoRecordHasAreRefused: they would find nothing, as if nothing had happened.
func TestWordsThatNoRecordHasAreRefused(t *testing.T) {
	client, _ := audited(t, 3, Access{Known: true, Admin: true})
	for _, outcome := range audit.Outcomes() {
		if _, err := client.QueryRecords(t.Context(), &sandgatev1.QueryRecordsRequest{Outcome: outcome}); err != nil {
			t.Errorf("%s: %v", outcome, err)
		}
	}
	_, err := client.QueryRecords(t.Context(), &sandgatev1.QueryRecordsRequest{Outcome: "nope", Kind: "Nope"})
	wantCode(t, err, codes.InvalidArgument, "outcome", `"nope", which is not known: want one of EXITED, `, "kind", "want one of intent, ")
	for n, name := range sandgatev1.Outcome_name {
		if word := strings.TrimPrefix(name, "OUTCOME_"); n != 0 && !slices.Contains(audit.Outcomes(), word) {
			t.Errorf("no record can be asked for by the outcome %s", word)
		}
	}
}

func proofOf(t *testing.T, raw [][]byte) []tlog.Hash {
	t.Helper()
	out := make([]tlog.Hash, 0, len(raw))
	for _, h := range raw {
		if len(h) != tlog.HashSize {
			t.Fatal(errors.New("a hash of another length"))
		}
		out = append(out, tlog.Hash(h))
	}
	return out
}

func TestRecordsAreForAdministrators(t *testing.T) {
	client, _ := audited(t, 3, Access{Known: true})
	_, err := client.QueryRecords(t.Context(), &sandgatev1.QueryRecordsRequest{})
	wantCode(t, err, codes.PermissionDenied, "administrator")
	stream, err := client.TailRecords(t.Context(), &sandgatev1.TailRecordsRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	wantCode(t, err, codes.PermissionDenied, "administrator")
	if _, err := client.GetInclusionProof(t.Context(), &sandgatev1.GetInclusionProofRequest{Sequence: 1, TreeSize: 2}); err != nil {
		t.Errorf("a proof: got %v, want it for everybody", err)
	}
}
