package facts

import (
	"slices"
	"strings"
)

// kubectlFacts reads the words after kubectl as its flag package does: options stand anywhere before a lone --.
func kubectlFacts(args []*Arg) *Kubectl {
	k := &Kubectl{Complete: true, DryRun: "none", Resources: []KubeResource{}, Flags: map[string][]string{}, Files: []string{}}
	var operands []string
	for i := 0; i < len(args); i++ {
		g := args[i]
		if !g.Literal {
			k.Complete = false
			if k.Verb == "" {
				k.finish(nil)
				return k // whether the verb comes later is not known
			}
			continue
		}
		v := *g.Value
		switch {
		case v == "--":
			k.Command = k.rest(args[i+1:])
			k.finish(operands)
			return k
		case strings.HasPrefix(v, "--"):
			i += k.long(v[2:], args[i+1:])
		case len(v) > 1 && v[0] == '-':
			i += k.short(v[1:], args[i+1:])
		case k.Verb == "":
			k.Verb = v
		default:
			operands = append(operands, v)
		}
	}
	k.finish(operands)
	return k
}

// rest are the words after a lone --.
func (k *Kubectl) rest(args []*Arg) []string {
	var out []string
	for _, g := range args {
		if !g.Literal {
			k.Complete = false
			return out
		}
		out = append(out, *g.Value)
	}
	return out
}

// long reads one long option without its dashes; taken is how many words after it belong to it.
func (k *Kubectl) long(opt string, next []*Arg) (taken int) {
	name, value, has := strings.Cut(opt, "=")
	switch {
	case has:
		k.Complete = k.Complete && (kubeValues[name] || kubeSwitches[name])
	case kubeValues[name]:
		if len(next) == 0 || !next[0].Literal {
			k.Complete = false
			return min(1, len(next))
		}
		value, taken = *next[0].Value, 1
	default:
		k.Complete = k.Complete && kubeSwitches[name]
		value = "true"
	}
	k.Flags[name] = append(k.Flags[name], value)
	return taken
}

// short reads a cluster of short options without its dash.
func (k *Kubectl) short(cluster string, next []*Arg) (taken int) {
	for i := range len(cluster) {
		letter := cluster[i : i+1]
		name, takes := k.letter(letter)
		if name == "" {
			k.Complete = false
			return 0
		}
		rest := cluster[i+1:]
		if !takes {
			if value, ok := strings.CutPrefix(rest, "="); ok {
				k.Flags[name] = append(k.Flags[name], value)
				return 0
			}
			k.Flags[name] = append(k.Flags[name], "true")
			continue
		}
		value := strings.TrimPrefix(rest, "=")
		if rest == "" {
			if len(next) == 0 || !next[0].Literal {
				k.Complete = false
				return min(1, len(next))
			}
			value, taken = *next[0].Value, 1
		}
		k.Flags[name] = append(k.Flags[name], value)
		return taken
	}
	return 0
}

// letter is the long name of a short option, which depends on the verb for some.
func (k *Kubectl) letter(letter string) (name string, takes bool) {
	if byVerb, ok := kubeVerbLetters[k.Verb]; ok && byVerb[letter] != "" {
		name = byVerb[letter]
	} else {
		name = kubeLetters[letter]
	}
	return name, kubeValues[name]
}

// finish gives the operands and options their meaning.
func (k *Kubectl) finish(operands []string) {
	k.Known = kubeVerbs[k.Verb]
	if subs, ok := kubeSubs[k.Verb]; ok && len(operands) > 0 && (subs == "" || strings.Contains(subs, " "+operands[0]+" ")) {
		k.Sub, operands = operands[0], operands[1:]
	}
	k.Namespace, k.Context, k.Cluster, k.User = k.last("namespace"), k.last("context"), k.last("cluster"), k.last("user")
	k.Server, k.Kubeconfig, k.As = k.last("server"), k.last("kubeconfig"), k.last("as")
	if k.As == "" {
		k.As = k.last("as-group")
	}
	k.AllNamespaces = slices.Contains([]string{"true", "1", "t", "T", "TRUE", "True"}, k.last("all-namespaces"))
	switch v, given := k.last("dry-run"), k.Flags["dry-run"] != nil; {
	case v == "server":
		k.DryRun = v
	case given && (v == "client" || v == "true" || v == "unchanged"):
		k.DryRun = "client"
	}
	for _, name := range []string{"filename", "kustomize", "from-file", "from-env-file", "patch-file"} {
		k.Files = append(k.Files, k.Flags[name]...)
	}
	switch k.Verb {
	case "exec", "run", "debug":
		if k.Verb == "exec" && len(operands) > 1 {
			k.Command = append(operands[1:len(operands):len(operands)], k.Command...)
			operands = operands[:1]
		}
	default:
		if len(k.Command) > 0 { // -- only ends the options of other verbs
			operands, k.Command = append(operands, k.Command...), nil
		}
	}
	k.resources(operands)
}

func (k *Kubectl) last(name string) string {
	if all := k.Flags[name]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// resources reads what the operands name.
func (k *Kubectl) resources(operands []string) {
	switch k.Verb {
	case "annotate", "label", "set", "taint":
		operands = slices.DeleteFunc(slices.Clone(operands), func(s string) bool {
			return strings.Contains(s, "=") || strings.HasSuffix(s, "-")
		})
	case "create":
		if kubeKinds[k.Sub] && len(operands) > 0 {
			operands = operands[1:] // secret generic NAME, service clusterip NAME
		}
		if k.Sub != "" {
			k.resource(k.Sub, operands)
		}
		return
	case "top":
		k.resource(k.Sub, operands)
		return
	case "run":
		k.resource("pods", operands)
		return
	case "exec", "logs", "attach", "debug", "port-forward":
		if len(operands) > 0 && !strings.Contains(operands[0], "/") {
			k.resource("pods", operands[:1])
			return
		}
		operands = operands[:min(1, len(operands))]
	case "cp":
		for _, o := range operands {
			if pod, _, ok := strings.Cut(o, ":"); ok && !strings.HasPrefix(o, "/") && !strings.HasPrefix(o, ".") {
				k.resource("pods", []string{pod[strings.LastIndexByte(pod, '/')+1:]})
				if ns, _, ok := strings.Cut(pod, "/"); ok {
					k.Namespace = ns
				}
			}
		}
		return
	case "cordon", "uncordon", "drain":
		k.resource("nodes", operands)
		return
	case "certificate":
		k.resource("certificatesigningrequests", operands)
		return
	case "auth", "config", "plugin", "proxy", "kustomize", "completion", "version", "api-versions", "api-resources",
		"cluster-info", "options", "help", "":
		return
	}
	k.operands(operands)
}

// operands reads TYPE NAME…, TYPE,TYPE and TYPE/NAME ….
func (k *Kubectl) operands(operands []string) {
	if len(operands) == 0 {
		return
	}
	if !strings.Contains(operands[0], "/") {
		for t := range strings.SplitSeq(operands[0], ",") {
			k.resource(t, operands[1:])
		}
		return
	}
	for _, o := range operands {
		t, name, _ := strings.Cut(o, "/")
		k.resource(t, []string{name})
	}
}

func (k *Kubectl) resource(word string, names []string) {
	if len(k.Resources)+len(names) >= maxResources {
		k.Complete = false
		return
	}
	word = strings.ToLower(word)
	r := KubeResource{}
	r.Type, r.Group, _ = strings.Cut(word, ".")
	if plural := kubeTypes[r.Type]; plural != "" {
		r.Type = plural
	}
	if len(names) == 0 {
		k.Resources = append(k.Resources, r)
		return
	}
	for _, r.Name = range names {
		k.Resources = append(k.Resources, r)
	}
}

// maxResources bounds what TYPE,TYPE NAME NAME multiplies to.
const maxResources = 500

// kubeKinds are the types that create is told a kind of.
var kubeKinds = set("secret", "secrets", "service", "services", "svc")
