package policy

import (
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/sandgate/sandgate/internal/facts"
)

func (b *valueBuilder) shell(s *facts.Shell) *ast.Term {
	mark := len(b.items)
	b.putText(keyDialect, s.Dialect)
	b.putBool(keyParsed, s.Parsed)
	b.putTextIf(keyError, s.Error)
	b.putInt(keyBytes, int64(s.Bytes))
	b.putBool(keyTruncated, s.Truncated)
	b.putBool(keyTooLong, s.TooLong)
	b.putBool(keyTooManyCommands, s.TooManyCommands)
	b.putBool(keyOverflow, s.Overflow)
	b.putBool(keyOpaque, s.Opaque)
	b.putBool(keyChangesDirectory, s.ChangesDirectory)
	b.put(keyFeatures, b.texts(s.Features))
	b.put(keyCommands, list(b, s.Commands, b.command))
	b.put(keyPrograms, b.texts(s.Programs))
	b.putBool(keyBare, s.Bare)
	b.put(keyFunctions, b.texts(s.Functions))
	b.put(keyAliases, b.texts(s.Aliases))
	b.putTextsIf(keyVariables, s.Variables)
	cwd := len(b.items)
	b.pathFacts(&s.Cwd)
	b.put(keyCwd, b.object(cwd))
	return b.object(mark)
}

func (b *valueBuilder) pathFacts(p *facts.PathFacts) {
	b.putTextIf(keyPath, p.Path)
	b.putTextIf(keyReal, p.Real)
	b.putBoolIf(keyExists, p.Exists)
	b.putTextIf(keyKind, p.Kind)
	b.putBoolIf(keyInWorkspace, p.InWorkspace)
}

func (b *valueBuilder) command(item **facts.Command) *ast.Term {
	c := *item
	if c == nil {
		return ast.InternedNullTerm
	}
	mark := len(b.items)
	b.putInt(keyIndex, int64(c.Index))
	b.putText(keyKind, c.Kind)
	b.putTextIf(keyName, c.Name)
	b.putTextIf(keyBase, c.Base)
	b.putTextIf(keyDir, c.Dir)
	b.putBool(keyNameStatic, c.NameStatic)
	b.putBool(keyStatic, c.Static)
	b.put(keyArgs, list(b, c.Args, b.arg))
	b.put(keyEnv, list(b, c.Env, b.assign))
	b.put(keyRedirects, list(b, c.Redirects, b.redirect))
	b.put(keyContext, b.texts(c.Context))
	b.put(keyVia, b.texts(c.Via))
	b.putInt(keyDepth, int64(c.Depth))
	b.putBool(keyOpaque, c.Opaque)
	b.putTextIf(keyOpaqueReason, c.OpaqueReason)
	if c.Function {
		b.putBool(keyFunction, true)
	}
	if c.Network {
		b.putBool(keyNetwork, true)
	}
	if len(c.Files) > 0 {
		b.put(keyFiles, list(b, c.Files, b.use))
	}
	b.programs(c.Git, c.Kubectl, c.Python)
	return b.object(mark)
}

func (b *valueBuilder) arg(item **facts.Arg) *ast.Term {
	a := *item
	if a == nil {
		return ast.InternedNullTerm
	}
	mark := len(b.items)
	b.putPointerIf(keyValue, a.Value)
	b.putBool(keyLiteral, a.Literal)
	b.putBool(keyQuoted, a.Quoted)
	b.putBool(keyGlob, a.Glob)
	b.putBool(keyTilde, a.Tilde)
	b.putBool(keyBrace, a.Brace)
	if a.NoMatch {
		b.putBool(keyNoMatch, true)
	}
	b.putBool(keyDynamic, a.Dynamic)
	b.putBool(keySplits, a.Splits)
	b.putTextIf(keyPrefix, a.Prefix)
	if len(a.May) > 0 {
		b.put(keyMay, list(b, a.May, b.possible))
	}
	b.pathFacts(&a.PathFacts)
	if a.Eq != nil {
		eq := len(b.items)
		b.putText(keyName, a.Eq.Name)
		b.putText(keyValue, a.Eq.Value)
		b.pathFacts(&a.Eq.PathFacts)
		b.put(keyEq, b.object(eq))
	}
	return b.object(mark)
}

func (b *valueBuilder) assign(item **facts.Assign) *ast.Term {
	a := *item
	if a == nil {
		return ast.InternedNullTerm
	}
	mark := len(b.items)
	b.putText(keyName, a.Name)
	b.putPointerIf(keyValue, a.Value)
	b.putBool(keyStatic, a.Static)
	return b.object(mark)
}

func (b *valueBuilder) redirect(item **facts.Redirect) *ast.Term {
	r := *item
	if r == nil {
		return ast.InternedNullTerm
	}
	mark := len(b.items)
	b.putText(keyOp, r.Op)
	b.putTextIf(keyFd, r.Fd)
	b.putText(keyClass, r.Class)
	b.putPointerIf(keyTarget, r.Target)
	b.putBool(keyStatic, r.Static)
	b.putBool(keyNetwork, r.Network)
	if len(r.May) > 0 {
		b.put(keyMay, list(b, r.May, b.possible))
	}
	b.pathFacts(&r.PathFacts)
	return b.object(mark)
}

func (b *valueBuilder) possible(p *facts.Possible) *ast.Term {
	mark := len(b.items)
	b.putText(keyValue, p.Value)
	b.pathFacts(&p.PathFacts)
	return b.object(mark)
}
