package mutate

import (
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Report is what came of a run.
type Report struct {
	Source string `json:"source"`
	Checks int    `json:"checks"`
	All    int    `json:"sites"` // in the policy, before sampling
	Tally
	Invalid    int           `json:"invalid"`
	Equivalent int           `json:"equivalent"`
	Duration   time.Duration `json:"duration_ns"`
	Survivors  []Mutant      `json:"survivors"`
	Files      []FileScore   `json:"files"`
	// Directories are those at the top of the policy: "sandgate" is the library
	// that decides, "cookbook" the policies that can be switched on.
	Directories []DirectoryScore `json:"directories"`
}

// FileScore is the score of one file.
type FileScore struct {
	File string `json:"file"`
	Tally
}

// DirectoryScore is the score of all files below one directory of the policy;
// "." stands for those beside the directories.
type DirectoryScore struct {
	Directory string `json:"directory"`
	Tally
}

// Tally counts the mutants that a test could notice.
type Tally struct {
	Killed   int     `json:"killed"`
	Survived int     `json:"survived"`
	Score    float64 `json:"score"` // percent that was killed
}

func (t *Tally) add(status Status) {
	switch status {
	case Killed:
		t.Killed++
	case Survived:
		t.Survived++
	case Invalid, Equivalent: // no test could notice
	}
	t.Score = 100
	if all := t.Killed + t.Survived; all > 0 {
		t.Score = 100 * float64(t.Killed) / float64(all)
	}
}

// count sums up what became of the mutants.
func (r *Report) count(mutants []Mutant) {
	files, directories := map[string]*Tally{}, map[string]*Tally{}
	for _, m := range mutants {
		r.add(m.Status)
		tally(files, m.File).add(m.Status)
		tally(directories, topDirectory(r.Source, m.File)).add(m.Status)
		switch m.Status {
		case Survived:
			r.Survivors = append(r.Survivors, m)
		case Invalid:
			r.Invalid++
		case Equivalent:
			r.Equivalent++
		case Killed: // it says nothing more
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		r.Files = append(r.Files, FileScore{name, *files[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(directories)) {
		r.Directories = append(r.Directories, DirectoryScore{name, *directories[name]})
	}
}

func tally(all map[string]*Tally, name string) *Tally {
	if all[name] == nil {
		all[name] = &Tally{}
	}
	return all[name]
}

// topDirectory is the directory at the top of the policy that holds a file.
func topDirectory(source, file string) string {
	inside := strings.TrimPrefix(file, path.Clean(filepath.ToSlash(source))+"/")
	directory, _, ok := strings.Cut(inside, "/")
	if !ok {
		return "."
	}
	return directory
}
