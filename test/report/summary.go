package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
)

// runRecord is one run of go test in the record file, one JSON object a line.
type runRecord struct {
	Label   string   `json:"label"`
	Seconds float64  `json:"seconds"`
	Results []result `json:"results"`
}

func appendRecord(path string, run runRecord) error {
	line, err := json.Marshal(run)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // the path is a flag of ours
	if err != nil {
		return err
	}
	if _, err := file.Write(append(line, '\n')); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}

func readRecord(path string) ([]runRecord, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the path is a flag of ours
	if err != nil {
		return nil, err
	}
	var runs []runRecord
	for line := range bytes.Lines(data) {
		var run runRecord
		if err := json.Unmarshal(line, &run); err != nil {
			return nil, fmt.Errorf("record %s: %w", path, err)
		}
		runs = append(runs, run)
	}
	return runs, nil
}

// summary counts runs. A test that one run skipped and another one passed (a
// root test in the run without root, say) is not skipped.
type summary struct {
	runs    []runRecord
	failed  int
	failing []string
	skipped map[string][]string // by reason
}

func newSummary(runs []runRecord) *summary {
	s := &summary{runs: runs, skipped: map[string][]string{}}
	ran := map[string]bool{}
	for _, run := range runs {
		for _, r := range run.Results {
			if r.Action != "skip" {
				ran[r.name()] = true
			}
			if r.Action == "fail" {
				s.failed++
				s.failing = append(s.failing, run.Label+": "+r.name())
			}
		}
	}
	for _, run := range runs {
		for _, r := range run.Results {
			names := s.skipped[r.Reason]
			if r.Action == "skip" && !ran[r.name()] && !slices.Contains(names, r.name()) {
				s.skipped[r.Reason] = append(names, r.name())
			}
		}
	}
	return s
}

// name tells a result from all others.
func (r result) name() string {
	if r.Test == "" {
		return r.Package
	}
	return r.Package + "." + r.Test
}

func (s *summary) print(out io.Writer) {
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
	line("")
	for _, run := range s.runs {
		count := map[string]int{}
		for _, r := range run.Results {
			if r.Test != "" {
				count[r.Action]++
			}
		}
		line("%s: %d passed, %d failed, %d skipped in %.0f s", run.Label, count["pass"], count["fail"], count["skip"], run.Seconds)
	}
	never := 0
	for _, reason := range slices.Sorted(maps.Keys(s.skipped)) {
		names := s.skipped[reason]
		never += len(names)
		line("skipped: %s (%d)", reason, len(names))
		for _, name := range names {
			line("    %s", name)
		}
	}
	if never == 0 {
		line("skipped: nothing")
	}
	for _, name := range s.failing {
		line("FAILED %s", name)
	}
}
