package policy

import (
	"context"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/cache"
)

// maxCompiledPatterns bounds the regular expressions and globs of a revision
// that are kept compiled. OPA's own bound is 100, fewer than the library has.
const maxCompiledPatterns = 2000

// answerVar stands for the document that a query asks for.
const answerVar = ast.Var("answer")

// query is one question to a policy, compiled once and asked many times. It
// drives OPA's evaluator itself: package rego would turn each answer into maps
// and start a goroutine for each question. Immutable, safe for concurrent use.
type query struct {
	body     ast.Body
	queries  ast.QueryCompiler
	compiler *ast.Compiler
	store    storage.Store
	patterns cache.InterQueryValueCache // what regex and glob built-ins have compiled
}

// prepareQuery compiles the question what the document at ref is.
func prepareQuery(compiler *ast.Compiler, store storage.Store, patterns cache.InterQueryValueCache, ref string) (query, error) {
	q := query{queries: compiler.QueryCompiler(), compiler: compiler, store: store, patterns: patterns}
	parsed, err := ast.ParseBodyWithOpts(string(answerVar)+" = "+ref, ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err == nil {
		q.body, err = q.queries.Compile(parsed)
	}
	if err != nil {
		return query{}, fmt.Errorf("prepare %s: %w", ref, err)
	}
	return q, nil
}

func newPatternCache(ctx context.Context) cache.InterQueryValueCache {
	most := maxCompiledPatterns
	return cache.NewInterQueryValueCache(ctx, &cache.Config{
		InterQueryBuiltinValueCache: cache.InterQueryBuiltinValueCacheConfig{MaxNumEntries: &most},
	})
}

// ask returns what the document is for the input: nothing where it is
// undefined. It ends soon after ctx.
func (q query) ask(ctx context.Context, input ast.Value, tracers ...topdown.QueryTracer) ([]ast.Value, error) {
	return q.askKnowing(ctx, input, nil, tracers...)
}

// askKnowing asks with the documents that stand for calls of this kind, and adds
// to them; nil: there are none.
func (q query) askKnowing(ctx context.Context, input ast.Value, known *standing, tracers ...topdown.QueryTracer) ([]ast.Value, error) {
	txn, err := q.store.NewTransaction(ctx)
	if err != nil {
		return nil, err
	}
	defer q.store.Abort(ctx, txn)
	limit := &budget{done: ctx.Done()}
	t := topdown.NewQuery(q.body).
		WithQueryCompiler(q.queries).
		WithCompiler(q.compiler).
		WithStore(q.store).
		WithTransaction(txn).
		WithInput(ast.NewTerm(input)).
		WithMetrics(metrics.NoOp()).
		WithInterQueryBuiltinValueCache(q.patterns).
		WithStrictBuiltinErrors(true).
		WithCancel(limit)
	var docs *standingCache
	if known != nil {
		docs = known.cache(callKind(input))
		t = t.WithVirtualCache(docs)
	}
	for _, tracer := range tracers {
		t = t.WithQueryTracer(tracer)
	}
	var answers []ast.Value
	err = t.Iter(ctx, func(found topdown.QueryResult) error {
		term := found[answerVar]
		if term == nil {
			return fmt.Errorf("the query binds no %s", answerVar)
		}
		answers = append(answers, term.Value)
		return nil
	})
	if limit.over {
		return nil, fmt.Errorf("the heap grew by more than %d MiB during the evaluation: the policy makes too much", maxHeapGrowth>>20)
	}
	if err != nil {
		return nil, err
	}
	if docs != nil {
		known.keep(docs)
	}
	return answers, nil
}
