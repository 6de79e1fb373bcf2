package config

import (
	"slices"
	"time"
)

// Sessions says how many sessions there are, how long they live and what each may
// use. A session that its first call made lives by these as they are; one that
// was created with wishes of its own keeps what it was given.
type Sessions struct {
	// Max is how many sessions there are at most, 8 to 1000000. Default 20000. Each takes
	// some 4 KiB of memory. New ones are refused then.
	Max int `json:"max"`
	// MaxPerCaller is how many of them one caller has, 1 to Max. Default half of Max.
	MaxPerCaller int `json:"max_per_caller"`
	// IdleTimeout ends a session, with its workspace, that no call has used for so long
	// and that wished for nothing else, 1s to 87600h. Default 168h, a week.
	IdleTimeout Duration `json:"idle_timeout"`
	// MaxIdleTimeout is the longest that a host may wish for, IdleTimeout to 87600h.
	// Default 720h, or IdleTimeout if that is longer.
	MaxIdleTimeout Duration `json:"max_idle_timeout"`
	// TTL ends a session so long after it was made, 1s to 87600h. Default 0: it does not.
	TTL Duration `json:"ttl"`
	// MaxTTL is the longest that a host may wish for, and what a session without a wish
	// gets at most, 1s to 87600h. Default 0: no bound.
	MaxTTL Duration `json:"max_ttl"`
	// Quota is what a session may use that wished for nothing else; MaxQuota the most that
	// a host may wish for. A member that is 0 is no bound, which is the default but for
	// background_calls, 8.
	Quota    SessionQuota `json:"quota"`
	MaxQuota SessionQuota `json:"max_quota"`
	// Files bounds what hosts do with the files of their sessions.
	Files SessionFiles `json:"files"`
}

// SessionFiles bounds uploads, downloads and snapshots.
type SessionFiles struct {
	// Upload is the largest single file that is uploaded, 1KiB to 1TiB. Default 1GiB.
	Upload Bytes `json:"upload"`
	// Tree is how large all files of an upload, download or snapshot may be together,
	// 1KiB to 16TiB. Default 8GiB. TreeFiles is how many those may be, 1 to 100000000.
	// Default 500000.
	Tree      Bytes `json:"tree"`
	TreeFiles int64 `json:"tree_files"`
	// Snapshots is how many of them a session has, 1 to 1000. Default 16. They take room
	// of its disk quota.
	Snapshots int `json:"snapshots"`
}

// SessionQuota bounds what one session uses. 0: no bound.
type SessionQuota struct {
	// Calls that are let run in all its life.
	Calls int64 `json:"calls"`
	// CPUTime of all its calls together. The call that goes over it still ends by itself.
	CPUTime Duration `json:"cpu_time"`
	// Disk is how large its workspace may get.
	Disk Bytes `json:"disk"`
	// ConcurrentCalls is how many of its calls run or wait to run at once.
	ConcurrentCalls int64 `json:"concurrent_calls"`
	// BackgroundCalls is how many of them may be detached from their host.
	BackgroundCalls int64 `json:"background_calls"`
}

// longest is the longest that a session may live or be idle, ten years.
const longest = 87600 * time.Hour

func (s Sessions) withDefaults() Sessions {
	fill(&s.Max, 20_000)
	fill(&s.MaxPerCaller, max(s.Max/2, 1))
	fill(&s.IdleTimeout, Duration(168*time.Hour))
	fill(&s.MaxIdleTimeout, max(s.IdleTimeout, Duration(720*time.Hour)))
	fill(&s.Quota.BackgroundCalls, 8)
	fill(&s.Files.Upload, 1<<30)
	fill(&s.Files.Tree, 8<<30)
	fill(&s.Files.TreeFiles, 500_000)
	fill(&s.Files.Snapshots, 16)
	return s
}

func (s *Sessions) problems() []string {
	bad := slices.Concat(
		outside("sessions.max", int64(s.Max), 8, 1_000_000, count),
		outside("sessions.max_per_caller", int64(s.MaxPerCaller), 1, int64(s.Max), count),
		outside("sessions.idle_timeout", int64(s.IdleTimeout), int64(time.Second), int64(longest), span),
		outside("sessions.max_idle_timeout", int64(s.MaxIdleTimeout), int64(s.IdleTimeout), int64(longest), span),
	)
	for _, f := range []struct {
		key string
		d   Duration
	}{{"sessions.ttl", s.TTL}, {"sessions.max_ttl", s.MaxTTL}} {
		if f.d != 0 {
			bad = append(bad, outside(f.key, int64(f.d), int64(time.Second), int64(longest), span)...)
		}
	}
	return slices.Concat(bad,
		outside("sessions.files.upload", s.Files.Upload.Int64(), 1<<10, 1<<40, size),
		outside("sessions.files.tree", s.Files.Tree.Int64(), 1<<10, 1<<44, size),
		outside("sessions.files.tree_files", s.Files.TreeFiles, 1, 100_000_000, count),
		outside("sessions.files.snapshots", int64(s.Files.Snapshots), 1, 1000, count),
		s.Quota.problems("sessions.quota"), s.MaxQuota.problems("sessions.max_quota"))
}

func (q *SessionQuota) problems(key string) []string {
	const most = int64(1) << 50
	return slices.Concat(
		outside(key+".calls", q.Calls, 0, most, count),
		outside(key+".cpu_time", int64(q.CPUTime), 0, int64(longest), span),
		outside(key+".disk", q.Disk.Int64(), 0, most, size),
		outside(key+".concurrent_calls", q.ConcurrentCalls, 0, 65536, count),
		outside(key+".background_calls", q.BackgroundCalls, 0, 65536, count),
	)
}
