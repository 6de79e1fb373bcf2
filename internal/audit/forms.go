package audit

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/journal"
)

// Form is a form in which records are given to others.
type Form string

// The forms of records, one line of JSON each.
const (
	// JSONLines are the lines of the journal, byte for byte: with them alone hashes and
	// chain can still be checked.
	JSONLines Form = "jsonl"
	// OCSF are events of the Open Cybersecurity Schema Framework: intents and outcomes as
	// Process Activity (launch, terminate), the daemon's start and stop as Application
	// Lifecycle, all else as API Activity. raw_data is the line of the journal.
	OCSF Form = "ocsf"
	// OTel are log records of OpenTelemetry as the OTLP file exporter writes them.
	OTel Form = "otel"
)

// Encode gives a record that form. version is sandgate's.
func Encode(form Form, line Line, version string) ([]byte, error) {
	var v any
	switch form {
	case JSONLines:
		return line.JSON, nil
	case OCSF:
		v = ocsfOf(line, version)
	case OTel:
		v = otelOf(line, version)
	default:
		return nil, fmt.Errorf("form %q: want jsonl, ocsf or otel: %w", form, errdefs.ErrInvalidArgument)
	}
	out, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode record %d: %w", line.Record.Seq, err)
	}
	return out, nil
}

// details are what the forms show of the data of a call's record. Records of other
// kinds leave it empty.
type details struct {
	Outcome  string          `json:"outcome"`
	Tool     string          `json:"tool"`
	Profile  string          `json:"profile"`
	Digest   string          `json:"digest"`
	Message  string          `json:"message"`
	Args     json.RawMessage `json:"args"`
	ExitCode *int            `json:"exit_code"`
	IsError  bool            `json:"is_error"`
	RunMs    float64         `json:"run_ms"`
	Agent    struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	} `json:"agent"`
	Peer struct {
		Transport string `json:"transport"`
	} `json:"peer"`
	Cage struct {
		SandboxID string `json:"sandbox_id"`
		Image     string `json:"image"`
	} `json:"cage"`
	Decision struct {
		ID       string `json:"id"`
		Outcome  string `json:"outcome"`
		Revision string `json:"revision"`
		Reasons  []struct {
			Rule    string `json:"rule"`
			Message string `json:"message"`
		} `json:"reasons"`
	} `json:"decision"`
	Revision string `json:"revision"` // of a policy record
	Error    string `json:"error"`
}

func detailsOf(r *journal.Record) details {
	var d details
	_ = json.Unmarshal(r.Data, &d) // what has another shape stays empty: raw_data has it
	return d
}

// command is the command line of a shell's call; empty for other tools.
func (d *details) command() string {
	var args struct {
		Command string `json:"command"`
	}
	_ = json.Unmarshal(d.Args, &args) // most tools have none
	return args.Command
}

func (d *details) rules() []string {
	out := make([]string, 0, len(d.Decision.Reasons))
	for _, r := range d.Decision.Reasons {
		out = append(out, r.Rule)
	}
	return out
}

// failed reports whether a record tells of something that was refused or went wrong.
func failed(r *journal.Record, d *details) bool {
	return r.Kind == journal.KindDecision || d.IsError || d.Error != "" || r.Kind == journal.KindRecovery
}

// Classes and activities of OCSF that are used: category*1000+class, and within it.
const (
	ocsfVersion   = "1.6.0"
	ocsfProcess   = 1007
	ocsfLifecycle = 6002
	ocsfAPI       = 6003
	ocsfLaunch    = 1 // of ocsfProcess
	ocsfTerminate = 2
	ocsfStart     = 3 // of ocsfLifecycle
	ocsfStop      = 4
	ocsfOther     = 99
)

// object is a JSON object.
type object map[string]any

func ocsfOf(line Line, version string) object {
	r := &line.Record
	d := detailsOf(r)
	product := object{"name": "sandgate", "vendor_name": "sandgate", "version": version}
	e := object{
		"time": r.Time.UnixMilli(), "severity_id": 1, "severity": "Informational", "status_id": 1, "status": "Success",
		"metadata": object{
			"version": ocsfVersion, "product": product, "log_name": "journal", "event_code": string(r.Kind),
			"uid": r.Hash, "sequence": r.Seq, "original_time": r.Time.Format(time.RFC3339Nano),
		},
		"raw_data": string(line.JSON),
	}
	if failed(r, &d) {
		e["severity_id"], e["severity"], e["status_id"], e["status"] = 2, "Low", 2, "Failure"
	}
	set(e, "status_code", d.Outcome)
	set(e, "message", d.Message)
	if len(d.Decision.Reasons) > 0 {
		e["status_detail"] = d.Decision.Reasons[0].Message
	}
	actor := object{}
	if r.Caller != "" {
		actor["user"] = object{"uid": r.Caller, "name": r.Caller}
	}
	if r.Session != "" {
		actor["session"] = object{"uid": r.Session}
	}
	set(actor, "app_name", d.Agent.Name)
	if len(actor) == 0 {
		actor["app_name"] = "sandgate"
	}
	switch r.Kind { //nolint:exhaustive // the others are calls of the API
	case journal.KindIntent:
		e.process(r, &d, actor, ocsfLaunch, "Launch")
	case journal.KindOutcome:
		e.process(r, &d, actor, ocsfTerminate, "Terminate")
	case journal.KindStart, journal.KindStop:
		e.class(6, "Application Activity", ocsfLifecycle, "Application Lifecycle")
		e["app"] = product
		if r.Kind == journal.KindStart {
			e.activity(ocsfLifecycle, ocsfStart, "Start")
		} else {
			e.activity(ocsfLifecycle, ocsfStop, "Stop")
		}
	default:
		e.class(6, "Application Activity", ocsfAPI, "API Activity")
		e.activity(ocsfAPI, ocsfOther, string(r.Kind))
		e["actor"] = actor
		api := object{"operation": first(d.Tool, string(r.Kind)), "service": object{"name": "sandgate"}}
		if r.CallID != "" {
			api["request"] = object{"uid": r.CallID}
		}
		e["api"] = api
		e["src_endpoint"] = object{"name": first(d.Peer.Transport, "sandgate")}
	}
	return e
}

func (o object) class(category int, categoryName string, class int, className string) {
	o["category_uid"], o["category_name"], o["class_uid"], o["class_name"] = category, categoryName, class, className
}

func (o object) activity(class, activity int, name string) {
	o["activity_id"], o["activity_name"], o["type_uid"] = activity, name, class*100+activity
}

func (o object) process(r *journal.Record, d *details, actor object, activity int, name string) {
	o.class(1, "System Activity", ocsfProcess, "Process Activity")
	o.activity(ocsfProcess, activity, name)
	process := object{"uid": r.CallID}
	set(process, "name", d.Tool)
	set(process, "cmd_line", d.command())
	device := object{"type_id": ocsfOther, "type": "sandbox"}
	set(device, "uid", d.Cage.SandboxID)
	set(device, "name", d.Cage.Image)
	o["actor"], o["process"], o["device"] = actor, process, device
	if d.ExitCode != nil {
		o["exit_code"] = *d.ExitCode
	}
	if d.RunMs > 0 {
		o["duration"] = int64(d.RunMs)
	}
}

func set(o object, key, text string) {
	if text != "" {
		o[key] = text
	}
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// The shape of OTLP's ExportLogsServiceRequest in JSON.
type (
	otelLogs struct {
		ResourceLogs []otelResource `json:"resourceLogs"`
	}
	otelResource struct {
		Resource  otelAttributes `json:"resource"`
		ScopeLogs []otelScope    `json:"scopeLogs"`
	}
	otelAttributes struct {
		Attributes []otelAttribute `json:"attributes"`
	}
	otelScope struct {
		Scope      otelName     `json:"scope"`
		LogRecords []otelRecord `json:"logRecords"`
	}
	otelName struct {
		Name    string `json:"name"`
		Version string `json:"version,omitempty"`
	}
	otelRecord struct {
		TimeUnixNano         string          `json:"timeUnixNano"`
		ObservedTimeUnixNano string          `json:"observedTimeUnixNano"`
		SeverityNumber       int             `json:"severityNumber"`
		SeverityText         string          `json:"severityText"`
		EventName            string          `json:"eventName"`
		Body                 otelValue       `json:"body"`
		Attributes           []otelAttribute `json:"attributes"`
	}
	otelAttribute struct {
		Key   string    `json:"key"`
		Value otelValue `json:"value"`
	}
	otelValue struct {
		String *string `json:"stringValue,omitempty"`
		Int    *string `json:"intValue,omitempty"`
	}
)

// Severities of OpenTelemetry.
const (
	otelInfo = 9
	otelWarn = 13
)

func otelOf(line Line, version string) otelLogs {
	r := &line.Record
	d := detailsOf(r)
	at := strconv.FormatInt(r.Time.UnixNano(), 10)
	rec := otelRecord{
		TimeUnixNano: at, ObservedTimeUnixNano: at, SeverityNumber: otelInfo, SeverityText: "INFO",
		EventName: "sandgate." + string(r.Kind), Body: otelText(string(line.JSON)),
	}
	if failed(r, &d) {
		rec.SeverityNumber, rec.SeverityText = otelWarn, "WARN"
	}
	add := func(key, text string) {
		if text != "" {
			rec.Attributes = append(rec.Attributes, otelAttribute{key, otelText(text)})
		}
	}
	number := func(key string, n int64) {
		text := strconv.FormatInt(n, 10)
		rec.Attributes = append(rec.Attributes, otelAttribute{key, otelValue{Int: &text}})
	}
	number("sandgate.seq", r.Seq)
	add("sandgate.hash", r.Hash)
	add("user.id", r.Caller)
	add("session.id", r.Session)
	add("gen_ai.tool.call.id", r.CallID)
	add("gen_ai.tool.name", d.Tool)
	add("gen_ai.agent.name", d.Agent.Name)
	add("sandgate.outcome", d.Outcome)
	add("sandgate.decision", d.Decision.Outcome)
	add("sandgate.profile", d.Profile)
	add("sandgate.policy.revision", first(d.Decision.Revision, d.Revision))
	for _, rule := range d.rules() {
		add("sandgate.rule", rule)
		break // keys are unique; the body has all
	}
	if d.ExitCode != nil {
		number("process.exit.code", int64(*d.ExitCode))
	}
	return otelLogs{[]otelResource{{
		Resource:  otelAttributes{[]otelAttribute{{"service.name", otelText("sandgate")}, {"service.version", otelText(version)}}},
		ScopeLogs: []otelScope{{Scope: otelName{Name: "sandgate.journal"}, LogRecords: []otelRecord{rec}}},
	}}}
}

func otelText(s string) otelValue { return otelValue{String: &s} }
