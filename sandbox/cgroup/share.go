package cgroup

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// UsualWeight is the share of processor time that a group has which nobody gave another.
const UsualWeight = 100

// CPUTime is the processor time that the group has used since it was made; -1 when the
// kernel does not tell. It keeps no file open, and may be asked beside anything else.
func (m *Manager) CPUTime(path string) time.Duration {
	user, system := m.b.cpu(m.readerOf(path))
	if user < 0 || system < 0 {
		return -1
	}
	return user + system
}

// SetWeight gives the group a share of processor time, 1 to 10000 where UsualWeight is
// what others beside it have, and returns what the kernel then shows. It binds only while
// others beside it want the time as well.
func (m *Manager) SetWeight(path string, weight int64) (int64, error) {
	if err := checkPath(path); err != nil {
		return 0, err
	}
	return m.b.setWeight(path, weight)
}

// The v1 controller counts in 1024th of what others have, and has at least 2.
func (b *v1) setWeight(path string, weight int64) (int64, error) {
	got, err := writeBack(b.file("cpu", path, "cpu.shares"), max(weight*1024/UsualWeight, 2))
	return got * UsualWeight / 1024, err
}

func (b *v2) setWeight(path string, weight int64) (int64, error) {
	return writeBack(b.file(path, "cpu.weight"), weight)
}

// writeBack writes a number and reads what the kernel made of it.
func writeBack(file string, value int64) (int64, error) {
	if err := writeFile(file, strconv.FormatInt(value, 10)); err != nil {
		return 0, fmt.Errorf("set share: %w", err)
	}
	text, err := os.ReadFile(file) //nolint:gosec // below the control groups' root
	if err != nil {
		return 0, fmt.Errorf("read share back: %w", err)
	}
	got, err := parseInt(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read share back: %w", err)
	}
	return got, nil
}
