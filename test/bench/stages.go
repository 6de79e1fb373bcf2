package main

import (
	"context"
	"slices"
	"time"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/test/bench/measure"
	"github.com/sandgate/sandgate/test/bench/report"
)

// stages makes calls of the targets' command and tells where their time went, as
// the daemon says in each result and as its metrics say of all of them.
func (b *bench) stages(t *target) error {
	j := bashJob()
	before, metricsErr := t.stageSums(b.ctx)
	var (
		seen      []time.Duration
		durations []*sandgatev1.Durations
	)
	arm := t.arm(j, "stages")
	arm.Op = func(ctx context.Context, client int) error {
		began := time.Now()
		res, err := t.execute(ctx, client, j.request("stages", client))
		seen, durations = append(seen, time.Since(began)), append(durations, res.GetDuration())
		return err
	}
	p := b.size.plan
	p.Clients = 1
	if _, err := measure.Closed(b.ctx, p, arm); err != nil {
		return err
	}
	b.out.Stages = append(b.out.Stages, stagesOfResults(j.name, seen, durations))
	if metricsErr != nil {
		b.skipped("stages by the daemon's metrics", metricsErr)
		return b.timelines(t, j)
	}
	after, err := t.stageSums(b.ctx)
	if err != nil {
		return err
	}
	b.out.Stages = append(b.out.Stages, stagesOfMetrics(j.name, seen, before, after))
	return b.timelines(t, j)
}

// stagesOfResults are the medians of what each result says of its own call. The
// part explained is computed for each call before its median is taken.
func stagesOfResults(name string, seen []time.Duration, durations []*sandgatev1.Durations) report.Stages {
	out := report.Stages{Name: name, Source: "medians of what each result says of its call, each stage by itself, so they need not add up; explained: the median of what the stages of a call are of it", Calls: len(seen)}
	columns := []struct {
		name string
		of   func(*sandgatev1.Durations) time.Duration
	}{
		{"decide", func(d *sandgatev1.Durations) time.Duration { return d.GetDecide().AsDuration() }},
		{"queue", func(d *sandgatev1.Durations) time.Duration { return d.GetQueue().AsDuration() }},
		{"start", func(d *sandgatev1.Durations) time.Duration { return d.GetStart().AsDuration() }},
		{"run", func(d *sandgatev1.Durations) time.Duration { return d.GetRun().AsDuration() }},
	}
	told := make([]time.Duration, len(seen)) // by the stages of each call
	inDaemon := make([]time.Duration, len(seen))
	for _, column := range columns {
		values := make(measure.Latencies, len(seen))
		for i, d := range durations {
			values[i] = column.of(d)
			told[i] += values[i]
		}
		out.Stages = append(out.Stages, report.Stage{Name: column.name, Took: values.Percentile(50)})
	}
	rest, outside := make(measure.Latencies, len(seen)), make(measure.Latencies, len(seen))
	shares := make([]float64, len(seen))
	for i, d := range durations {
		inDaemon[i] = d.GetTotal().AsDuration()
		rest[i], outside[i] = inDaemon[i]-told[i], seen[i]-inDaemon[i]
		shares[i] = float64(told[i]) / float64(max(seen[i], 1))
	}
	out.Seen = measure.Latencies(seen).Percentile(50)
	out.Stages = append(
		out.Stages,
		report.Stage{Name: "not told: in the gate beside these (validate, facts, record)", Took: rest.Percentile(50), Rest: true},
		report.Stage{Name: "not told: outside of the gate (gRPC both ways, client)", Took: outside.Percentile(50), Rest: true},
	)
	out.Explained = measure.Median(shares)
	return out
}

// stagesOfMetrics are the means that the daemon's histograms give for the same calls.
func stagesOfMetrics(name string, seen []time.Duration, before, after map[string]stageSum) report.Stages {
	out := report.Stages{Name: name, Source: "means from the daemon's histograms, before and after the same calls", Calls: len(seen)}
	var sum, waited time.Duration
	for _, s := range seen {
		waited += s
	}
	out.Seen = waited / time.Duration(max(len(seen), 1))
	for stage, now := range after {
		then := before[stage]
		if now.count == then.count {
			continue
		}
		took := time.Duration((now.seconds - then.seconds) / float64(max(len(seen), 1)) * float64(time.Second))
		sum += took
		out.Stages = append(out.Stages, report.Stage{Name: stage, Took: took, Rest: isRest(stage)})
	}
	slices.SortFunc(out.Stages, func(a, b report.Stage) int { return int(b.Took - a.Took) })
	out.Stages = append(out.Stages, report.Stage{Name: "not told: outside of the daemon's stages (transport both ways, client)", Took: out.Seen - sum, Rest: true})
	told, _ := out.Sums()
	out.Explained = float64(told) / float64(max(out.Seen, 1))
	return out
}
