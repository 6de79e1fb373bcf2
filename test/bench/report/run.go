// Package report keeps what a run of the benchmark found and writes it: raw data
// as JSON, tables and the state of the targets as Markdown, and two runs side by
// side. test/bench calls it. Every figure in its output is computed from the run
// that it is given: it must never hold a measured figure of its own.
package report

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/sandgate/sandgate/test/bench/measure"
)

// Schema marks the format of the JSON file.
const Schema = "sandgate-bench/v1"

// Groups of cells, in the order in which they are shown.
const (
	GroupCommands   = "commands"
	GroupFloors     = "floors"
	GroupClients    = "clients"
	GroupReuse      = "reuse"
	GroupIsolation  = "isolation"
	GroupCells      = "cells"
	GroupDecide     = "decide"
	GroupRules      = "rules"
	GroupSessions   = "sessions"
	GroupIdle       = "idle"
	GroupNeighbours = "neighbours"
	GroupPeers      = "peers"
)

// Names of arms and cells that tables and targets look for.
const (
	ArmFloor   = "fork+exec"
	ArmSameEnv = "fork+exec with the cell's environment"
	ArmMemory  = "sandgate, its journal in memory"
	// The parts of a call one after the other and nothing else, whole and without some.
	ArmLeast          = "least daemon"
	ArmLeastNoJournal = "least daemon without a journal"
	ArmLeastNoGRPC    = "least daemon without gRPC"
	ArmLeastNeither   = "least daemon without both"
	ArmSandgate       = "sandgate"
	ArmIdle           = "sandgate, nothing beside it"
	ArmLibrary        = "default library"
	ArmWalls          = "walls alone"
	ArmRecords        = "two records alone"
	ArmEmpty          = "empty call alone"
	ArmDecision       = "decision alone"
	ArmPlain          = "fork+exec in a plain container"
	ArmTraced         = "sandgate, asked for its timeline"

	CellTrue         = "true"
	CellBash         = "bash -c true"
	CellFull         = "single-use cell, pool full"
	CellDry          = "single-use cell, pool dry"
	CellCold         = "cold cell"
	CellOpenLoop     = "Evaluate, open loop"
	NewShape         = "and a shape that was never asked about"
	CellOpenShape    = CellOpenLoop + ", " + NewShape
	CellOpenSame     = "Evaluate, open loop, the same call again"
	CellOpenEmpty    = "empty RPC (health check), open loop"
	CellClosedLoop   = "Evaluate, closed loop"
	CellToolRules    = "more rules, each for a tool"
	CellCommandRules = "more rules, each for a command"
	// No index finds these: each is evaluated for every call.
	CellArgumentRules = "more rules, each looking into the arguments"
	CellSessions      = "idle sessions"
	CellOpening       = "first call of one more session"
)

// Cold is the name of the arm in which a part is done each time after a fork+exec of
// the command, which is not timed.
func Cold(arm string) string { return arm + ", after a fork+exec" }

// Stages that lie between client and daemon: from a time that the one has read off
// the clock of this machine to one that the other has.
const (
	StageThere = "request on its way (client, kernel, gRPC)"
	StageBack  = "reply on its way (gRPC, kernel, client)"
)

// Run is everything that one run of the benchmark found.
type Run struct {
	Schema   string    `json:"schema"`
	Mode     string    `json:"mode"` // "full" or "quick"
	Began    time.Time `json:"began"`
	Ended    time.Time `json:"ended"`
	Machine  Machine   `json:"machine"`
	Versions []Version `json:"versions"`
	Method   Method    `json:"method"`
	Cells    []Cell    `json:"cells"`
	Memory   []Memory  `json:"memory"`
	Stages   []Stages  `json:"stages"`
	Peers    []Peer    `json:"peers"`
	Skipped  []Note    `json:"skipped"` // not there to be measured
	Failed   []Note    `json:"failed"`  // tried, and went wrong
}

// Machine is where the run was made.
type Machine struct {
	CPU           string `json:"cpu"`
	Cores         int    `json:"cores"`
	MemoryBytes   int64  `json:"memory_bytes"`
	Kernel        string `json:"kernel"`
	CgroupVersion int    `json:"cgroup_version"`
	DataFS        string `json:"data_fs"`     // file system of the journal
	LoadBefore    string `json:"load_before"` // /proc/loadavg
	LoadAfter     string `json:"load_after"`
}

// Version is the version of one program.
type Version struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Method is how long was measured.
type Method struct {
	Reps      int           `json:"reps"`
	Slices    int           `json:"slices"`
	Slice     time.Duration `json:"slice_ns"`
	MaxOps    int           `json:"max_ops"`
	OpenRate  float64       `json:"open_rate"`
	OpenLasts time.Duration `json:"open_lasts_ns"`
}

// Cell is one cell of the matrix: arms that ran side by side.
type Cell struct {
	Group string `json:"group"`
	// Name says what was done; with Clients and Amount it is unique in its group.
	Name string `json:"name"`
	// Amount is what varies between cells of one name: sessions, rules. 0: nothing.
	Amount int `json:"amount,omitempty"`
	// Base names the series that the others are divided by. Empty: none.
	Base   string           `json:"base,omitempty"`
	Series []measure.Series `json:"series"`
	// Plan is how long its arms were measured. Nil in files of older runs.
	Plan *Plan `json:"plan,omitempty"`
	// Counts are counted things that belong to the figures and are none of time, by
	// what was counted, such as an abuser's calls by their outcome. Optional.
	Counts map[string]int `json:"counts,omitempty"`
	// Note is what else a reader has to know of these figures. Optional.
	Note string `json:"note,omitempty"`
}

// Plan is how long the arms of a cell were measured.
type Plan struct {
	Reps   int           `json:"reps"`
	Slices int           `json:"slices"` // of one repetition; arms take turns in each
	Slice  time.Duration `json:"slice_ns"`
	MaxOps int           `json:"max_ops"` // of one arm in one repetition; ends its slices early
}

// Memory is the resident memory of something.
type Memory struct {
	Name   string `json:"name"`   // "idle cell", "daemon"
	Amount int    `json:"amount"` // cells, sessions
	// Parts sum up to Bytes.
	Parts []Part `json:"parts,omitempty"`
	Bytes int64  `json:"bytes"`
	How   string `json:"how"` // what kind of bytes
	// After is how long nothing was called before. 0: not waited, or not known.
	After time.Duration `json:"after_ns,omitempty"`
}

// Part is a part of a Memory.
type Part struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// Stages tells where the time of a call went.
type Stages struct {
	Name   string `json:"name"`   // what was called
	Source string `json:"source"` // where the stages were read
	Calls  int    `json:"calls"`
	// Floors says that they belong to the cell of GroupFloors.
	Floors bool `json:"floors,omitempty"`
	// Seen is what the client waited, the median or mean as Source says.
	Seen time.Duration `json:"seen_ns"`
	// Stages are in the order of a call's way.
	Stages []Stage `json:"stages"`
	// Explained is the part of Seen that the stages account for, 0 to 1.
	Explained float64 `json:"explained"`
	// Band says that Stages are means over the calls around the median, so that they add
	// up to what such a call takes; Seen is the median of all calls. Nil: they are what
	// Source says.
	Band *Band `json:"band,omitempty"`
}

// Band is the calls whose whole time lies between two percentiles of all.
type Band struct {
	Low   float64 `json:"low"` // percentile
	High  float64 `json:"high"`
	Calls int     `json:"calls"`
}

// Stage is one stage of a call.
type Stage struct {
	Name string        `json:"name"`
	Took time.Duration `json:"took_ns"`
	// Rest says that this was measured as no stage: it is what others leave.
	Rest bool `json:"rest,omitempty"`
}

// Sums adds up the stages: those that were measured, and the rest.
func (t *Stages) Sums() (told, rest time.Duration) {
	for _, s := range t.Stages {
		if s.Rest {
			rest += s.Took
		} else {
			told += s.Took
		}
	}
	return told, rest
}

// Peer tells what stands around a peer's command.
type Peer struct {
	Name string `json:"name"`
	Wall string `json:"wall"`
}

// Note says why something has no figures.
type Note struct {
	What   string `json:"what"`
	Reason string `json:"reason"`
}

// Find returns the cell; nil when the run has none.
func (r *Run) Find(group, name string, clients, amount int) *Cell {
	for i := range r.Cells {
		c := &r.Cells[i]
		if c.Group == group && c.Name == name && c.Amount == amount && c.Clients() == clients {
			return c
		}
	}
	return nil
}

// Clients is how many clients the cell's arms had.
func (c *Cell) Clients() int {
	if len(c.Series) == 0 {
		return 0
	}
	return c.Series[0].Clients
}

// Arm returns the series of that name; nil when the cell is nil or has none.
func (c *Cell) Arm(name string) *measure.Series {
	if c == nil {
		return nil
	}
	for i := range c.Series {
		if c.Series[i].Name == name {
			return &c.Series[i]
		}
	}
	return nil
}

// Write writes the run as JSON to a file.
func (r *Run) Write(path string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encode the raw data: %w", err)
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil { //nolint:gosec // a report for everybody
		return fmt.Errorf("write the raw data: %w", err)
	}
	return nil
}

// Read reads what Write wrote.
func Read(path string) (*Run, error) {
	data, err := os.ReadFile(path) //nolint:gosec // named by the developer who runs it
	if err != nil {
		return nil, fmt.Errorf("read a run: %w", err)
	}
	var r Run
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("%s has the schema %q: want %q, a file that the benchmark wrote", path, r.Schema, Schema)
	}
	return &r, nil
}
