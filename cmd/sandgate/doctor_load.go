package main

import (
	"fmt"
	"strings"
	"time"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// load is how busy the daemon is.
type load struct {
	Cells    []cells `json:"cells"`
	Calls    line    `json:"calls"`
	Journal  record  `json:"journal"`
	Sessions int64   `json:"sessions"`
}

// cells are those of one image and isolation.
type cells struct {
	Image     string `json:"image"`
	Isolation string `json:"isolation"`
	Fresh     int32  `json:"fresh"`
	Kept      int32  `json:"kept"`
	Busy      int32  `json:"busy"`
	Making    int32  `json:"making"`
	Waiting   int32  `json:"waiting_calls"`
	Claims    int64  `json:"claims"`
	Dry       int64  `json:"dry"`
	Failed    int64  `json:"failed"`
}

// line are the calls that run and wait.
type line struct {
	Running        int32   `json:"running"`
	MaxRunning     int32   `json:"max_running"`
	Waiting        int32   `json:"waiting"`
	WaitingCallers int32   `json:"waiting_callers"`
	CPUMillis      int64   `json:"cpu_millis"`
	MaxCPUMillis   int64   `json:"max_cpu_millis"`
	MemoryBytes    int64   `json:"memory_bytes"`
	MaxMemoryBytes int64   `json:"max_memory_bytes"`
	ExpectedWaitMs float64 `json:"expected_wait_ms"`
	Refused        int64   `json:"refused"`
	Expired        int64   `json:"expired"`
}

// record is the journal.
type record struct {
	SizeBytes int64 `json:"size_bytes"`
	Records   int64 `json:"records"`
	Failing   bool  `json:"failing"`
	Full      bool  `json:"full"`
}

func loadOf(r *sandgatev1.GetLoadResponse) *load {
	a, j := r.GetAdmission(), r.GetJournal()
	out := &load{
		Calls: line{
			Running: a.GetRunning(), MaxRunning: a.GetMaxRunning(), Waiting: a.GetWaiting(), WaitingCallers: a.GetWaitingCallers(),
			CPUMillis: a.GetCpuMillis(), MaxCPUMillis: a.GetMaxCpuMillis(), MemoryBytes: a.GetMemoryBytes(), MaxMemoryBytes: a.GetMaxMemoryBytes(),
			ExpectedWaitMs: float64(a.GetExpectedWait().AsDuration()) / float64(time.Millisecond), Refused: a.GetRefused(), Expired: a.GetExpired(),
		},
		Journal: record{SizeBytes: j.GetSizeBytes(), Records: j.GetRecords(), Failing: j.GetFailing(), Full: j.GetFull()}, Sessions: r.GetSessions(),
	}
	for _, p := range r.GetPools() {
		out.Cells = append(out.Cells, cells{
			Image: p.GetImage(), Isolation: p.GetIsolation(), Fresh: p.GetFresh(), Kept: p.GetKept(), Busy: p.GetBusy(), Making: p.GetMaking(),
			Waiting: p.GetWaiting(), Claims: p.GetClaims(), Dry: p.GetDry(), Failed: p.GetFailed(),
		})
	}
	return out
}

func (l *load) print(b *strings.Builder, p palette) {
	fmt.Fprintf(b, "calls:   %d of %d run, %d wait; cpu %.1f of %.1f cores, memory %d of %d MiB given out\n",
		l.Calls.Running, l.Calls.MaxRunning, l.Calls.Waiting, float64(l.Calls.CPUMillis)/1000, float64(l.Calls.MaxCPUMillis)/1000,
		l.Calls.MemoryBytes>>20, l.Calls.MaxMemoryBytes>>20)
	for _, c := range l.Cells {
		fmt.Fprintf(b, "cells:   %s, %s: %d fresh, %d kept, %d busy, %d being made; %d of %d calls had to wait for one\n",
			c.Image, c.Isolation, c.Fresh, c.Kept, c.Busy, c.Making, c.Dry, c.Claims)
	}
	state := ""
	switch {
	case l.Journal.Full:
		state = ", " + p.red("its disk is full: no call runs until there is room")
	case l.Journal.Failing:
		state = ", " + p.red("cannot be written: no call runs; the daemon's log tells why")
	}
	fmt.Fprintf(b, "journal: %d KiB, %d records since the start%s\n", l.Journal.SizeBytes>>10, l.Journal.Records, state)
}
