package policy

import (
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/sandgate/sandgate/internal/facts"
)

// programs puts the facts of the programs that are known in depth. Most calls have none of them.
func (b *valueBuilder) programs(git *facts.Git, kubectl *facts.Kubectl, python *facts.Python) {
	if git != nil {
		b.put(keyGit, b.git(git))
	}
	if kubectl != nil {
		b.put(keyKubectl, b.kubectl(kubectl))
	}
	if python != nil {
		b.put(keyPython, b.python(python))
	}
}

func (b *valueBuilder) putTextsIf(key *ast.Term, items []string) {
	if len(items) > 0 {
		b.put(key, b.texts(items))
	}
}

func (b *valueBuilder) use(u *facts.Use) *ast.Term {
	mark := len(b.items)
	b.putText(keyOp, u.Op)
	b.putPointerIf(keyValue, u.Value)
	if u.Below {
		b.putBool(keyBelow, true)
	}
	b.pathFacts(&u.PathFacts)
	return b.object(mark)
}

func (b *valueBuilder) git(g *facts.Git) *ast.Term {
	mark := len(b.items)
	b.putTextIf(keySub, g.Sub)
	b.putInt(keyAt, int64(g.At))
	b.put(keyOptions, list(b, g.Options, func(o *facts.GitOption) *ast.Term {
		mark := len(b.items)
		b.putText(keyName, o.Name)
		b.putPointerIf(keyValue, o.Value)
		b.pathFacts(&o.PathFacts)
		return b.object(mark)
	}))
	b.putBool(keyOwn, g.Own)
	if len(g.Settings) > 0 {
		b.put(keySettings, list(b, g.Settings, func(s *facts.GitSetting) *ast.Term {
			mark := len(b.items)
			b.putText(keyName, s.Name)
			b.putPointerIf(keyValue, s.Value)
			b.putBool(keyRuns, s.Runs)
			b.putBool(keyStored, s.Stored)
			return b.object(mark)
		}))
	}
	b.putTextsIf(keyRemotes, g.Remotes)
	b.putTextsIf(keyPaths, g.Paths)
	if g.Push != nil {
		b.put(keyPush, b.push(g.Push))
	}
	return b.object(mark)
}

func (b *valueBuilder) push(p *facts.GitPush) *ast.Term {
	mark := len(b.items)
	b.putBool(keyComplete, p.Complete)
	b.putTextIf(keyRemote, p.Remote)
	b.putBool(keyForce, p.Force)
	b.putBool(keyLease, p.Lease)
	b.putBool(keyDelete, p.Delete)
	b.putBool(keyMirror, p.Mirror)
	b.putBool(keyAll, p.All)
	b.putBool(keyTags, p.Tags)
	b.putBool(keyDryRun, p.DryRun)
	b.put(keyRefs, list(b, p.Refs, func(r *facts.GitRef) *ast.Term {
		mark := len(b.items)
		b.putTextIf(keySrc, r.Src)
		b.putTextIf(keyDst, r.Dst)
		b.putBool(keyForce, r.Force)
		b.putBool(keyDelete, r.Delete)
		return b.object(mark)
	}))
	return b.object(mark)
}

func (b *valueBuilder) kubectl(k *facts.Kubectl) *ast.Term {
	mark := len(b.items)
	b.putBool(keyComplete, k.Complete)
	b.putTextIf(keyVerb, k.Verb)
	b.putBool(keyKnown, k.Known)
	b.putTextIf(keySub, k.Sub)
	b.put(keyResources, list(b, k.Resources, func(r *facts.KubeResource) *ast.Term {
		mark := len(b.items)
		b.putText(keyType, r.Type)
		b.putTextIf(keyGroup, r.Group)
		b.putTextIf(keyName, r.Name)
		return b.object(mark)
	}))
	b.putTextIf(keyNamespace, k.Namespace)
	b.putBool(keyAllNamespaces, k.AllNamespaces)
	b.putTextIf(keyContext, k.Context)
	b.putTextIf(keyCluster, k.Cluster)
	b.putTextIf(keyUser, k.User)
	b.putTextIf(keyServer, k.Server)
	b.putTextIf(keyKubeconfig, k.Kubeconfig)
	b.putTextIf(keyAs, k.As)
	b.putText(keyDryRun, k.DryRun)
	putMap(b, keyFlags, k.Flags, b.texts)
	b.put(keyFiles, b.texts(k.Files))
	b.putTextsIf(keyCommand, k.Command)
	return b.object(mark)
}

func (b *valueBuilder) python(p *facts.Python) *ast.Term {
	mark := len(b.items)
	b.putBool(keyParsed, p.Parsed)
	b.putTextIf(keyError, p.Error)
	b.put(keyImports, b.texts(p.Imports))
	b.put(keyCalls, b.texts(p.Calls))
	b.put(keyNames, b.texts(p.Names))
	b.put(keyOpens, list(b, p.Opens, func(o *facts.PythonOpen) *ast.Term {
		mark := len(b.items)
		b.putTextIf(keyOp, o.Op)
		b.putPointerIf(keyValue, o.Value)
		b.pathFacts(&o.PathFacts)
		return b.object(mark)
	}))
	b.put(keyDynamic, b.texts(p.Dynamic))
	b.put(keyRuns, list(b, p.Runs, func(r *facts.PythonRun) *ast.Term {
		mark := len(b.items)
		b.putPointerIf(keyScript, r.Script)
		b.putTextsIf(keyArgv, r.Argv)
		b.putBool(keyComplete, r.Complete)
		return b.object(mark)
	}))
	return b.object(mark)
}
