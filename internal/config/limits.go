package config

import "fmt"

// limitField is one limit under its configuration key.
type limitField struct {
	key   string
	value *int64
	min   int64
}

// fields lists the limits in the order of the struct.
func (l *Limits) fields() []limitField {
	return []limitField{
		{"wall_time", (*int64)(&l.WallTime), int64(minWallTime)},
		{"cpu_millis", &l.CPUMillis, 10},
		{"memory", (*int64)(&l.Memory), int64(4 * mib)},
		{"pids", &l.Pids, 1},
		{"output", (*int64)(&l.Output), 1024},
		{"output_total", (*int64)(&l.OutputTotal), 1024},
		{"disk", (*int64)(&l.Disk), int64(mib)},
		{"file", (*int64)(&l.File), 4096},
		{"open_files", &l.OpenFiles, 16},
	}
}

// over returns l with what it leaves out taken from base.
func (l Limits) over(base Limits) Limits {
	from := base.fields()
	for i, f := range l.fields() {
		if *f.value == 0 {
			*f.value = *from[i].value
		}
	}
	return l
}

// atMost returns l cut to the ceiling.
func (l Limits) atMost(ceiling Limits) Limits {
	top := ceiling.fields()
	for i, f := range l.fields() {
		*f.value = min(*f.value, *top[i].value)
	}
	return l
}

func (l Limits) problems(section string) []string {
	var out []string
	for _, f := range l.fields() {
		if *f.value < f.min {
			out = append(out, fmt.Sprintf("%s.%s: too small: at least %s", section, f.key, inUnit(f.key, f.min)))
		}
	}
	return out
}

func (l Limits) problemsAbove(section string, ceiling Limits) []string {
	var out []string
	top := ceiling.fields()
	for i, f := range l.fields() {
		if *f.value > *top[i].value {
			out = append(out, fmt.Sprintf("%s.%s: %s is above ceiling.%s (%s)",
				section, f.key, inUnit(f.key, *f.value), f.key, inUnit(f.key, *top[i].value)))
		}
	}
	return out
}

func inUnit(key string, v int64) string {
	switch key {
	case "wall_time":
		return Duration(v).String()
	case "memory", "output", "output_total", "disk", "file":
		return Bytes(v).String()
	default:
		return fmt.Sprint(v)
	}
}
