package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// aroundMedian is the heading of the table by which the target of the stages is judged.
const aroundMedian = "Calls around the median"

// stageTarget is judged by the rows that are printed under aroundMedian, added up, over
// the p50 of all calls. What is no stage does not count.
func (r *Run) stageTarget() target {
	const text = "the stages explain at least 95 % of the p50 (rows of the table *" + aroundMedian + "*, added up)"
	t := r.aroundMedian(CellBash)
	if t == nil || t.Seen <= 0 {
		return missing(text)
	}
	told, rest := t.Sums()
	out := atLeast(text, " %", 100*float64(told)/float64(t.Seen), 95)
	out.measured += fmt.Sprintf(" (%s of %s ms; %s ms more of no stage)", msFine(told), msFine(t.Seen), msFine(rest))
	if way := t.took(StageThere) + t.took(StageBack); way > 0 {
		out.measured += fmt.Sprintf("; %s ms of it on the way between client and daemon, by the clocks of both", msFine(way))
	}
	return out
}

// took is what a stage took; 0 when there is none of that name.
func (t *Stages) took(name string) (sum time.Duration) {
	for _, s := range t.Stages {
		if s.Name == name {
			sum += s.Took
		}
	}
	return sum
}

// aroundMedian is the table of that command whose rows add up; nil in older runs.
func (r *Run) aroundMedian(command string) *Stages {
	for i := range r.Stages {
		if t := &r.Stages[i]; t.Band != nil && !t.Floors && t.Name == command {
			return t
		}
	}
	return nil
}

func (r *Run) writeStages(p *printer) {
	var shown []*Stages
	for i := range r.Stages {
		if t := &r.Stages[i]; !t.Floors { // those are shown beside the floors
			shown = append(shown, t)
		}
	}
	slices.SortStableFunc(shown, func(a, b *Stages) int { return cmp.Compare(bandFirst(a), bandFirst(b)) })
	for i, t := range shown {
		if i == 0 || t.Name != shown[i-1].Name {
			p.line("## Stages of %s\n", t.Name)
		}
		if t.Band != nil {
			t.writeBand(p)
		} else {
			t.write(p)
		}
	}
}

func bandFirst(t *Stages) int {
	if t.Band != nil {
		return 0
	}
	return 1
}

// writeBand writes a table whose rows add up.
func (t *Stages) writeBand(p *printer) {
	p.line("### %s\n", aroundMedian)
	p.line("%d calls, %s. Each row is the mean over the %d of them whose whole time lies between the %.0fth and the %.0fth percentile, so the rows add up to what such a call took. The target is judged by the sum of the stages; what is of no stage does not count.\n",
		t.Calls, t.Source, t.Band.Calls, t.Band.Low, t.Band.High)
	p.head("stage", "ms", "of the p50")
	told, rest := t.Sums()
	for _, s := range t.Stages {
		name := s.Name
		if s.Rest {
			name += " (not explained)"
		}
		p.row(name, msFine(s.Took), t.share(s.Took))
	}
	p.row("sum of the stages", msFine(told), t.share(told))
	p.row("sum of all rows", msFine(told+rest), t.share(told+rest))
	p.row("p50 of all calls", msFine(t.Seen), "100 %")
	p.line("")
}

// share is a part of what the client waited.
func (t *Stages) share(took time.Duration) string {
	return fmt.Sprintf("%.1f %%", 100*float64(took)/float64(max(t.Seen, 1)))
}

// write writes a table whose rows are what its source says.
func (t *Stages) write(p *printer) {
	title, _, _ := strings.Cut(t.Source, ",")
	p.line("### %s\n", strings.ToUpper(title[:min(1, len(title))])+title[min(1, len(title)):])
	p.line("%d calls; %s.\n", t.Calls, t.Source)
	p.head("stage", "ms", "of what the client waited")
	for _, s := range t.Stages {
		p.row(s.Name, msFine(s.Took), t.share(s.Took))
	}
	p.row("explained", "", fmt.Sprintf("%.1f %%", 100*t.Explained))
	p.row("what the client waited", msFine(t.Seen), "100 %")
	p.line("")
}
