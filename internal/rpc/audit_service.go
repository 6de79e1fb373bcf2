package rpc

import (
	"context"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sandgate/sandgate/internal/audit"
	"github.com/sandgate/sandgate/internal/journal"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// auditLog is what AuditService needs of the journal.
type auditLog interface {
	Query(ctx context.Context, q audit.Query) (audit.Page, error)
	Tail(ctx context.Context, first int64, fn func(audit.Line) error) error
	Segments() []journal.Segment
	Checkpoint() (note []byte, size int64, publicKey string, err error)
	ProveRecord(size, seq int64) ([]tlog.Hash, int64, error)
	ProveTree(size, old int64) ([]tlog.Hash, int64, error)
}

// auditService serves sandgate.v1.AuditService.
type auditService struct {
	sandgatev1.UnimplementedAuditServiceServer
	server *Server
	log    auditLog
}

func (s *Server) registerAudit(log auditLog) {
	if log == nil {
		sandgatev1.RegisterAuditServiceServer(s.grpc, sandgatev1.UnimplementedAuditServiceServer{})
		return
	}
	sandgatev1.RegisterAuditServiceServer(s.grpc, &auditService{server: s, log: log})
}

// maxConditionBytes bounds the text of a condition.
const maxConditionBytes = 1024

// QueryRecords implements AuditServiceServer.
func (a *auditService) QueryRecords(ctx context.Context, req *sandgatev1.QueryRecordsRequest) (*sandgatev1.QueryRecordsResponse, error) {
	q, err := convertQuery(req)
	if err != nil {
		return nil, err
	}
	page, err := a.log.Query(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &sandgatev1.QueryRecordsResponse{NextPageToken: page.Next, Records: make([]*sandgatev1.Record, 0, len(page.Lines))}
	for i := range page.Lines {
		out.Records = append(out.Records, recordProto(&page.Lines[i]))
	}
	return out, nil
}

// convertQuery checks a request and makes a query of it.
func convertQuery(req *sandgatev1.QueryRecordsRequest) (audit.Query, error) {
	var c checker
	for field, text := range map[string]string{
		"call_id": req.GetCallId(), "kind": req.GetKind(), "caller": req.GetCaller(), "session_id": req.GetSessionId(),
		"tool": req.GetTool(), "outcome": req.GetOutcome(), "page_token": req.GetPageToken(),
	} {
		if len(text) > maxConditionBytes {
			c.bad(field, "has %d bytes: want at most %d", len(text), maxConditionBytes)
		}
	}
	// A word that no record has would find nothing, as if nothing had happened.
	c.word("outcome", req.GetOutcome(), audit.Outcomes())
	c.word("kind", req.GetKind(), audit.Kinds())
	if n := req.GetPageSize(); n < 0 || n > audit.MaxPage {
		c.bad("page_size", "is %d: want 1 to %d, or 0 for %d", n, audit.MaxPage, audit.DefaultPage)
	}
	start, end := timeOf(&c, "start_time", req.GetStartTime()), timeOf(&c, "end_time", req.GetEndTime())
	if !start.IsZero() && !end.IsZero() && !start.Before(end) {
		c.bad("end_time", "is not after start_time")
	}
	return audit.Query{
		CallID: req.GetCallId(), Kind: journal.Kind(req.GetKind()), Caller: req.GetCaller(), Session: req.GetSessionId(),
		Tool: req.GetTool(), Outcome: req.GetOutcome(), Start: start, End: end, NewestFirst: req.GetNewestFirst(),
		Size: int(req.GetPageSize()), Token: req.GetPageToken(),
	}, c.err()
}

// timeOf is the time that a field holds; zero when it is not set.
func timeOf(c *checker, field string, at *timestamppb.Timestamp) time.Time {
	if at == nil {
		return time.Time{}
	}
	if err := at.CheckValid(); err != nil {
		c.bad(field, "is no time: %v", err)
		return time.Time{}
	}
	t := at.AsTime()
	if y := t.Year(); y < 1678 || y > 2261 {
		c.bad(field, "is in the year %d: want 1678 to 2261", y)
	}
	return t
}

// TailRecords implements AuditServiceServer.
func (a *auditService) TailRecords(req *sandgatev1.TailRecordsRequest, stream grpc.ServerStreamingServer[sandgatev1.TailRecordsResponse]) error {
	if req.GetFromSequence() < 0 {
		return fieldError("from_sequence", "is %d: want 1 or more, or 0 for what is written from now on", req.GetFromSequence())
	}
	ctx, cancel := a.server.untilStop(stream.Context())
	defer cancel(nil)
	return a.log.Tail(ctx, req.GetFromSequence(), func(line audit.Line) error {
		return stream.Send(&sandgatev1.TailRecordsResponse{Record: recordProto(&line)})
	})
}

// GetCheckpoint implements AuditServiceServer.
func (a *auditService) GetCheckpoint(context.Context, *sandgatev1.GetCheckpointRequest) (*sandgatev1.GetCheckpointResponse, error) {
	note, size, key, err := a.log.Checkpoint()
	if err != nil {
		return nil, err
	}
	return &sandgatev1.GetCheckpointResponse{Note: string(note), TreeSize: size, PublicKey: key, FirstSequence: a.log.Segments()[0].First}, nil
}

// GetInclusionProof implements AuditServiceServer.
func (a *auditService) GetInclusionProof(_ context.Context, req *sandgatev1.GetInclusionProofRequest) (*sandgatev1.GetInclusionProofResponse, error) {
	var c checker
	atLeast(&c, "sequence", req.GetSequence(), 1)
	atLeast(&c, "tree_size", req.GetTreeSize(), 0)
	if err := c.err(); err != nil {
		return nil, err
	}
	proof, size, err := a.log.ProveRecord(req.GetTreeSize(), req.GetSequence())
	if err != nil {
		return nil, err
	}
	return &sandgatev1.GetInclusionProofResponse{TreeSize: size, Hashes: hashesProto(proof)}, nil
}

// GetConsistencyProof implements AuditServiceServer.
func (a *auditService) GetConsistencyProof(_ context.Context, req *sandgatev1.GetConsistencyProofRequest) (*sandgatev1.GetConsistencyProofResponse, error) {
	var c checker
	atLeast(&c, "old_tree_size", req.GetOldTreeSize(), 1)
	atLeast(&c, "tree_size", req.GetTreeSize(), 0)
	if err := c.err(); err != nil {
		return nil, err
	}
	proof, size, err := a.log.ProveTree(req.GetTreeSize(), req.GetOldTreeSize())
	if err != nil {
		return nil, err
	}
	return &sandgatev1.GetConsistencyProofResponse{TreeSize: size, Hashes: hashesProto(proof)}, nil
}

func atLeast(c *checker, field string, n, low int64) {
	if n < low {
		c.bad(field, "is %d: want %d or more", n, low)
	}
}

func hashesProto(hashes []tlog.Hash) [][]byte {
	out := make([][]byte, 0, len(hashes))
	for _, h := range hashes {
		out = append(out, h[:])
	}
	return out
}

func recordProto(line *audit.Line) *sandgatev1.Record {
	r := &line.Record
	return &sandgatev1.Record{
		Sequence: r.Seq, Time: timestamppb.New(r.Time), Kind: string(r.Kind), CallId: validText(r.CallID),
		Caller: validText(r.Caller), SessionId: validText(r.Session), Json: string(line.JSON),
	}
}
