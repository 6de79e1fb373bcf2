package report

import (
	"fmt"
	"io"

	"github.com/sandgate/sandgate/test/bench/measure"
)

// Compare writes two runs side by side: for every cell that both have, the p50
// and, where there is one, its ratio to the base of its own run, which is what
// can be compared between machines and moments.
func Compare(w io.Writer, before, after *Run) error {
	p := &printer{w: w}
	p.line("# Before and after\n")
	for _, r := range []*Run{before, after} {
		p.line("- %s run of %s on %s: %s", r.Mode, r.Began.UTC().Format("2006-01-02 15:04 MST"), r.Machine.CPU, versionOf(r, "sandgate"))
	}
	p.line("")
	p.head("what", "clients", "p50 ms before", "after", "after / before", "p99 after / before", "rate after / before",
		"ratio to base before", "after", "after / before")
	seen := 0
	for i := range after.Cells {
		now := &after.Cells[i]
		then := before.Find(now.Group, now.Name, now.Clients(), now.Amount)
		for j := range now.Series {
			a := &now.Series[j]
			if b := then.Arm(a.Name); b != nil && a.Name != now.Base {
				seen++
				p.row(compareRow(then, now, b, a)...)
			}
		}
	}
	if seen == 0 && p.err == nil {
		return fmt.Errorf("the two runs have no cell in common")
	}
	return p.err
}

func compareRow(then, now *Cell, b, a *measure.Series) []string {
	name := now.Group + ": " + now.Name
	if now.Amount > 0 {
		name = fmt.Sprintf("%s: %d %s", now.Group, now.Amount, now.Name)
	}
	if a.Name != ArmSandgate {
		name += ": " + a.Name
	}
	over := func(after, before float64) string {
		if before == 0 {
			return "-"
		}
		return fmt.Sprintf("%.2f", after/before)
	}
	row := []string{
		name, fmt.Sprint(a.Clients), ms(b.Percentile(50)), ms(a.Percentile(50)),
		over(float64(a.Percentile(50)), float64(b.Percentile(50))),
		over(float64(a.Percentile(99)), float64(b.Percentile(99))),
		over(a.Rate(), b.Rate()),
	}
	baseThen, baseNow := then.Arm(then.Base), now.Arm(now.Base)
	if baseThen == nil || baseNow == nil {
		return append(row, "-", "-", "-")
	}
	was, is := measure.Ratio(b, baseThen, 50), measure.Ratio(a, baseNow, 50)
	return append(row, fmt.Sprintf("%.2f", was), fmt.Sprintf("%.2f", is), over(is, was))
}

func versionOf(r *Run, name string) string {
	for _, v := range r.Versions {
		if v.Name == name {
			return name + " " + v.Version
		}
	}
	return name + " of an unknown version"
}
