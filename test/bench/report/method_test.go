package report

import (
	"strings"
	"testing"
	"time"
)

func TestEachGroupTellsItsOwnPlan(t *testing.T) {
	r := goodRun()
	usual := &Plan{Reps: 5, Slices: 5, Slice: 360 * time.Millisecond, MaxOps: 2000}
	long := &Plan{Reps: 5, Slices: 1, Slice: 3 * time.Second, MaxOps: 2000}
	for i := range r.Cells {
		switch c := &r.Cells[i]; {
		case c.Group == GroupCommands || c.Group == GroupCells:
			if c.Plan = usual; c.Name == CellFull {
				c.Plan = &Plan{Reps: 5, Slices: 3, Slice: time.Hour, MaxOps: 24}
			}
		case c.Group == GroupNeighbours:
			c.Plan, c.Note, c.Counts = long, "it is held", map[string]int{"timed out": 2, "forks refused": 1234}
		case c.Name == CellOpenLoop || c.Name == CellOpenShape:
			for j := range c.Series[0].Reps {
				c.Series[0].Reps[j].Late = []time.Duration{1000}
			}
		}
	}
	var b strings.Builder
	if err := r.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for section := range strings.SplitSeq(b.String(), "\n## ") {
		name, text, _ := strings.Cut(section, "\n")
		sections[name] = text
	}
	for name, want := range map[string][]string{
		"Commands":  {"Measured in 5 repetitions of 5 slices of 360ms (or until an arm has done 2000 operations)."},
		"Clients":   {"Measured in: -, this run's data do not say it."},
		"New cells": {"single-use cell, pool full: 5 repetitions of 24 operations in 3 slices; single-use cell, pool dry with 2 clients, single-use cell, pool dry with 4 clients: 5 repetitions of 5 slices of 360ms"},
		"Beside abusers": {
			"Measured in 5 repetitions of one slice of 3s ",
			"a fork bomb: it is held; counted in all repetitions: forks refused 1234, timed out 2.",
		},
	} {
		for _, want := range want {
			if !strings.Contains(sections[name], want) {
				t.Errorf("%s: no %q in:\n%s", name, want, sections[name])
			}
		}
	}
	if strings.Contains(sections["Decisions"], "Measured in") {
		t.Errorf("decisions of an open loop have no slices:\n%s", sections["Decisions"])
	}
	const turns = "is the first changes from slice to slice and from repetition to repetition"
	if method := sections["Machine and method"]; strings.Contains(method, "360ms") || !strings.Contains(method, turns) {
		t.Errorf("the method tells one group's slices of all, or not who is first:\n%s", method)
	}
	b.Reset()
	if err := goodRun().Markdown(&b); err != nil || strings.Contains(b.String(), turns) {
		t.Errorf("of a run without plans, whose arms may have been in one order: %v\n%s", err, b.String())
	}
}
