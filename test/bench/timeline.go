package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/sandgate/sandgate/internal/telemetry"
	"github.com/sandgate/sandgate/test/bench/measure"
	"github.com/sandgate/sandgate/test/bench/report"
)

// timelineKey is how a host asks for the timeline of its call, and gets it.
const timelineKey = "x-sandgate-timeline"

// Stages that lie between client and daemon: from a time that the one has read off
// the clock of this machine to one that the other has.
const (
	wayThere = report.StageThere
	wayBack  = report.StageBack
)

// traced is a call with all that is known of its way.
type traced struct {
	seen   time.Duration
	stages []report.Stage
}

// timelines makes calls that ask for their timeline.
func (b *bench) timelines(t *target, j job) error {
	var calls []traced
	p := b.size.plan
	p.Clients = 1
	if _, err := measure.Closed(b.ctx, p, t.tracedArm(j, "timeline", &calls)); err != nil {
		return err
	}
	b.out.Stages = append(b.out.Stages, stagesOfTimelines(j.name, calls))
	return nil
}

// tracedArm is the job through the daemon by one client who asks for the timeline
// of each call; they are added to calls.
func (t *target) tracedArm(j job, session string, calls *[]traced) measure.Arm {
	arm := t.arm(j, session)
	arm.Name = report.ArmTraced
	arm.Op = func(ctx context.Context, client int) error {
		var trailer metadata.MD
		ctx = metadata.AppendToOutgoingContext(ctx, timelineKey, "1")
		began := time.Now()
		resp, err := t.clients[client].Execute(ctx, j.request(session, client), grpc.Trailer(&trailer))
		ended := time.Now()
		if err == nil {
			err = endedWell(resp.GetResult())
		}
		if err != nil {
			return err
		}
		call, err := parseTimeline(strings.Join(trailer.Get(timelineKey), ""), began, ended)
		*calls = append(*calls, call)
		return err
	}
	return arm
}

// parseTimeline reads what the daemon told of a call and puts the client's times
// around it.
func parseTimeline(text string, began, ended time.Time) (traced, error) {
	out := traced{seen: ended.Sub(began)}
	at := map[string]int64{}
	add := func(name string, nanos int64) {
		out.stages = append(out.stages, report.Stage{Name: name, Took: time.Duration(nanos)})
	}
	for pair := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(pair, "=")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return out, fmt.Errorf("timeline %q: %w", text, err)
		}
		switch at[name] = n; name {
		case "received":
			add(wayThere, n-began.UnixNano())
		case "came":
			add("receive", n-at["received"])
		case "left":
			add(wayBack, ended.UnixNano()-n)
		default:
			add(name, n)
		}
	}
	if at["received"] == 0 || at["left"] == 0 {
		return out, fmt.Errorf("timeline %q lacks the times of receiving and leaving", text)
	}
	return out, nil
}

// The calls around the median are those between these percentiles of all.
const bandLow, bandHigh = 40, 60

// notTold is the row of what lies between the stages of a timeline.
const notTold = "of no stage"

// stagesOfTimelines are the means over the calls around the median, whose sum is what
// such a call took. The daemon's and the client's clock are the same.
func stagesOfTimelines(name string, calls []traced) report.Stages {
	seen := make(measure.Latencies, len(calls))
	for i, c := range calls {
		seen[i] = c.seen
	}
	low, high := seen.Percentile(bandLow), seen.Percentile(bandHigh)
	var (
		order []string
		took  = map[string]time.Duration{}
		rest  time.Duration
		band  = &report.Band{Low: bandLow, High: bandHigh}
	)
	for _, c := range calls {
		if c.seen < low || c.seen > high {
			continue
		}
		band.Calls++
		rest += c.seen
		for _, s := range c.stages {
			if _, ok := took[s.Name]; !ok {
				order = append(order, s.Name)
			}
			took[s.Name] += s.Took
			rest -= s.Took
		}
	}
	out := report.Stages{
		Name: name, Calls: len(calls), Band: band, Seen: seen.Percentile(50),
		Source: "from the timelines of single calls, by the clocks of client and daemon",
	}
	each := time.Duration(max(band.Calls, 1))
	for _, stage := range order {
		out.Stages = append(out.Stages, report.Stage{Name: stage, Took: took[stage] / each, Rest: isRest(stage)})
	}
	out.Stages = append(out.Stages, report.Stage{Name: notTold, Took: rest / each, Rest: true})
	told, _ := out.Sums()
	out.Explained = float64(told) / float64(max(out.Seen, 1))
	return out
}

// isRest tells whether a stage of the daemon is what its sandbox told no stage for.
func isRest(stage string) bool { return stage == telemetry.Sandbox.String() }
