package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sandgate/sandgate/internal/audit"
	"github.com/sandgate/sandgate/internal/journal"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

func newAuditCommand(c *client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Read, follow, export and verify the journal",
		Long: `The journal is the daemon's record of what was decided and what ran: lines of JSON
that are chained by their hashes and counted in a signed tree. Reading it needs an
administrator.

  sandgate audit query --caller unix:uid:1000 --since 24h --outcome DENIED
  sandgate audit tail
  sandgate audit export --form ocsf > events.jsonl
  sandgate audit key > journal.pub
  sandgate audit verify --key journal.pub`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAuditQueryCommand(c), newAuditTailCommand(c), newAuditShowCommand(c), newAuditExportCommand(c),
		newAuditVerifyCommand(c), newAuditKeyCommand(c))
	return cmd
}

// audit runs a function with a client of the daemon's AuditService.
func (c *client) audit(run func(sandgatev1.AuditServiceClient) error) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	return run(sandgatev1.NewAuditServiceClient(conn))
}

// auditFilter are the flags that say which records are wanted.
type auditFilter struct {
	req          sandgatev1.QueryRecordsRequest
	since, until string
}

func (f *auditFilter) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.req.Caller, "caller", "", "records of this caller")
	fl.StringVar(&f.req.SessionId, "session", "", "records of this session")
	fl.StringVar(&f.req.CallId, "call", "", "records of this call")
	fl.StringVar(&f.req.Tool, "tool", "", "records that name this tool")
	fl.StringVar(&f.req.Outcome, "outcome", "", "records with this outcome: "+strings.Join(audit.Outcomes(), ", "))
	fl.StringVar(&f.req.Kind, "kind", "", "records of this kind: "+strings.Join(audit.Kinds(), ", "))
	fl.StringVar(&f.since, "since", "", "not before this time (2026-01-31T15:04:05Z), or this long ago (24h)")
	fl.StringVar(&f.until, "until", "", "before this time, or this long ago")
}

// request is what the flags say.
func (f *auditFilter) request(now time.Time) (*sandgatev1.QueryRecordsRequest, error) {
	f.req.Outcome, f.req.Kind = strings.ToUpper(f.req.GetOutcome()), strings.ToLower(f.req.GetKind())
	for _, w := range []struct {
		flag, word string
		known      []string
	}{{"--outcome", f.req.GetOutcome(), audit.Outcomes()}, {"--kind", f.req.GetKind(), audit.Kinds()}} {
		if w.word != "" && !slices.Contains(w.known, w.word) {
			return nil, fmt.Errorf("%s %q is not known: want one of %s", w.flag, w.word, strings.Join(w.known, ", "))
		}
	}
	for _, b := range []struct {
		flag, text string
		to         **timestamppb.Timestamp
	}{{"--since", f.since, &f.req.StartTime}, {"--until", f.until, &f.req.EndTime}} {
		if b.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, b.text)
		if err != nil {
			ago, derr := time.ParseDuration(b.text)
			if derr != nil || ago < 0 {
				return nil, fmt.Errorf("%s %q: want a time as 2026-01-31T15:04:05Z or a duration as 24h", b.flag, b.text)
			}
			at = now.Add(-ago)
		}
		*b.to = timestamppb.New(at)
	}
	return &f.req, nil
}

// each gives the records that are asked for to fn, page by page, at most limit; 0: all.
func each(ctx context.Context, service sandgatev1.AuditServiceClient, req *sandgatev1.QueryRecordsRequest, limit int, fn func(*sandgatev1.Record) error) error {
	given := 0
	for {
		req.PageSize = audit.MaxPage
		if limit > 0 {
			req.PageSize = int32(min(audit.MaxPage, limit-given))
		}
		page, err := service.QueryRecords(ctx, req)
		if err != nil {
			return err
		}
		for _, r := range page.GetRecords() {
			if err := fn(r); err != nil {
				return err
			}
			given++
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" || limit > 0 && given >= limit {
			return nil
		}
	}
}

func newAuditQueryCommand(c *client) *cobra.Command {
	var f auditFilter
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "query",
		Short: "Find records by caller, session, call, tool, outcome, kind and time",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := f.request(time.Now())
			if err != nil {
				return err
			}
			out := newRecordPrinter(cmd.OutOrStdout(), asJSON)
			err = c.audit(func(service sandgatev1.AuditServiceClient) error {
				return each(cmd.Context(), service, req, limit, out.print)
			})
			if err := errors.Join(err, out.flush()); err != nil || out.printed {
				return err
			}
			_, err = fmt.Fprintln(cmd.ErrOrStderr(), "no record matches")
			return err
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&f.req.NewestFirst, "newest", false, "newest first")
	cmd.Flags().IntVarP(&limit, "limit", "n", 100, "most records to print; 0: all")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the lines of the journal")
	return cmd
}

func newAuditTailCommand(c *client) *cobra.Command {
	var from int64
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Follow the journal as it is written",
		Long: `Prints each record when it has come to the disk, until it is interrupted. With
--from it begins with that record, with the oldest that is kept where that is gone.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := newRecordFollower(cmd.OutOrStdout(), asJSON)
			err := c.audit(func(service sandgatev1.AuditServiceClient) error {
				stream, err := service.TailRecords(cmd.Context(), &sandgatev1.TailRecordsRequest{FromSequence: from})
				if err != nil {
					return err
				}
				for {
					got, err := stream.Recv()
					if errors.Is(err, io.EOF) || cmd.Context().Err() != nil {
						return nil
					}
					if err != nil {
						return err
					}
					if err := errors.Join(out.print(got.GetRecord()), out.flush()); err != nil {
						return err
					}
				}
			})
			return err
		},
	}
	cmd.Flags().Int64Var(&from, "from", 0, "first record (default: what is written from now on)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the lines of the journal")
	return cmd
}

// recordPrinter prints records as a table or as they are.
type recordPrinter struct {
	out     io.Writer
	table   *tabwriter.Writer // nil: lines of JSON
	row     string            // format of a line of the table
	headed  bool
	printed bool // something at all
}

func newRecordPrinter(out io.Writer, asJSON bool) *recordPrinter {
	p := &recordPrinter{out: out}
	if !asJSON {
		p.table, p.row = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0), "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n"
	}
	return p
}

// newRecordFollower prints each record at once, in columns that fit most: later ones
// cannot make earlier ones wider.
func newRecordFollower(out io.Writer, asJSON bool) *recordPrinter {
	p := newRecordPrinter(out, asJSON)
	p.row = "%-6d\t%-23s\t%-10s\t%-12s\t%-12s\t%-36s\t%-10s\t%s\n"
	return p
}

// eventOf is what a record that has no outcome says of what happened; empty: nothing.
func eventOf(r journal.Record) string {
	var data struct {
		Event string `json:"event"`
	}
	if json.Unmarshal(r.Data, &data) != nil {
		return ""
	}
	return data.Event
}

func (p *recordPrinter) print(r *sandgatev1.Record) error {
	p.printed = true
	if p.table == nil {
		_, err := fmt.Fprintln(p.out, r.GetJson())
		return err
	}
	if !p.headed {
		p.headed = true
		if _, err := fmt.Fprintf(p.table, strings.ReplaceAll(p.row, "d", "s"), "RECORD", "TIME", "KIND", "CALLER", "SESSION", "CALL", "TOOL", "OUTCOME"); err != nil {
			return err
		}
	}
	tool, outcome := "", ""
	if line, err := journal.Parse([]byte(r.GetJson())); err == nil {
		if tool, outcome = audit.Names(line); outcome == "" {
			outcome = eventOf(line)
		}
	}
	_, err := fmt.Fprintf(p.table, p.row, r.GetSequence(), r.GetTime().AsTime().Local().Format("2006-01-02 15:04:05.000"),
		r.GetKind(), cellText(r.GetCaller()), cellText(r.GetSessionId()), cellText(r.GetCallId()), cellText(tool), cellText(outcome))
	return err
}

// flush prints what is left of the table.
func (p *recordPrinter) flush() error {
	if p.table == nil {
		return nil
	}
	return p.table.Flush()
}

// cellText is a cell of a table that must not be empty, without what could disturb it.
func cellText(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

func newAuditShowCommand(c *client) *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "show RECORD",
		Short: "Print one record, and prove that it is in the journal",
		Long: `Prints a record, checks its hash, and checks the proof that it is in the tree of the
newest checkpoint. Without --key the daemon is believed about its key. The exit
code is 3 when the record is not proven.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			seq, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || seq < 1 {
				return fmt.Errorf("record %q: want a number from 1 on", args[0])
			}
			return c.audit(func(service sandgatev1.AuditServiceClient) error {
				ctx, cancel := context.WithCancelCause(cmd.Context())
				defer cancel(nil)
				stream, err := service.TailRecords(ctx, &sandgatev1.TailRecordsRequest{FromSequence: seq})
				if err != nil {
					return err
				}
				got, err := stream.Recv()
				if err != nil {
					return err
				}
				r := got.GetRecord()
				if r.GetSequence() != seq {
					return fmt.Errorf("record %d was removed: the oldest that is kept is %d", seq, r.GetSequence())
				}
				return showRecord(cmd, service, r, key)
			})
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "public key of the journal, or a file with it")
	return cmd
}

func newAuditExportCommand(c *client) *cobra.Command {
	var f auditFilter
	var form, dir string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print records for collectors: JSON lines, OCSF or OpenTelemetry",
		Long: `Prints records, oldest first, one to a line. Forms are jsonl, the lines of the journal
as they are; ocsf, events of the Open Cybersecurity Schema Framework; otel, log
records as the OTLP file exporter of OpenTelemetry writes them.

With --dir it reads a journal's directory without a daemon, all of it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			write := func(line audit.Line) error {
				raw, err := audit.Encode(audit.Form(form), line, cmd.Root().Version)
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(append(raw, '\n'))
				return err
			}
			if _, err := audit.Encode(audit.Form(form), audit.Line{}, ""); err != nil {
				return fmt.Errorf("--form: %w", err)
			}
			if dir != "" {
				return journal.Read(dir, func(rec journal.Record, line []byte) error { return write(audit.Line{Record: rec, JSON: line}) })
			}
			req, err := f.request(time.Now())
			if err != nil {
				return err
			}
			return c.audit(func(service sandgatev1.AuditServiceClient) error {
				return each(cmd.Context(), service, req, 0, func(r *sandgatev1.Record) error {
					rec, err := journal.Parse([]byte(r.GetJson()))
					if err != nil {
						return err
					}
					return write(audit.Line{Record: rec, JSON: []byte(r.GetJson())})
				})
			})
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&form, "form", "jsonl", "jsonl, ocsf or otel")
	cmd.Flags().StringVar(&dir, "dir", "", "directory of a journal, to be read without a daemon")
	for _, flag := range []string{"caller", "session", "call", "tool", "outcome", "kind", "since", "until"} {
		cmd.MarkFlagsMutuallyExclusive("dir", flag)
	}
	return cmd
}

func newAuditKeyCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use:   "key",
		Short: "Print the public key that checkpoints are signed with",
		Long: `Prints the public key that the daemon signs checkpoints with. Keep it where the
daemon's machine cannot change it, and give it to verify --key.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.audit(func(service sandgatev1.AuditServiceClient) error {
				got, err := service.GetCheckpoint(cmd.Context(), &sandgatev1.GetCheckpointRequest{})
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), got.GetPublicKey())
				return err
			})
		},
	}
}

// keyOf reads a public key that is given itself or as a file.
func keyOf(given string) (string, error) {
	if given == "" {
		return "", nil
	}
	key := given
	if strings.Count(given, "+") < 2 {
		raw, err := os.ReadFile(given) // #nosec G304 -- the user names it
		if err != nil {
			return "", fmt.Errorf("--key: %w", err)
		}
		key = strings.TrimSpace(string(raw))
	}
	// A bad key is not to look like a bad journal.
	if _, err := note.NewVerifier(key); err != nil {
		return "", fmt.Errorf("--key: %w: want a line as `sandgate audit key` prints it, or a file with it", err)
	}
	return key, nil
}
