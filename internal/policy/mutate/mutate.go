// Package mutate tests the tests of a policy: it changes the policy in small
// ways, one at a time, and runs the Rego tests and scenarios on each change. A
// change that no test notices is reported. `sandgate policy mutate` is its
// front. It must never write to the policy and never count as noticed what only
// does not compile.
package mutate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"

	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/internal/scenario"
)

// Options of Run.
type Options struct {
	// Suites are the scenario files; their inputs are built by Runner.
	Suites []scenario.Suite
	Runner scenario.Runner
	// Only takes the files whose shown name ends in one of these, and those below
	// a directory whose name does. Empty: all.
	Only []string
	// Sample takes that many of the changes, chosen by Seed. Zero: all.
	Sample int
	Seed   uint64
	// CheckTimeout bounds one test of one mutant; zero means five seconds. A
	// mutant that exceeds it is noticed.
	CheckTimeout time.Duration
	// Workers is how many mutants are tried at a time; zero means one per processor.
	Workers int
	// Progress, if set, is called after each mutant. It must be safe for
	// concurrent use.
	Progress func(done, all int)
}

// Status of a mutant.
type Status string

// What became of a mutant.
const (
	Killed     Status = "killed"     // a test failed, or the daemon would refuse the policy
	Survived   Status = "survived"   // every test passed
	Invalid    Status = "invalid"    // it does not compile
	Equivalent Status = "equivalent" // it compiles to the same policy
)

// Mutant is a change and what became of it.
type Mutant struct {
	Site
	Status Status `json:"status"`
	By     string `json:"by,omitempty"`  // the test that noticed it
	Why    string `json:"why,omitempty"` // what it said
	Tests  int    `json:"tests"`         // that were run on it
}

// lab holds what every mutant is tried with.
type lab struct {
	opts    Options
	store   storage.Store
	sources map[string]*ast.Module
	all     map[string]*ast.Module // with tests
	checks  []*check

	sourceGraph, allGraph *graph
	deciding              map[string]*ast.Module // what a decision needs
	callers               map[string][]place     // of each document

	atlas atlas

	mu   sync.Mutex
	base map[string]string // compiled text of each module of the library
	best map[place]*check  // that last killed a mutant of a rule
}

// Run tries the changes. The error means that there is nothing to try: the
// policy or its tests are not in order.
func Run(ctx context.Context, src policy.Source, opts Options) (Report, error) {
	begin := time.Now()
	if opts.CheckTimeout == 0 {
		opts.CheckTimeout = 5 * time.Second
	}
	if opts.Workers <= 0 {
		opts.Workers = runtime.GOMAXPROCS(0)
	}
	l, err := newLab(ctx, src, opts)
	if err != nil {
		return Report{}, err
	}
	sites := l.sites()
	report := Report{Source: src.Name(), Checks: len(l.checks), All: len(sites), Survivors: []Mutant{}}
	if len(sites) == 0 {
		return report, errors.New("there is nothing to change: no file of the policy is selected")
	}
	sites = sample(sites, opts.Sample, opts.Seed)
	mutants := l.tryAll(ctx, sites)
	if err := context.Cause(ctx); err != nil {
		return report, err
	}
	report.count(mutants)
	report.Duration = time.Since(begin)
	return report, nil
}

func sample(sites []Site, n int, seed uint64) []Site {
	if n <= 0 || n >= len(sites) {
		return sites
	}
	r := rand.New(rand.NewPCG(seed, 0)) // #nosec G404 -- a sample that can be had again
	r.Shuffle(len(sites), func(i, j int) { sites[i], sites[j] = sites[j], sites[i] })
	sites = sites[:n]
	slices.SortFunc(sites, compareSites)
	return sites
}

func compareSites(a, b Site) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.index, b.index))
}

func newLab(ctx context.Context, src policy.Source, opts Options) (*lab, error) {
	l := &lab{opts: opts, sources: map[string]*ast.Module{}, base: map[string]string{}, best: map[place]*check{}, atlas: atlas{ids: map[place]int{}}}
	var err error
	if l.all, err = src.Modules(true); err != nil {
		return nil, err
	}
	if l.store, err = src.Store(); err != nil {
		return nil, err
	}
	for name, mod := range l.all {
		if !policy.IsTest(name) {
			l.sources[name] = mod
		}
	}
	if _, err := policy.Compile(ctx, l.sources, l.store); err != nil {
		return nil, err
	}
	plain, err := compileLibrary(ctx, l.sources, l.store)
	if err != nil {
		return nil, err
	}
	if err := policy.CheckCompiled(ctx, plain.compiler, l.store); err != nil {
		return nil, fmt.Errorf("the daemon would refuse the policy as it is: %w", err)
	}
	l.sourceGraph, l.allGraph = newGraph(l.sources), newGraph(l.all)
	l.deciding = l.sourceGraph.closure(l.sourceGraph.named(ast.MustParseRef(policy.DecisionRef))...)
	return l, l.measure(ctx)
}

// measure runs every check on the policy as it is and notes what it evaluates.
func (l *lab) measure(ctx context.Context) error {
	prog, err := compileTests(ctx, l.all, l.store)
	if err != nil {
		return fmt.Errorf("compile the tests: %w", err)
	}
	l.checks, l.callers = regoChecks(prog.compiler), callersOf(prog.compiler)
	for _, suite := range l.opts.Suites {
		cases, err := l.scenarioChecks(suite)
		if err != nil {
			return err
		}
		l.checks = append(l.checks, cases...)
	}
	if len(l.checks) == 0 {
		return errors.New("the policy has neither Rego tests nor scenarios, so every change would go unnoticed")
	}
	var (
		wg     sync.WaitGroup
		next   atomic.Int64
		mu     sync.Mutex
		failed []error
	)
	for range l.opts.Workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(l.checks) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				c := l.checks[i]
				begin := time.Now()
				touched, cases := placeTracer{}, &caseTracer{}
				why := prog.fails(ctx, c, time.Minute, touched, cases)
				c.took = time.Since(begin) // traced, which tells the quick from the slow as well
				c.touches, c.once = l.atlas.set(touched), cases.distinct()
				if why != "" {
					mu.Lock()
					failed = append(failed, fmt.Errorf("%s: %s", c.name, why))
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if len(failed) > 0 {
		return fmt.Errorf("a test fails on the policy as it is, make `sandgate policy test` pass first: %w",
			errors.Join(failed[:min(len(failed), 5)]...))
	}
	slices.SortStableFunc(l.checks, func(a, b *check) int { return cmp.Compare(a.took, b.took) })
	return context.Cause(ctx)
}

func (l *lab) scenarioChecks(suite scenario.Suite) ([]*check, error) {
	var list []*check
	for _, c := range suite.Cases {
		in, err := l.opts.Runner.Input(suite.Workspace, c)
		if err != nil && c.Want.MayBeRefused {
			continue // it never reaches the policy
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", suite.File, c.Line, err)
		}
		value, err := policy.InputValue(l.opts.Runner.Engine.Complete(in))
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", suite.File, c.Line, err)
		}
		list = append(list, &check{name: fmt.Sprintf("%s:%d: %s", suite.File, c.Line, c.Name), input: value, want: c.Want})
	}
	return list, nil
}

// sites lists every change to be tried, in the order of files and places.
func (l *lab) sites() []Site {
	var sites []Site
	for _, name := range slices.Sorted(maps.Keys(l.sources)) {
		if len(l.opts.Only) == 0 || slices.ContainsFunc(l.opts.Only, func(only string) bool { return selects(only, name) }) {
			sites = append(sites, sitesOf(name, l.sources[name])...)
		}
	}
	return sites
}

// selects reports whether a file is the one that only names, or below the
// directory that it names. Of both the last parts of the path are enough.
func selects(only, name string) bool {
	only = path.Clean(filepath.ToSlash(only))
	return only == "." || strings.HasSuffix("/"+name, "/"+only) || strings.Contains("/"+name, "/"+strings.TrimPrefix(only, "/")+"/")
}

func (l *lab) tryAll(ctx context.Context, sites []Site) []Mutant {
	mutants := make([]Mutant, len(sites))
	var (
		wg         sync.WaitGroup
		next, done atomic.Int64
	)
	for range l.opts.Workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(sites) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				mutants[i] = l.try(ctx, sites[i])
				if l.opts.Progress != nil {
					l.opts.Progress(int(done.Add(1)), len(sites))
				}
			}
		})
	}
	wg.Wait()
	return mutants
}
